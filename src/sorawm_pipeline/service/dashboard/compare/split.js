/** The line between before and after: dragged anywhere on the picture, or moved by keys. */

import { h } from "../dom.js";

const START = 50;

export class Split {
  /** @param {HTMLElement} stage holds both pictures; its `--split` is where before ends */
  constructor(stage) {
    this.stage = stage;
    this.slider = h("input", {
      type: "range",
      class: "split-slider",
      min: 0,
      max: 100,
      step: 1,
      value: START,
      "aria-label": "Where before ends and after begins",
      oninput: () => this.set(Number(this.slider.value)),
    });
    this.handle = h("div", { class: "split-handle", "aria-hidden": "true" }, h("span", { class: "grip" }));
    stage.addEventListener("pointerdown", (event) => this.#grab(event));
    stage.addEventListener("pointermove", (event) => {
      if (stage.hasPointerCapture(event.pointerId)) this.#drag(event);
    });
    this.set(START);
  }

  /** @param {number} percent of the width that shows before */
  set(percent) {
    const bounded = Math.min(100, Math.max(0, percent));
    this.stage.style.setProperty("--split", `${bounded}%`);
    this.slider.value = String(bounded);
    this.slider.setAttribute(
      "aria-valuetext",
      `${Math.round(bounded)}% before, ${Math.round(100 - bounded)}% after`,
    );
  }

  #grab(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.#drag(event);
    this.slider.focus({ preventScroll: true });
    event.preventDefault();
  }

  #drag({ clientX }) {
    const { left, width } = this.stage.getBoundingClientRect();
    this.set(((clientX - left) / width) * 100);
  }
}
