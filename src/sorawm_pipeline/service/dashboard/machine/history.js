/** The last minutes of what is plotted: one row for each moment, gaps where nothing was told. */

export const SPAN_S = 300;
const SHORTEST_S = 60;
const CLOSEST_S = 0.5;

export class History {
  /** @type {number[]} Unix seconds */
  times = [];
  /** @type {Map<string, (number|null)[]>} */
  #series = new Map();

  /** @param {number} now @param {Record<string, number|null|undefined>} values */
  add(now, values) {
    if (now - (this.times.at(-1) ?? -Infinity) >= CLOSEST_S) {
      this.times.push(now);
      for (const series of this.#series.values()) series.push(null);
    }
    for (const [name, value] of Object.entries(values)) {
      if (!this.#series.has(name))
        this.#series.set(
          name,
          this.times.map(() => null),
        );
      this.#series.get(name)[this.times.length - 1] = value ?? null;
    }
    this.#forget(now - SPAN_S);
  }

  /** From when to when there is something to show: at first the last minute. */
  span() {
    const max = this.times.at(-1) ?? 0;
    const told = max - (this.times[0] ?? 0);
    return { min: max - Math.min(SPAN_S, Math.max(SHORTEST_S, told)), max };
  }

  /** @param {string} name */
  of(name) {
    return this.#series.get(name) ?? this.times.map(() => null);
  }

  /** The names that begin so, in the order in which they were first told. */
  names(prefix) {
    return [...this.#series.keys()].filter((name) => name.startsWith(prefix));
  }

  #forget(before) {
    const keep = this.times.findIndex((time) => time >= before);
    if (keep <= 0) return;
    this.times.splice(0, keep);
    for (const series of this.#series.values()) series.splice(0, keep);
  }
}
