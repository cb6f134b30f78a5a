/** The table of jobs: a page of them, newest first, kept up to date by events. */

import { announce } from "../announce.js";
import { api } from "../api.js";
import { confirmed } from "../confirm.js";
import { arrange, byId, say } from "../dom.js";
import { wording } from "../words.js";
import { Filter } from "./filter.js";
import { Row } from "./row.js";

const PAGE = 25;
/** Events come in bursts; the page is read again once after them. */
const SETTLE_MS = 200;
const SPOKEN = new Set(["done", "quarantined"]);

export class Table {
  /** @type {Map<number, Row>} */
  #rows = new Map();
  /** Where each page before this one began; the first begins nowhere. */
  #pages = [null];
  #next = null;
  #timer = 0;
  #asked = 0;
  #filter = new Filter();
  #body = byId("jobs-body");

  /** @param {(id: number) => void} open */
  constructor(open) {
    this.actions = {
      open,
      pause: (job) => this.#do(job, api.pause),
      resume: (job) => this.#do(job, api.resume),
      cancel: (job) => this.#do(job, api.cancel),
      retry: (job) => this.#do(job, api.retry),
      forget: (job) => this.#forget(job),
    };
    this.#filter.addEventListener("change", () => this.#turn([null]));
    byId("newer").addEventListener("click", () => this.#turn(this.#pages.slice(0, -1)));
    byId("older").addEventListener("click", () => this.#turn([...this.#pages, this.#next]));
    setInterval(() => this.#rows.forEach((row) => row.tick()), 1000);
  }

  status(status) {
    this.#filter.count(status.jobs ?? {});
    for (const { job, progress } of status.workers ?? []) if (progress) this.progress({ job, progress });
  }

  progress({ job, progress }) {
    this.#rows.get(job)?.progress(progress);
  }

  /** A job came in or changed. */
  job(job) {
    const row = this.#rows.get(job.id);
    if (row && row.job.state !== job.state && SPOKEN.has(job.state)) {
      announce(`${job.name}: ${wording(job.state).word}`, `job ${job.id}`);
    }
    const wanted = !this.#filter.state || this.#filter.state === job.state;
    if (row && wanted) row.show(job);
    else if (row || (wanted && this.#pages.length === 1)) this.soon();
  }

  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.read(), SETTLE_MS);
  }

  async read() {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    let page;
    try {
      page = await api.jobs({ state: this.#filter.state, before: this.#pages.at(-1), limit: PAGE });
    } catch (error) {
      this.#tell(error.message);
      return;
    }
    if (asked !== this.#asked) return; // something newer was asked for meanwhile
    if (!page.jobs.length && this.#pages.length > 1) {
      this.#turn(this.#pages.slice(0, -1));
      return;
    }
    this.#next = page.next;
    this.#show(page.jobs);
  }

  #show(jobs) {
    const rows = new Map(jobs.map((job) => [job.id, this.#rows.get(job.id) ?? new Row(job, this.actions)]));
    jobs.forEach((job) => rows.get(job.id).show(job));
    this.#rows = rows;
    arrange(
      this.#body,
      [...rows.values()].map((row) => row.element),
    );
    byId("jobs").hidden = !jobs.length;
    this.#tell(
      jobs.length
        ? ""
        : this.#filter.state
          ? `No job is ${wording(this.#filter.state).word.toLowerCase()}.`
          : "No jobs yet. Drop a video above, or put one into the watched folder.",
    );
    byId("newer").disabled = this.#pages.length === 1;
    byId("older").disabled = this.#next == null;
    byId("pager").hidden = this.#pages.length === 1 && this.#next == null;
    say(byId("page-number"), `Page ${this.#pages.length}`);
  }

  #turn(pages) {
    this.#pages = pages;
    this.read();
  }

  #tell(message) {
    say(byId("jobs-note"), message);
    byId("jobs-note").hidden = !message;
  }

  async #do(job, action) {
    try {
      const changed = await action(job.id);
      if (changed) this.job(changed);
    } catch (error) {
      this.#tell(`${job.name}: ${error.message}`);
      announce(error.message);
    }
  }

  async #forget(job) {
    const sure = await confirmed({
      title: `Forget ${job.name}?`,
      text: "Its history goes; the video and its result stay where they are. A video that still lies in the watched folder counts as new and is cleaned again.",
      action: "Forget it",
    });
    if (!sure) return;
    await this.#do(job, api.forget);
    await this.read();
    byId("jobs-title").focus();
  }
}
