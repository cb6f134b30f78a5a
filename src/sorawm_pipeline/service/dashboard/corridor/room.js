/** A stage of the corridor: a ring that shows its time, its name, and its batch. */

import { s, say, set } from "../dom.js";
import { percent } from "../format.js";
import { BESIDE } from "./layout.js";

/** @typedef {import("./shares.js").Shares} Shares */

const PARTS = /** @type {const} */ (["busy", "waitIn", "waitOut"]);
const GAP = 1.2; // between the parts of a ring, in percent of it

export class Room {
  /**
   * @param {string} name
   * @param {import("./layout.js").Point} at
   * @param {import("./layout.js").Layout} plan
   */
  constructor(name, at, { radius, upright }) {
    this.name = name;
    this.upright = upright;
    const ring = radius - 6;
    const circle = (className) =>
      s("circle", { class: className, r: ring, pathLength: 100, transform: "rotate(-90)" });
    this.arcs = PARTS.map((part) => circle(`ring ${part}`));
    const text = (className, x, y, content = "") => s("text", { class: className, x, y }, content);
    const beside = BESIDE;
    this.share = text("share", 0, upright ? 6 : 4);
    const label = text("share-label", 0, 19, "busy");
    const [title, waits, batch] = upright
      ? [text("title", beside, -14, name), text("waits", beside, 6), text("batch", beside, 26)]
      : [text("title", 0, radius + 25, name), text("waits", 0, radius + 46), text("batch", 0, radius + 66)];
    const pace = upright
      ? text("pace", beside + textWidth(name) + 12, -14, "sets the pace")
      : text("pace", 0, -radius - 16, "sets the pace");
    this.waits = waits;
    this.batch = batch;
    this.element = s(
      "g",
      { class: `room ${upright ? "upright" : ""}`, transform: `translate(${at.x} ${at.y})` },
      s("circle", { class: "halo", r: radius + 5 }),
      s("circle", { class: "floor", r: radius }),
      s("circle", { class: "ring empty", r: ring }),
      ...this.arcs,
      this.share,
      label,
      title,
      waits,
      batch,
      pace,
    );
    this.show(null, null, false);
  }

  /** @param {Shares|null} shares @param {number|null} cap @param {boolean} setsPace */
  show(shares, cap, setsPace) {
    this.element.classList.toggle("at-rest", !shares);
    this.element.classList.toggle("pacemaker", setsPace);
    let from = 0;
    PARTS.forEach((part, index) => {
      const length = (shares?.[part] ?? 0) * 100;
      const drawn = Math.max(0, length - GAP);
      set(this.arcs[index], { "stroke-dasharray": `${drawn} ${100 - drawn}`, "stroke-dashoffset": -from });
      this.arcs[index].classList.toggle("none", drawn === 0);
      from += length;
    });
    say(this.share, shares ? percent(shares.busy) : "");
    say(
      this.waits,
      shares
        ? `${this.upright ? "busy · " : ""}in ${percent(shares.waitIn)} · out ${percent(shares.waitOut)}`
        : "at rest",
    );
    say(this.batch, cap == null ? "" : `batch ≤ ${cap}`);
  }
}

/** Roughly, for titles of the size in corridor.css. */
function textWidth(text) {
  return text.length * 9;
}
