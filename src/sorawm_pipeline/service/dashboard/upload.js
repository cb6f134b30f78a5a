/** Videos on their way to the service: dropped, or chosen, sent one after the other. */

import { announce } from "./announce.js";
import { errorOf } from "./api.js";
import { byId, h, say } from "./dom.js";
import { bytes, duration, percent } from "./format.js";

export class Uploads extends EventTarget {
  #queue = [];
  #sending = false;
  #list = byId("uploads");
  /** Bytes that the service takes at most, or null. */
  limit = null;

  constructor() {
    super();
    const input = byId("file");
    byId("choose").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = "";
    });
    this.#takeDrops();
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) this.#queue.push(new Upload(file));
    this.#list.append(
      ...this.#queue.filter((upload) => !upload.element.isConnected).map((upload) => upload.element),
    );
    if (!this.#sending) this.#next();
  }

  async #next() {
    this.#sending = true;
    for (let upload = this.#queue.shift(); upload; upload = this.#queue.shift()) {
      if (!upload.wanted) continue;
      try {
        const job = await upload.send(this.limit);
        if (job) {
          announce(`${job.name} is uploaded, job ${job.id}.`);
          this.dispatchEvent(new CustomEvent("job", { detail: job }));
          upload.element.remove();
        }
      } catch (error) {
        upload.fail(error.message);
        announce(`${upload.file.name} was not uploaded: ${error.message}`);
      }
    }
    this.#sending = false;
  }

  /** The whole page takes drops; `dragover` comes all the time, so its absence is the end. */
  #takeDrops() {
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (on) => document.body.classList.toggle("dropping", on);
    addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) mark(false);
    });
    addEventListener("drop", (event) => {
      mark(false);
      if (!carriesFiles(event)) return;
      event.preventDefault();
      const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
      if (folders.length) announce("Folders cannot be uploaded; drop the videos themselves.");
      this.add(items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile()));
    });
  }
}

class Upload {
  wanted = true;
  #request = null;

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.bar = h("div", { class: "bar-fill" });
    this.meter = h(
      "div",
      {
        class: "bar",
        role: "progressbar",
        "aria-label": `Upload of ${file.name}`,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": 0,
      },
      this.bar,
    );
    this.note = h("span", { class: "note" }, `${bytes(file.size)}, waits`);
    this.stop = h(
      "button",
      {
        class: "quiet",
        type: "button",
        "aria-label": `Stop the upload of ${file.name}`,
        onclick: () => this.cancel(),
      },
      "Stop",
    );
    this.element = h(
      "li",
      { class: "upload" },
      h("span", { class: "upload-name" }, file.name),
      this.note,
      this.stop,
      this.meter,
    );
  }

  cancel() {
    this.wanted = false;
    this.#request?.abort();
    this.element.remove();
  }

  fail(message) {
    this.element.classList.add("failed");
    say(this.note, message);
    say(this.stop, "Dismiss");
    this.stop.setAttribute("aria-label", `Dismiss the message about ${this.file.name}`);
    this.meter.hidden = true;
  }

  /** @returns {Promise<any>} the job, or null if it was stopped */
  send(limit) {
    if (limit != null && this.file.size > limit) {
      return Promise.reject(
        new Error(`It has ${bytes(this.file.size)}; this service takes ${bytes(limit)} at most.`),
      );
    }
    // fetch does not tell how much of a body was sent
    const request = new XMLHttpRequest();
    this.#request = request;
    const began = performance.now();
    request.upload.addEventListener("progress", (event) =>
      this.#show(event, (performance.now() - began) / 1000),
    );
    return new Promise((resolve, reject) => {
      request.addEventListener("load", () => {
        if (request.status < 300) resolve(JSON.parse(request.responseText));
        else reject(errorOf(request.status, request.responseText));
      });
      request.addEventListener("error", () => reject(new Error("The connection broke. Drop it again.")));
      request.addEventListener("abort", () => resolve(null));
      request.open("POST", `/api/uploads?name=${encodeURIComponent(this.file.name)}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.send(this.file);
    });
  }

  #show({ loaded, total }, seconds) {
    const share = total ? loaded / total : 1;
    this.bar.style.inlineSize = `${share * 100}%`;
    this.meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    const left = seconds > 1 && share < 1 ? `, ${duration((seconds / share) * (1 - share))} left` : "";
    say(this.note, share < 1 ? `${percent(share)} of ${bytes(total)}${left}` : "sent, being looked at");
  }
}
