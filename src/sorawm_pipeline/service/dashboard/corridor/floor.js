/** All workers: a card for each clip that is being cleaned, or the empty corridor. */

import { api } from "../api.js";
import { arrange, byId, h, say } from "../dom.js";
import { ENDED } from "../words.js";
import { Picture } from "./picture.js";
import { Run } from "./run.js";

export class Floor {
  /** @type {Map<number, Run>} */
  #runs = new Map();
  #names = new Map();
  #place = byId("runs");
  #idle = idleCard();

  /** @param {(job: number) => void} open shows a job's details */
  constructor(open) {
    this.open = open;
    arrange(this.#place, [this.#idle.element]);
  }

  /** @param {any} status the service's, which knows every worker */
  status(status) {
    for (const worker of status.workers ?? []) {
      if (worker.job == null) this.#leave(worker.slot);
      else if (worker.progress || this.#runs.get(worker.slot)?.job !== worker.job) {
        this.progress(worker);
      }
    }
    for (const run of this.#runs.values()) {
      const others = (status.workers ?? []).filter((worker) => worker.helps === run.job);
      run.helped(others.map((worker) => worker.slot));
    }
    this.#idle.tell(status);
  }

  /** @param {{slot: number, job: number, progress: any}} told */
  progress({ slot, job, progress }) {
    let run = this.#runs.get(slot);
    if (!run) {
      run = new Run(slot, this.open);
      this.#runs.set(slot, run);
      this.#arrange();
    }
    run.show(job, this.#nameOf(job), progress);
  }

  /** A job that ended leaves its worker free; one that waits may be told of late. */
  job(job) {
    this.#names.set(job.id, job.name);
    const run = [...this.#runs.values()].find((candidate) => candidate.job === job.id);
    if (!run) return;
    if (ENDED.has(job.state)) this.#leave(run.slot);
    else say(run.name, job.name);
  }

  #leave(slot) {
    this.#runs.get(slot)?.close();
    this.#runs.delete(slot);
    this.#arrange();
  }

  #arrange() {
    const runs = [...this.#runs.values()].sort((a, b) => a.slot - b.slot).map((run) => run.element);
    arrange(this.#place, runs.length ? runs : [this.#idle.element]);
  }

  #nameOf(job) {
    if (!this.#names.has(job)) {
      this.#names.set(job, `Job ${job}`);
      api.job(job).then(
        (known) => this.job(known),
        () => this.#names.delete(job),
      );
    }
    return this.#names.get(job);
  }
}

function idleCard() {
  const picture = new Picture();
  const title = h("p", { class: "idle-title" }, "Nothing is running");
  const text = h("p", { class: "phase" });
  return {
    element: h(
      "article",
      { class: "run card idle", "aria-label": "Workers" },
      h("div", { class: "run-head" }, h("div", { class: "run-title" }, title, text)),
      picture.element,
    ),
    tell(status) {
      const waiting = status.jobs?.waiting ?? 0;
      say(
        text,
        status.paused
          ? "The queue stands still."
          : waiting
            ? "A clip is about to begin."
            : "Drop a video, and watch it go through the corridor.",
      );
      picture.show(null, {});
    },
  };
}
