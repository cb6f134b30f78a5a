/**
 * What each stage did with its time lately. The service tells seconds since the clip began; the
 * shares of the last moments are differences of those.
 */

/** @typedef {{busy: number, waitIn: number, waitOut: number}} Shares shares of one, their sum is 1 or 0 */
/** @typedef {Record<string, {items: number, batches: number, busy_s: number, wait_in_s: number, wait_out_s: number}>} Stages */

const REMEMBERED = 4;

export class RecentShares {
  /** @type {Stages[]} */
  #told = [];

  /** @param {Stages} stages @returns {Record<string, Shares>} */
  update(stages) {
    const last = this.#told.at(-1);
    if (last && startedAnew(last, stages)) this.#told = [];
    this.#told.push(stages);
    if (this.#told.length > REMEMBERED) this.#told.shift();
    const first = this.#told.length > 1 ? this.#told[0] : {};
    return Object.fromEntries(Object.entries(stages).map(([name, now]) => [name, between(first[name], now)]));
  }
}

function startedAnew(before, now) {
  return Object.entries(now).some(([name, stage]) => stage.items < (before[name]?.items ?? 0));
}

function between(before, now) {
  const spent = (key) => Math.max(0, now[key] - (before?.[key] ?? 0));
  const [busy, waitIn, waitOut] = [spent("busy_s"), spent("wait_in_s"), spent("wait_out_s")];
  const all = busy + waitIn + waitOut;
  if (!all) return { busy: 0, waitIn: 0, waitOut: 0 };
  return { busy: busy / all, waitIn: waitIn / all, waitOut: waitOut / all };
}

/** The stage that the others wait for, if one clearly is: it is busy most of the time. */
export function pacemaker(shares) {
  const [first, second] = Object.entries(shares).sort((a, b) => b[1].busy - a[1].busy);
  if (!first || first[1].busy < 0.5) return null;
  return second && first[1].busy - second[1].busy < 0.05 ? null : first[0];
}
