/** The marks that were found: as boxes over the picture, and as runs on a line of time. */

import { s, set } from "../dom.js";
import { percent } from "../format.js";

/**
 * @typedef {{first_frame: number, last_frame: number, box: [number, number, number, number], confidence: number}} Mark
 *     the last frame is inside; the box is in pixels of the displayed picture
 */

export class MarkBoxes {
  /** @param {Mark[]} marks */
  constructor(marks) {
    this.marks = marks;
    this.element = s("svg", { class: "mark-boxes", "aria-hidden": "true", preserveAspectRatio: "none" });
  }

  /** @param {number} width @param {number} height of the displayed picture */
  size(width, height) {
    this.text = Math.max(width, height) / 56;
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  /** @returns {Mark[]} the marks of a frame, which are drawn */
  show(frame) {
    const now = this.marks.filter((mark) => mark.first_frame <= frame && frame <= mark.last_frame);
    const key = now.map((mark) => this.marks.indexOf(mark)).join();
    if (key !== this.key) {
      this.key = key;
      this.element.replaceChildren(...now.map((mark) => this.#draw(mark)));
    }
    return now;
  }

  #draw({ box: [x0, y0, x1, y1], confidence }) {
    const above = y0 > this.text * 1.6;
    const label = s(
      "text",
      { x: x0, y: above ? y0 - this.text * 0.5 : y1 + this.text * 1.1 },
      `mark ${percent(confidence)}`,
    );
    label.style.fontSize = `${this.text}px`;
    return s("g", {}, s("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }), label);
  }
}

const WIDTH = 1000;

export class MarkLine {
  /** @param {Mark[]} marks @param {number} frames */
  constructor(marks, frames) {
    const end = Math.max(frames, ...marks.map((mark) => mark.last_frame + 1), 1);
    const place = (frame) => Math.round((frame / end) * WIDTH);
    const runs = marks.map(({ first_frame: first, last_frame: last }) => {
      const from = place(first);
      return `M${from} 2H${Math.max(from + 2, place(last + 1) - 1)}V10H${from}Z`;
    });
    this.needle = s("path", { class: "needle" });
    this.element = s(
      "svg",
      { class: "mark-line", viewBox: `0 0 ${WIDTH} 12`, preserveAspectRatio: "none", "aria-hidden": "true" },
      s("path", { class: "runs", d: [...new Set(runs)].join("") }),
      this.needle,
    );
  }

  /** @param {number} share of the clip */
  at(share) {
    set(this.needle, { d: `M${Math.round(share * WIDTH)} 0V12` });
  }
}

/** The first frame of the next run after a frame (or of the last one before it), or null. */
export function neighbour(marks, frame, forwards) {
  const starts = marks.map((mark) => mark.first_frame);
  const there = starts.filter((start) => (forwards ? start > frame : start < frame));
  if (!there.length) return null;
  return forwards ? Math.min(...there) : Math.max(...there);
}
