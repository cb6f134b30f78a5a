/** A queue between two stages: a tube of cells that fills from the end where frames leave. */

import { s, say } from "../dom.js";
import { count } from "../format.js";
import { BESIDE } from "./layout.js";

const GAP = 2;
const SMALLEST_CELL = 3;
const PAD = 4;

export class Pipe {
  /** @param {import("./layout.js").Rect} rect @param {boolean} upright */
  constructor(rect, upright) {
    this.rect = rect;
    this.upright = upright;
    this.cells = s("g", { class: "cells" });
    this.level = s("rect", { class: "level" });
    const { x, y, width, height } = rect;
    this.label = upright
      ? s("text", { class: "fill-label upright", x: x + width / 2 + BESIDE, y: y + height / 2 + 4 })
      : s("text", { class: "fill-label", x: x + width / 2, y: y - 12 });
    const path = upright
      ? `M${x + width / 2} ${y + 2}V${y + height - 2}`
      : `M${x + 2} ${y + height / 2}H${x + width - 2}`;
    this.element = s(
      "g",
      { class: "pipe" },
      s("rect", { class: "tube", x, y, width, height, rx: Math.min(width, height) / 2 }),
      s("path", { class: "stream", d: path }),
      this.level,
      this.cells,
      this.label,
    );
    this.capacity = -1;
    this.show(null);
  }

  /** @param {{capacity: number, queued: number, peak: number}|null} queue */
  show(queue) {
    const capacity = queue?.capacity ?? 0;
    const queued = Math.min(queue?.queued ?? 0, capacity);
    if (capacity !== this.capacity) this.#divide(capacity);
    this.element.classList.toggle("full", capacity > 0 && queued === capacity);
    [...this.cells.children].forEach((cell, index) => cell.classList.toggle("taken", index < queued));
    this.#raise(this.cells.childElementCount || !capacity ? 0 : queued / capacity);
    const words = this.upright ? " in the queue" : "";
    say(this.label, queue ? `${count(queued)} of ${count(capacity)}${words}` : "");
  }

  /** One cell for each place, the first where frames leave, or none where they would be too small. */
  #divide(capacity) {
    this.capacity = capacity;
    const { x, y, width, height } = this.rect;
    const along = (this.upright ? height : width) - 2 * PAD - 4;
    const pitch = (along + GAP) / Math.max(1, capacity);
    const size = pitch - GAP;
    if (size < SMALLEST_CELL) {
      this.cells.replaceChildren();
      return;
    }
    const across = (this.upright ? width : height) - 2 * PAD;
    const radius = Math.min(4, size / 2);
    this.cells.replaceChildren(
      ...Array.from({ length: capacity }, (_, index) => {
        const offset = PAD + 2 + (capacity - 1 - index) * pitch;
        return this.upright
          ? s("rect", { class: "cell", x: x + PAD, y: y + offset, width: across, height: size, rx: radius })
          : s("rect", { class: "cell", x: x + offset, y: y + PAD, width: size, height: across, rx: radius });
      }),
    );
  }

  #raise(share) {
    const { x, y, width, height } = this.rect;
    const along = ((this.upright ? height : width) - 2 * PAD) * share;
    const place = this.upright
      ? { x: x + PAD, y: y + height - PAD - along, width: width - 2 * PAD, height: along }
      : { x: x + width - PAD - along, y: y + PAD, width: along, height: height - 2 * PAD };
    for (const [name, value] of Object.entries(place)) this.level.setAttribute(name, String(value));
    this.level.setAttribute("rx", "5");
  }
}
