/** Which jobs are shown: one radio button for each state, with how many there are. */

import { arrange, byId, h, say } from "../dom.js";
import { count } from "../format.js";
import { STATES } from "../words.js";

/** These are always offered, the others where there are any. */
const ALWAYS = new Set(["", "waiting", "running", "done", "quarantined"]);

export class Filter extends EventTarget {
  state = "";
  #choices = new Map();

  constructor() {
    super();
    for (const state of ["", ...Object.keys(STATES)]) {
      const number = h("span", { class: "number" });
      const radio = h("input", {
        type: "radio",
        name: "state",
        value: state,
        checked: state === "",
        onchange: () => this.#choose(state),
      });
      const word = state ? STATES[state].word : "All";
      this.#choices.set(state, {
        number,
        element: h("label", { class: "chip" }, radio, h("span", {}, word), number),
      });
    }
    this.count({});
  }

  /** @param {Record<string, number>} jobs how many of each state */
  count(jobs) {
    const total = Object.values(jobs).reduce((all, some) => all + some, 0);
    for (const [state, { number }] of this.#choices) say(number, count(state ? (jobs[state] ?? 0) : total));
    const shown = [...this.#choices].filter(
      ([state]) => ALWAYS.has(state) || jobs[state] || state === this.state,
    );
    arrange(
      byId("filter"),
      shown.map(([, { element }]) => element),
    );
  }

  #choose(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
