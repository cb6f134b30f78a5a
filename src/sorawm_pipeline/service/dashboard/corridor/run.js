/** A worker's card: its clip, how far it is, and the corridor. */

import { h, say } from "../dom.js";
import { bytes, count, duration, percent, rate } from "../format.js";
import { phase } from "../words.js";
import { Figures } from "./figures.js";
import { Picture } from "./picture.js";
import { RecentShares } from "./shares.js";

/** The phases in which `frames` counts frames of the clip. */
const COUNTED = new Set(["cleaning", "verifying"]);

/** Seconds that are left of a phase, or null where it cannot be told. */
export function remaining({ phase: name, frames, frames_expected: expected, fps, eta_s: told }) {
  if (told != null) return told;
  if (name !== "cleaning" || !expected || !fps || frames >= expected) return null;
  return (expected - frames) / fps;
}

export class Run {
  #shares = new RecentShares();

  /** @param {number} slot @param {(job: number) => void} open shows a job's details */
  constructor(slot, open) {
    this.slot = slot;
    this.job = null;
    this.name = h("button", {
      class: "clip-name plain",
      type: "button",
      onclick: () => this.job != null && open(this.job),
    });
    this.who = h("p", { class: "eyebrow" }, `Worker ${slot + 1}`);
    this.phase = h("p", { class: "phase" });
    this.bar = h("div", { class: "bar-fill" });
    this.meter = h(
      "div",
      {
        class: "bar",
        role: "progressbar",
        "aria-label": "Progress of the clip",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      this.bar,
    );
    this.facts = h("dl", { class: "facts" });
    /** @type {Map<string, any>} */
    this.values = new Map();
    this.picture = new Picture();
    this.figures = new Figures();
    this.element = h(
      "article",
      { class: "run card", "aria-label": `Worker ${slot + 1}` },
      h(
        "div",
        { class: "run-head" },
        h(
          "div",
          { class: "run-title" },
          this.who,
          this.name,
          this.phase,
        ),
        this.facts,
      ),
      this.meter,
      this.picture.element,
      this.figures.element,
    );
  }

  close() {
    this.picture.close();
    this.element.remove();
  }

  /** @param {number} job @param {string} name @param {any} progress null before the first one */
  show(job, name, progress) {
    if (job !== this.job) this.#shares = new RecentShares();
    this.job = job;
    say(this.name, name);
    say(this.phase, phase(progress?.phase));
    const shares = progress ? this.#shares.update(progress.stages ?? {}) : {};
    this.picture.show(progress, shares);
    if (progress) this.figures.show(progress, shares);
    this.figures.element.hidden = !Object.keys(progress?.stages ?? {}).length;
    this.#showDone(progress);
    this.#showFacts(progress ?? {});
  }

  /** @param {number[]} slots of workers that do pieces of its clip */
  helped(slots) {
    const others = slots.map((slot) => slot + 1).join(", ");
    say(this.who, `Worker ${this.slot + 1}${others && `, with help from ${others}`}`);
  }

  #showDone(progress) {
    const known = progress && COUNTED.has(progress.phase) && progress.frames_expected;
    const share = known ? Math.min(1, progress.frames / progress.frames_expected) : null;
    this.meter.classList.toggle("unknown", share == null);
    this.bar.style.inlineSize = share == null ? "" : `${share * 100}%`;
    if (share == null) this.meter.removeAttribute("aria-valuenow");
    else this.meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.meter.setAttribute(
      "aria-valuetext",
      share == null
        ? phase(progress?.phase)
        : `${percent(share)}, ${count(progress.frames)} of ${count(progress.frames_expected)} frames`,
    );
  }

  #showFacts(progress) {
    const counted = COUNTED.has(progress.phase);
    const left = remaining(progress);
    const of = progress.frames_expected ? ` / ${count(progress.frames_expected)}` : "";
    this.#fact("frames/s", counted ? rate(progress.fps) : "–");
    this.#fact("frames", counted ? `${count(progress.frames)}${of}` : "–");
    this.#fact("left", left == null ? "–" : duration(left));
    this.#fact(
      "in the corridor",
      progress.live_bound ? `${count(progress.live_frames)} of ≤ ${count(progress.live_bound)}` : "–",
    );
    this.#fact("memory", bytes(progress.rss));
    const gpu = progress.gpu;
    if (gpu?.total != null) {
      const warm =
        gpu.temperature == null
          ? ""
          : ` · ${Math.round(gpu.temperature)} °C${gpu.throttled ? ", throttled" : ""}`;
      this.#fact("GPU", `${gpu.utilisation == null ? "–" : `${Math.round(gpu.utilisation)}%`}${warm}`);
    }
  }

  #fact(label, text) {
    let value = this.values.get(label);
    if (!value) {
      value = h("dd");
      this.values.set(label, value);
      this.facts.append(h("div", {}, h("dt", {}, label), value));
    }
    say(value, text);
  }
}
