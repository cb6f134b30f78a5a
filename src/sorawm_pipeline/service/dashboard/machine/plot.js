/** One plot of the last minutes, with its newest values, or those under the pointer, in words. */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, say } from "../dom.js";

/**
 * @typedef {{name: string, label: string, colour: string, step?: boolean, dash?: number[], of?: () => string}} Line
 *     `colour` is a custom property of the style sheets; `of` is told after the value
 */

const HEIGHT = 132;

export class Plot {
  #plot = null;
  #width = 0;
  #history = null;

  /**
   * @param {string} title
   * @param {(value: number|null|undefined) => string} words of a value
   * @param {{unit?: (value: number) => string, top?: (seen: number) => number}} [axis]
   */
  constructor(title, words, { unit = words, top = (seen) => seen * 1.15 || 1 } = {}) {
    this.words = words;
    this.unit = unit;
    this.top = top;
    /** @type {Line[]} */
    this.lines = [];
    this.canvas = h("div", { class: "canvas", "aria-hidden": "true" });
    this.legend = h("ul", { class: "legend" });
    this.element = h(
      "section",
      { class: "plot card", "aria-label": title },
      h("h3", {}, title),
      this.legend,
      this.canvas,
    );
    new ResizeObserver(([entry]) => this.#resize(Math.floor(entry.contentRect.width))).observe(this.canvas);
    addEventListener("themechange", () => this.#plot?.redraw(false));
  }

  /** @param {import("./history.js").History} history @param {Line[]} lines */
  show(history, lines) {
    this.#history = history;
    if (lines.map((line) => line.name).join() !== this.lines.map((line) => line.name).join()) {
      this.lines = lines;
      this.legend.replaceChildren(...lines.map((line) => this.#entry(line)));
      this.#build();
    }
    this.lines = lines;
    this.#plot?.setData(this.#data(), false);
    this.#plot?.setScale("x", history.span());
    if (this.#plot?.cursor.idx == null) this.#tell(history.times.length - 1);
  }

  #entry(line) {
    const swatch = h("span", { class: "swatch" });
    swatch.style.setProperty("--colour", `var(${line.colour})`);
    return h("li", {}, swatch, h("span", {}, line.label), h("strong"));
  }

  #data() {
    return [this.#history.times, ...this.lines.map((line) => this.#history.of(line.name))];
  }

  #tell(index) {
    this.lines.forEach((line, number) => {
      const text = this.words(this.#history.of(line.name)[index]);
      say(this.legend.children[number].lastChild, line.of ? `${text} ${line.of()}` : text);
    });
  }

  #resize(width) {
    if (!width || width === this.#width) return;
    this.#width = width;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
    else this.#build();
  }

  #build() {
    this.#plot?.destroy();
    this.#plot = null;
    if (!this.#width || !this.#history || !this.lines.length) return;
    const { canvas } = this;
    const ink = (name) => () => colour(canvas, name);
    const axis = { stroke: ink("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: this.#width,
        height: HEIGHT,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { x: { time: true, auto: false }, y: { range: (_, __, seen) => [0, this.top(seen ?? 0)] } },
        axes: [
          {
            ...axis,
            space: 70,
            grid: { show: false },
            size: 24,
            values: (self, splits) => splits.map((at) => before(self.scales.x.max - at)),
            splits: (self) => rounds(self.scales.x),
          },
          {
            ...axis,
            size: 58,
            space: 34,
            grid: { stroke: ink("--line"), width: 1 },
            values: (_, splits) => splits.map((value) => (value == null ? "" : this.unit(value))),
          },
        ],
        series: [
          {},
          ...this.lines.map((line, index) => ({
            stroke: ink(line.colour),
            width: 2,
            dash: line.dash,
            fill: index === 0 && !line.step ? () => colour(canvas, line.colour, 0.14) : undefined,
            paths: line.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(self) => this.#tell(self.cursor.idx ?? this.#history.times.length - 1)] },
      },
      this.#data(),
      canvas,
    );
    this.#plot.setScale("x", this.#history.span());
    this.#tell(this.#history.times.length - 1);
  }
}

/** Round moments before the right edge, but for the left edge, where the other axis begins. */
function rounds({ min, max }) {
  const step = [15, 30, 60].find((seconds) => (max - min) / seconds <= 5) ?? 60;
  const moments = [];
  for (let at = max; at > min + step / 2; at -= step) moments.unshift(at);
  return moments;
}

function before(seconds) {
  const whole = Math.round(seconds);
  if (!whole) return "now";
  return whole % 60 ? `−${whole} s` : `−${whole / 60} min`;
}

/** A custom property as a colour that a canvas understands, for the theme of this moment. */
function colour(element, property, opacity = 1) {
  const probe = element.ownerDocument.createElement("span");
  probe.style.color = `var(${property})`;
  element.append(probe);
  const [, inside] = getComputedStyle(probe).color.match(/\(([^)]*)\)/) ?? [null, "128, 128, 128"];
  probe.remove();
  return `rgba(${inside.split(",").slice(0, 3).join(",")}, ${opacity})`;
}
