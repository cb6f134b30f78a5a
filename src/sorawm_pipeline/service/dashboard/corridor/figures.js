/** The corridor's figures as a table, for reading and for screen readers. */

import { arrange, h, say } from "../dom.js";
import { count, percent } from "../format.js";

const HEADS = [
  "Stage",
  "Busy",
  "Waits for input",
  "Waits for room",
  "Frames",
  "Batch at most",
  "Queue behind it",
];

export class Figures {
  /** @type {Map<string, any>} */
  #rows = new Map();

  constructor() {
    this.body = h("tbody");
    this.element = h(
      "details",
      { class: "figures" },
      h("summary", {}, "The same in figures"),
      h(
        "div",
        { class: "scroller", tabindex: 0, role: "region", "aria-label": "The corridor in figures" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...HEADS.map((head) => h("th", { scope: "col" }, head)))),
          this.body,
        ),
      ),
    );
  }

  /** @param {any} progress @param {Record<string, import("./shares.js").Shares>} shares */
  show(progress, shares) {
    const queues = Object.entries(progress.queues ?? {});
    arrange(
      this.body,
      Object.entries(progress.stages ?? {}).map(([name, stage]) => {
        const { busy, waitIn, waitOut } = shares[name];
        const queue = queues.find(([between]) => between.startsWith(`${name}->`))?.[1];
        const fill = queue
          ? `${count(queue.queued)} of ${count(queue.capacity)}, at most ${count(queue.peak)}`
          : "–";
        const texts = [
          percent(busy),
          percent(waitIn),
          percent(waitOut),
          count(stage.items),
          count(progress.batch_caps?.[name]),
          fill,
        ];
        return this.#row(name, texts);
      }),
    );
  }

  #row(name, texts) {
    let row = this.#rows.get(name);
    if (!row) {
      row = h("tr", {}, h("th", { scope: "row" }, name), ...texts.map(() => h("td")));
      this.#rows.set(name, row);
    }
    texts.forEach((text, index) => say(row.children[index + 1], text));
    return row;
  }
}
