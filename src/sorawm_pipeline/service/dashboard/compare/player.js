/**
 * Two videos of the same length played as one. The result leads and has the sound, the source
 * follows it. Events: `ready`, `moved` (position), `changed` (playing or not), `failed` with the
 * video that cannot be played as `detail`.
 */

/** Following video's distance in seconds beyond which it jumps, or else is made faster or slower. */
const JUMP_S = 0.25;
const DRIFT_S = 0.02;
const NUDGE = 0.06;

export class TwinPlayer extends EventTarget {
  #ready = 0;

  /** @param {HTMLVideoElement} before @param {HTMLVideoElement} after */
  constructor(before, after) {
    super();
    this.before = before;
    this.after = after;
    before.muted = true;
    for (const video of [before, after]) {
      video.playsInline = true;
      video.preload = "auto";
      video.addEventListener("loadeddata", () => this.#loaded(), { once: true });
      video.addEventListener("error", () => this.#tell("failed", video), { once: true });
    }
    after.addEventListener("play", () => this.#started());
    after.addEventListener("pause", () => this.#stopped());
    after.addEventListener("ended", () => this.#stopped());
    after.addEventListener("seeking", () => this.#align());
    after.addEventListener("timeupdate", () => this.#follow());
    before.addEventListener("waiting", () => this.#follow());
  }

  /** @param {string} source @param {string} result */
  load(source, result) {
    this.before.src = source;
    this.after.src = result;
  }

  close() {
    for (const video of [this.before, this.after]) {
      video.pause();
      video.removeAttribute("src");
      video.load(); // lets go of the connection
    }
  }

  get playing() {
    return !this.after.paused && !this.after.ended;
  }

  get duration() {
    return Number.isFinite(this.after.duration) ? this.after.duration : 0;
  }

  get position() {
    return this.after.currentTime;
  }

  toggle() {
    if (this.playing) this.after.pause();
    else this.after.play().catch(() => {}); // paused again at once
  }

  seek(seconds) {
    this.after.currentTime = Math.min(Math.max(0, seconds), this.duration);
    this.#tell("moved");
  }

  #loaded() {
    this.#ready += 1;
    if (this.#ready === 2) this.#tell("ready");
  }

  #started() {
    this.#align();
    this.before.play().catch(() => {});
    this.#tell("changed");
    this.#tick();
  }

  #stopped() {
    this.before.pause();
    this.#align();
    this.#tell("changed");
  }

  #align() {
    this.before.playbackRate = this.after.playbackRate;
    this.before.currentTime = this.after.currentTime;
    this.#tell("moved");
  }

  #follow() {
    const drift = this.before.currentTime - this.after.currentTime;
    if (Math.abs(drift) > JUMP_S) {
      this.#align();
    } else if (this.playing) {
      const nudge = Math.abs(drift) > DRIFT_S ? -Math.sign(drift) * NUDGE : 0;
      this.before.playbackRate = this.after.playbackRate * (1 + nudge);
    }
    this.#tell("moved");
  }

  /** `timeupdate` comes four times a second only. */
  #tick() {
    if (!this.playing) return;
    this.#follow();
    requestAnimationFrame(() => this.#tick());
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
