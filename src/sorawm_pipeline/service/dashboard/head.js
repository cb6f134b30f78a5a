/** The head of the page: what the service does in one line, what keeps it, and what is lost. */

import { announce } from "./announce.js";
import { byId, say } from "./dom.js";
import { count, duration, rate } from "./format.js";

export class Head {
  #pill = byId("pill");
  #connected = true;
  #status = null;
  #speeds = new Map();

  /** @param {() => void} again tries to connect at once */
  constructor(again) {
    byId("connect").addEventListener("click", again);
  }

  status(status) {
    this.#status = status;
    for (const { slot, job, progress } of status.workers ?? []) {
      if (job == null) this.#speeds.delete(slot);
      else this.#speeds.set(slot, progress?.fps ?? this.#speeds.get(slot) ?? 0);
    }
    say(byId("version"), `version ${status.version}, up ${duration(status.uptime_s)}`);
    byId("stopping").hidden = status.accepting;
    byId("unwatched").hidden = !status.watched || status.watching;
    this.paused(status.paused);
  }

  progress({ slot, progress }) {
    this.#speeds.set(slot, progress?.fps ?? 0);
    this.#show();
  }

  /** @param {string|null} reason */
  paused(reason) {
    if (this.#status) this.#status.paused = reason;
    say(byId("paused-reason"), reason ?? "");
    byId("paused").hidden = !reason;
    this.#show();
  }

  /** @param {{state: "open"|"lost", retryIn: number|null}} connection */
  connection({ state, retryIn }) {
    const connected = state === "open";
    if (connected !== this.#connected)
      announce(connected ? "Connected again." : "The connection is lost; it is tried again.", "connection");
    this.#connected = connected;
    byId("lost").hidden = connected;
    if (!connected) say(byId("lost-text"), `What is shown may be old. Trying again in ${duration(retryIn)}.`);
    document.body.classList.toggle("disconnected", !connected);
    this.#show();
  }

  #show() {
    const [text, tone] = this.#words();
    say(this.#pill, text);
    this.#pill.dataset.tone = tone;
    document.title = `${text} · sorawm-pipeline`;
  }

  #words() {
    if (!this.#connected) return ["No connection", "bad"];
    if (!this.#status) return ["Connecting", "off"];
    const busy = (this.#status.workers ?? []).filter(({ job }) => job != null).length;
    const speed = [...this.#speeds.values()].reduce((all, one) => all + one, 0);
    if (this.#status.paused) return ["Paused", "warn"];
    if (busy) return [speed ? `Working, ${rate(speed)} frames/s` : "Working", "busy"];
    const waiting = this.#status.jobs?.waiting ?? 0;
    return waiting ? [`${count(waiting)} waiting`, "calm"] : ["Idle", "calm"];
  }
}
