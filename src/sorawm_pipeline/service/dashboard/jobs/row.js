/** A job in the table. Its elements stay the same while it changes, so that focus stays. */

import { api } from "../api.js";
import { h, say } from "../dom.js";
import { ago, count, duration, percent, rate, when } from "../format.js";
import { CANCELLABLE, ENDED, PAUSABLE, RETRYABLE, UNDER_WAY, remedy, wording } from "../words.js";

/** @typedef {{cancel: (job: any) => void, pause: (job: any) => void, resume: (job: any) => void, retry: (job: any) => void, forget: (job: any) => void, open: (id: number) => void}} Actions */

export class Row {
  /** @param {any} job @param {Actions} actions */
  constructor(job, actions) {
    const button = (label, act) =>
      h("button", { class: "quiet", type: "button", onclick: () => act(this.job) }, label);
    this.name = h("button", {
      class: "plain name",
      type: "button",
      onclick: () => actions.open(this.job.id),
    });
    this.about = h("span", { class: "about" });
    this.error = h("p", { class: "error-line" });
    this.remedy = h("p", { class: "remedy" });
    this.badge = h("span", { class: "badge" });
    this.bar = h("div", { class: "bar-fill" });
    this.meter = h("div", { class: "bar small", "aria-hidden": "true" }, this.bar);
    this.done = h("span", { class: "done-share" });
    this.work = h("span");
    this.time = h("time");
    this.compare = button("Compare", () => actions.open(this.job.id));
    this.download = h("a", { class: "quiet button", download: true }, "Download");
    this.pause = button("Pause", actions.pause);
    this.resume = button("Resume", actions.resume);
    this.cancel = button("Cancel", actions.cancel);
    this.retry = button("Retry", actions.retry);
    this.forget = button("Forget", actions.forget);
    this.buttons = {
      Compare: this.compare,
      Download: this.download,
      Pause: this.pause,
      Resume: this.resume,
      Cancel: this.cancel,
      Retry: this.retry,
      Forget: this.forget,
    };
    const cell = (label, className, ...children) =>
      h("td", { role: "cell", class: className, "data-label": label }, ...children);
    this.element = h(
      "tr",
      { role: "row" },
      h(
        "th",
        { role: "rowheader", scope: "row", class: "clip-cell" },
        this.name,
        this.about,
        this.error,
        this.remedy,
      ),
      cell("State", "state-cell", this.badge, this.meter, this.done),
      cell("Work", "work-cell", this.work),
      cell("When", "time-cell", this.time),
      cell("Actions", "action-cell", ...Object.values(this.buttons)),
    );
    this.show(job);
  }

  show(job) {
    this.job = job;
    const { word, tone, means } = wording(job.state);
    say(this.name, job.name);
    say(this.about, `#${job.id}`);
    say(this.badge, word);
    this.badge.dataset.tone = tone;
    this.badge.title = means;
    const failed = job.state === "quarantined" || job.state === "waiting";
    say(this.error, failed && job.error ? job.error.message : "");
    say(this.remedy, this.#advice(job));
    say(this.work, worked(job));
    this.tick();
    if (!UNDER_WAY.has(job.state)) this.progress(null);
    this.download.href = api.saved(api.resultOf(job.id));
    const shown = {
      Compare: job.state === "done",
      Download: job.state === "done",
      Pause: PAUSABLE.has(job.state),
      Resume: job.state === "paused",
      Cancel: CANCELLABLE.has(job.state),
      Retry: RETRYABLE.has(job.state),
      Forget: ENDED.has(job.state),
    };
    for (const [label, button] of Object.entries(this.buttons)) {
      if (!shown[label] && button === document.activeElement) this.name.focus();
      button.hidden = !shown[label];
      button.setAttribute("aria-label", `${label} ${job.name}`);
    }
  }

  /** Times that pass. */
  tick() {
    const { created, started, finished } = this.job;
    const moment = finished ?? started ?? created;
    this.time.dateTime = moment == null ? "" : new Date(moment * 1000).toISOString();
    this.time.title = when(moment);
    say(this.time, ago(moment));
  }

  /** @param {any} progress of its worker, or null: none */
  progress(progress) {
    const share =
      progress?.frames_expected && progress.phase === "cleaning"
        ? Math.min(1, progress.frames / progress.frames_expected)
        : null;
    this.meter.hidden = this.done.hidden = share == null;
    if (share == null) return;
    this.bar.style.inlineSize = `${share * 100}%`;
    say(this.done, percent(share));
  }

  #advice(job) {
    if (job.state === "quarantined") return remedy(job.error?.kind);
    if (job.state === "duplicate" && job.same_as != null)
      return `The same content as job ${job.same_as}. Retry cleans it all the same.`;
    if (job.state === "waiting" && job.error) return "It is tried again by itself.";
    return ["skipped", "gone", "duplicate"].includes(job.state) ? wording(job.state).means : "";
  }
}

function worked({ state, frames, fps, wall_s: seconds, started, finished, attempts }) {
  if (state === "done")
    return [
      frames == null ? null : `${count(frames)} frames`,
      fps ? `${rate(fps)}/s` : null,
      duration(seconds ?? finished - started),
    ]
      .filter(Boolean)
      .join(" · ");
  return attempts > 1 ? `attempt ${attempts}` : "";
}
