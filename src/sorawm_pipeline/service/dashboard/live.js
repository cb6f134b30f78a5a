/**
 * The stream of events, opened again whenever it breaks.
 *
 * Events: those of the service with their data as `detail`; `connection` with
 * {state: "open"|"lost", retryIn: seconds|null}.
 */

import { api } from "./api.js";

const NAMES = ["status", "job", "progress", "queue"];
const PAUSES_S = [1, 2, 4, 8, 15];
/** A status comes every two seconds, so a stream that says nothing for so long is dead. */
const SILENCE_S = 12;

export class Live extends EventTarget {
  #source = null;
  #failures = 0;
  #timer = 0;
  #silence = 0;
  #stopped = true;

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#failures = 0;
    addEventListener("online", this.again);
    this.#open();
  }

  stop() {
    this.#stopped = true;
    removeEventListener("online", this.again);
    this.#close();
  }

  /** Try at once instead of waiting for the next attempt. */
  again = () => {
    if (this.#stopped || this.#source) return;
    clearTimeout(this.#timer);
    this.#attempt();
  };

  #open() {
    this.#close();
    const source = new EventSource("/api/events");
    this.#source = source;
    source.addEventListener("open", () => this.#tellConnection("open", null));
    source.addEventListener("error", () => this.#lost());
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        this.#failures = 0;
        this.#expectMore();
        this.dispatchEvent(new CustomEvent(name, { detail: JSON.parse(event.data) }));
      });
    }
    this.#expectMore();
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #expectMore() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE_S * 1000);
  }

  #lost() {
    this.#close();
    if (this.#stopped) return;
    const pause = PAUSES_S[Math.min(this.#failures, PAUSES_S.length - 1)];
    this.#failures += 1;
    this.#tellConnection("lost", pause);
    this.#timer = setTimeout(() => this.#attempt(), pause * 1000);
  }

  /** An EventSource does not say why it failed, so the session is asked for first. */
  async #attempt() {
    try {
      const { token_needed: needed, signed_in: signed } = await api.session();
      if (this.#stopped) return;
      if (needed && !signed) {
        this.stop();
        this.dispatchEvent(new Event("signed-out"));
      } else {
        this.#open();
      }
    } catch {
      this.#lost();
    }
  }

  #tellConnection(state, retryIn) {
    this.dispatchEvent(new CustomEvent("connection", { detail: { state, retryIn } }));
  }
}
