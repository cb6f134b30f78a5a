/** The corridor as a live picture. The same figures stand in a table beside it (`figures.js`). */

import { s } from "../dom.js";
import { STAGES } from "../words.js";
import { layout } from "./layout.js";
import { Pipe } from "./pipe.js";
import { Room } from "./room.js";
import { pacemaker } from "./shares.js";

/** Seconds that a dot takes through a pipe at one frame per second, and the bounds of that. */
const PACE_S = 60;
const FASTEST_S = 0.6;
const SLOWEST_S = 6;

export class Picture {
  #last = null;
  #names = STAGES;
  #width = 0;

  constructor() {
    this.element = s("svg", {
      class: "corridor",
      role: "img",
      "aria-label":
        "The corridor: stages and the queues between them. Its figures are in the table below.",
    });
    this.watcher = new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width && width !== this.#width) {
        this.#width = width;
        this.#draw();
      }
    });
    this.watcher.observe(this.element);
  }

  close() {
    this.watcher.disconnect();
  }

  /**
   * @param {any} progress as the service tells it, or null: nothing runs
   * @param {Record<string, import("./shares.js").Shares>} shares
   */
  show(progress, shares) {
    this.#last = progress ? { progress, shares } : null;
    const names = Object.keys(progress?.stages ?? {});
    if (names.length && names.join() !== this.#names.join()) {
      this.#names = names;
      this.#draw();
    } else {
      this.#fill();
    }
  }

  #draw() {
    if (!this.#width) return;
    const plan = layout(this.#width, this.#names.length);
    this.element.setAttribute("viewBox", `0 0 ${plan.width} ${plan.height}`);
    this.element.setAttribute("height", String(plan.height));
    this.rooms = this.#names.map((name, index) => new Room(name, plan.rooms[index], plan));
    this.pipes = plan.pipes.map((rect) => new Pipe(rect, plan.upright));
    this.element.replaceChildren(
      ...ends(plan),
      ...this.pipes.map((pipe) => pipe.element),
      ...this.rooms.map((room) => room.element),
    );
    this.#fill();
  }

  #fill() {
    if (!this.rooms) return;
    const { progress, shares } = this.#last ?? {};
    const pace = pacemaker(shares ?? {});
    for (const room of this.rooms) {
      room.show(shares?.[room.name] ?? null, progress?.batch_caps?.[room.name] ?? null, room.name === pace);
    }
    this.pipes.forEach((pipe, index) => {
      const name = `${this.#names[index]}->${this.#names[index + 1]}`;
      pipe.show(progress?.queues?.[name] ?? null);
    });
    const flows = Boolean(progress?.fps) && progress.phase === "cleaning";
    this.element.classList.toggle("flows", flows);
    if (flows) {
      const seconds = Math.min(SLOWEST_S, Math.max(FASTEST_S, PACE_S / progress.fps));
      this.element.style.setProperty("--pace", `${seconds}s`);
    }
  }
}

/** A file at each end, and the short ways from it and to it. */
function ends({ ends: [from, to], rooms, radius, upright }) {
  const first = rooms[0];
  const last = rooms.at(-1);
  const way = upright
    ? [`M${from.x} ${from.y + 16}V${first.y - radius - 7}`, `M${to.x} ${last.y + radius + 7}V${to.y - 17}`]
    : [`M${from.x + 15} ${from.y}H${first.x - radius - 8}`, `M${last.x + radius + 8} ${to.y}H${to.x - 15}`];
  return [
    ...way.map((d) => s("path", { class: "way", d })),
    ...way.map((d) => s("path", { class: "stream", d })),
    file(from, "marked"),
    file(to, "clean"),
  ];
}

function file({ x, y }, kind) {
  return s(
    "g",
    { class: `file ${kind}`, transform: `translate(${x} ${y})` },
    s("rect", { x: -11, y: -14, width: 22, height: 28, rx: 4 }),
    s("path", { class: "holes", d: "M-6 -9V10M6 -9V10" }),
    kind === "marked" ? s("path", { class: "mark", d: "M-2.5 4.5H2.5" }) : null,
  );
}
