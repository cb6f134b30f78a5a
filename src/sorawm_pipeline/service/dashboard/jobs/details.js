/** Everything about one job, in a dialog: before and after, what went wrong, facts, attempts. */

import { api } from "../api.js";
import { Compare } from "../compare/view.js";
import { byId, h, say } from "../dom.js";
import { bytes, count, duration, rate, when } from "../format.js";
import { origin, remedy, wording } from "../words.js";

export class Details {
  #dialog = byId("details");
  #body = byId("details-body");
  #compare = null;
  #job = null;

  constructor() {
    byId("details-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.#closed());
    addEventListener("hashchange", () => this.#follow());
  }

  /** Show the job that the address names, if it names one. */
  follow() {
    this.#follow();
  }

  /** @param {number} id */
  open(id) {
    location.hash = `job=${id}`;
  }

  /** A job changed: show it anew if it is the one that is open and its state is another. */
  job(job) {
    if (this.#job?.id === job.id && this.#job.state !== job.state) this.#load(job.id);
  }

  #follow() {
    const id = location.hash.match(/^#job=(\d+)$/)?.[1];
    if (id) this.#load(Number(id));
    else if (this.#dialog.open) this.#dialog.close();
  }

  async #load(id) {
    this.#drop();
    say(byId("details-title"), `Job ${id}`);
    this.#body.replaceChildren(h("p", { class: "phase" }, "Loading…"));
    if (!this.#dialog.open) this.#dialog.showModal();
    let job;
    try {
      job = await api.job(id);
    } catch (error) {
      this.#body.replaceChildren(h("p", { class: "error-line" }, error.message));
      return;
    }
    if (!this.#dialog.open || location.hash !== `#job=${id}`) return;
    this.#job = job;
    this.#show(job);
  }

  #show(job) {
    const { word, tone, means } = wording(job.state);
    say(byId("details-title"), job.name);
    this.#compare = job.state === "done" && job.output ? new Compare(job) : null;
    const failed = job.error && job.state !== "done";
    this.#body.replaceChildren(
      h(
        "p",
        { class: "state-line" },
        h("span", { class: "badge", "data-tone": tone }, word),
        h("span", { class: "phase" }, means),
      ),
      ...(failed ? [trouble(job)] : []),
      ...(this.#compare ? [this.#compare.element] : []),
      facts(job),
      ...(job.tries.length ? [attempts(job.tries)] : []),
    );
  }

  #drop() {
    this.#compare?.close();
    this.#compare = null;
    this.#job = null;
  }

  #closed() {
    this.#drop();
    this.#body.replaceChildren();
    if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  }
}

function trouble({ state, error }) {
  const where = error.stage ? ` in ${error.stage}` : "";
  return h(
    "div",
    { class: "trouble" },
    h("h3", {}, "What went wrong"),
    h("p", { class: "error-line" }, error.message),
    h(
      "p",
      { class: "remedy" },
      state === "quarantined" ? remedy(error.kind) : "It is tried again by itself.",
    ),
    h("p", { class: "about" }, `Kind: ${error.kind}${where}`),
  );
}

function facts(job) {
  const report = job.report ?? {};
  const { frames, detector, inpainter, encoder, provenance, verification } = report;
  const marked = frames
    ? `${count(frames.marked)} of ${count(frames.encoded)} frames, ${runs(report.marks?.length ?? 0)}`
    : null;
  const speed = report.fps ? `${rate(report.fps)} frames per second, ${duration(report.wall_s)}` : null;
  const model = (part) => part && `${part.method ? `${part.method}, ` : ""}${part.runtime} on ${part.device}`;
  const rows = [
    ["Source", job.source],
    ["Result", job.output],
    ["Marks", marked],
    ["Speed", speed],
    [
      "Detector",
      detector && detector.runtime !== "none"
        ? `${model(detector)}, looked at ${count(detector.frames_inferred)} frames`
        : null,
    ],
    ["Restoring", model(inpainter)],
    ["Encoder", encoder && `${encoder.codec}${encoder.hardware ? " (hardware)" : ""}`],
    ["Left out", encoder?.left_out?.length ? encoder.left_out.join("; ") : null],
    ["Memory", report.peak_rss_bytes ? `at most ${bytes(report.peak_rss_bytes)}` : null],
    [
      "Second look",
      verification &&
        `${count(verification.residual_frames)} frames still show a mark${verification.repaired ? ", cleaned once more" : ""}`,
    ],
    [
      "States its origin",
      provenance && `edited; ${origin(provenance.digital_source_type)}${provenance.signed ? "; signed" : ""}`,
    ],
    ["Added", when(job.created)],
    ["Finished", job.finished == null ? null : when(job.finished)],
  ];
  const shown = rows.filter(([, value]) => value);
  return h(
    "dl",
    { class: "fact-list" },
    ...shown.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
  );
}

function runs(number) {
  return number === 1 ? "one run" : `${count(number)} runs`;
}

function attempts(list) {
  return h(
    "section",
    { class: "attempts" },
    h("h3", {}, "Attempts"),
    h(
      "ol",
      {},
      ...list.map(({ started, finished, outcome, error }) =>
        h(
          "li",
          {},
          `${when(started)}: ${outcome}${finished ? ` after ${duration(finished - started)}` : ""}`,
          error ? h("p", { class: "about" }, error.message) : null,
        ),
      ),
    ),
  );
}
