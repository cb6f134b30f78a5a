/** Before and after of a finished clip, side by side on one picture. */

import { api } from "../api.js";
import { h, say } from "../dom.js";
import { count, position } from "../format.js";
import { MarkBoxes, MarkLine, neighbour } from "./marks.js";
import { TwinPlayer } from "./player.js";
import { Split } from "./split.js";

export class Compare {
  #failed = false;

  /** @param {any} job with its report */
  constructor(job) {
    this.job = job;
    this.marks = job.report?.marks ?? [];
    this.frames = job.report?.frames?.decoded || job.frames || 0;
    const before = h("video", { class: "before", "aria-label": "Before" });
    const after = h("video", { class: "after", "aria-label": "After" });
    this.player = new TwinPlayer(before, after);
    this.boxes = new MarkBoxes(this.marks);
    this.line = new MarkLine(this.marks, this.frames);
    this.stage = h(
      "div",
      { class: "stage" },
      before,
      after,
      this.boxes.element,
      h("span", { class: "tag left" }, "before"),
      h("span", { class: "tag right" }, "after"),
    );
    this.split = new Split(this.stage);
    this.stage.append(this.split.handle, this.split.slider);
    this.note = h("p", { class: "compare-note", role: "status" }, "Loading both clips…");
    this.controls = this.#controls();
    this.controls.hidden = true;
    this.stage.hidden = true;
    this.element = h(
      "section",
      { class: "compare", "aria-label": "Before and after" },
      this.note,
      this.stage,
      this.controls,
    );
    this.player.addEventListener("ready", () => this.#ready());
    this.player.addEventListener("moved", () => this.#moved());
    this.player.addEventListener("changed", () => this.#changed());
    this.player.addEventListener("failed", (event) => this.#fail(event.detail));
    this.player.load(api.sourceOf(job.id), api.resultOf(job.id));
  }

  close() {
    this.player.close();
  }

  #controls() {
    const button = (label, act) => h("button", { class: "quiet", type: "button", onclick: act }, label);
    this.play = h(
      "button",
      { class: "primary play", type: "button", onclick: () => this.player.toggle() },
      "Play",
    );
    this.time = h("input", {
      type: "range",
      class: "time-slider",
      min: 0,
      max: 1,
      step: "any",
      value: 0,
      "aria-label": "Position in the clip",
      oninput: () => this.player.seek(Number(this.time.value)),
    });
    this.clock = h("span", { class: "clock" });
    this.about = h("span", { class: "frame-about" });
    this.show = h("input", {
      type: "checkbox",
      checked: true,
      onchange: () => this.stage.classList.toggle("no-marks", !this.show.checked),
    });
    const none = this.marks.length === 0;
    const jumps = none
      ? []
      : [
          button("Previous mark", () => this.#jump(false)),
          button("Next mark", () => this.#jump(true)),
          h("label", { class: "check" }, this.show, "Draw the marks"),
        ];
    return h(
      "div",
      { class: "player" },
      h("div", { class: "time-line" }, this.line.element, this.time),
      h(
        "div",
        { class: "buttons" },
        this.play,
        button("1 frame back", () => this.#step(-1)),
        button("1 frame on", () => this.#step(1)),
        ...jumps,
        this.clock,
        this.about,
      ),
    );
  }

  /** Frames per second as told by the length of the clip: 0 before that is known. */
  get #rate() {
    return this.frames && this.player.duration ? this.frames / this.player.duration : 0;
  }

  get #frame() {
    return Math.min(Math.floor(this.player.position * this.#rate + 0.01), Math.max(0, this.frames - 1));
  }

  #ready() {
    if (this.#failed) return;
    const { after } = this.player;
    this.stage.style.setProperty("--ratio", `${after.videoWidth} / ${after.videoHeight}`);
    this.stage.style.setProperty("--shape", String(after.videoWidth / after.videoHeight));
    this.boxes.size(after.videoWidth, after.videoHeight);
    this.time.max = String(this.player.duration);
    this.note.hidden = true;
    this.stage.hidden = this.controls.hidden = false;
    this.#moved();
  }

  #moved() {
    const { position: at, duration } = this.player;
    this.time.value = String(at);
    this.time.setAttribute("aria-valuetext", `${position(at)} of ${position(duration)}`);
    this.line.at(duration ? at / duration : 0);
    say(this.clock, `${position(at)} / ${position(duration)}`);
    const found = this.boxes.show(this.#frame).length;
    const marks = found ? `, ${found === 1 ? "a mark" : `${found} marks`} here` : "";
    say(this.about, `frame ${count(this.#frame)}${marks}`);
  }

  #changed() {
    say(this.play, this.player.playing ? "Pause" : "Play");
    this.play.classList.toggle("on", this.player.playing);
  }

  #step(frames) {
    if (this.#rate) this.#go(this.#frame + frames);
  }

  #jump(forwards) {
    const frame = neighbour(this.marks, this.#frame, forwards);
    if (frame != null && this.#rate) this.#go(frame);
  }

  /** To the middle of a frame, where rounding cannot lead to its neighbour. */
  #go(frame) {
    if (this.player.playing) this.player.toggle();
    this.player.seek((frame + 0.5) / this.#rate);
  }

  async #fail(video) {
    if (this.#failed) return;
    this.#failed = true;
    const which = video === this.player.before ? "source" : "result";
    const obstacle = await api.obstacle(
      which === "source" ? api.sourceOf(this.job.id) : api.resultOf(this.job.id),
    );
    const codec = this.job.report?.encoder?.codec;
    const why = obstacle
      ? `The ${which} cannot be shown: ${obstacle.message}`
      : `This browser cannot play the ${which}${codec ? ` (encoded by ${codec})` : ""}, so there is no comparison here. Download the clips to look at them in another player.`;
    this.stage.hidden = this.controls.hidden = true;
    this.note.hidden = false;
    say(this.note, why);
    if (!obstacle) {
      const link = (path, text) =>
        h("a", { href: api.saved(path), download: true, class: "quiet button" }, text);
      this.note.after(
        h(
          "p",
          { class: "buttons" },
          link(api.sourceOf(this.job.id), "Download the source"),
          link(api.resultOf(this.job.id), "Download the result"),
        ),
      );
    }
  }
}
