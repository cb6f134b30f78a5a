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
    const label = Math.round(0.38 * radius);
    this.share = text("share", 0, upright ? 6 : label - 14);
    const [x, top, step] = upright ? [BESIDE, -14, 20] : [0, radius + 25, 20.5];
    const title = text("title", x, top, name);
    this.waits = text("waits", x, top + step);
    this.batch = text("batch", x, top + 2 * step);
    const words = { class: "pace", ...(upright ? { dx: 12 } : { x: 0, y: -radius - 16 }) };
    title.append(s("tspan", words, "sets the pace"));
    this.element = s(
      "g",
      { class: `room ${upright ? "upright" : ""}`, transform: `translate(${at.x} ${at.y})` },
      s("circle", { class: "halo", r: radius + 5 }),
      s("circle", { class: "floor", r: radius }),
      s("circle", { class: "ring empty", r: ring }),
      ...this.arcs,
      this.share,
      text("share-label", 0, label, "busy"),
      title,
      this.waits,
      this.batch,
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
