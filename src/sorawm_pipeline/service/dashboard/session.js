/** Asks for the access token where one is needed. The token itself is never kept by the page. */

import { api } from "./api.js";
import { byId, say } from "./dom.js";

export class Session extends EventTarget {
  #dialog = byId("sign-in");
  #form = byId("sign-in-form");
  #token = byId("token");
  #error = byId("sign-in-error");
  #out = byId("sign-out");
  #wanted = false;

  constructor() {
    super();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    // There is nothing behind the dialog to go back to, and Escape cannot always be prevented.
    this.#dialog.addEventListener("close", () => this.#wanted && this.ask());
    this.#out.addEventListener("click", () => this.#leave());
  }

  /** Whether the page may go on; if not, the token is asked for and `signed-in` is told later. */
  async check() {
    const { token_needed: needed, signed_in: signed } = await api.session();
    this.#out.hidden = !(needed && signed);
    if (needed && !signed) this.ask();
    return !needed || signed;
  }

  ask() {
    this.#wanted = true;
    this.#out.hidden = true;
    if (this.#dialog.open) return;
    say(this.#error, "");
    this.#token.value = "";
    this.#token.removeAttribute("aria-invalid");
    this.#dialog.showModal();
  }

  async #send() {
    try {
      await api.signIn(this.#token.value);
    } catch (error) {
      const wrong = error.status === 401 || error.status === 403;
      say(this.#error, wrong ? "That is not the token of this service." : error.message);
      this.#token.setAttribute("aria-invalid", "true");
      this.#token.select();
      return;
    }
    this.#token.value = "";
    this.#wanted = false;
    this.#dialog.close();
    this.#out.hidden = false;
    this.dispatchEvent(new Event("signed-in"));
  }

  async #leave() {
    await api.signOut().catch(() => {});
    this.dispatchEvent(new Event("signed-out"));
    this.ask();
  }
}
