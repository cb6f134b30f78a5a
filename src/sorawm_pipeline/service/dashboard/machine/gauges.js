/** What is plotted of the work and of the machine: speed, batches, memory, GPUs. */

import { arrange, byId } from "../dom.js";
import { bytes, count, percent, rate } from "../format.js";
import { History } from "./history.js";
import { Plot } from "./plot.js";

const COLOURS = ["--busy", "--wait-in", "--wait-out", "--plum"];
/** A worker that was silent for longer does not count any more. */
const FRESH_S = 4;

export class Gauges {
  #history = new History();
  /** @type {Map<number, {progress: any, at: number}>} by slot */
  #workers = new Map();
  #speed = new Plot("Frames per second", rate, { unit: count });
  #batches = new Plot("Batch caps", count, { top: (seen) => Math.max(4, Math.ceil(seen * 1.2)) });
  #memory = new Plot("Memory", bytes);
  #gpu = new Plot("GPU", percent, { top: () => 1 });
  #machine = {};

  constructor() {
    arrange(
      byId("gauges"),
      [this.#speed, this.#batches, this.#memory].map((plot) => plot.element),
    );
  }

  status(status, now = Date.now() / 1000) {
    this.#machine = status.machine ?? {};
    for (const { slot, job, progress } of status.workers ?? []) {
      if (job == null) this.#workers.delete(slot);
      else if (progress) this.#workers.set(slot, { progress, at: now });
    }
    this.#add(now);
  }

  progress({ slot, progress }, now = Date.now() / 1000) {
    if (!progress) return;
    this.#workers.set(slot, { progress, at: now });
    this.#add(now);
  }

  #add(now) {
    const fresh = [...this.#workers.values()]
      .filter(({ at }) => now - at < FRESH_S)
      .map((told) => told.progress);
    const { memory, gpus = [] } = this.#machine;
    const values = {
      fps: sum(fresh.filter(({ phase }) => phase === "cleaning").map(({ fps }) => fps)),
      workers: sum(fresh.map(({ rss }) => rss)),
      machine: memory?.total != null && memory.available != null ? memory.total - memory.available : null,
    };
    for (const stage of Object.keys(Object.assign({}, ...fresh.map(({ batch_caps: caps }) => caps)))) {
      values[`cap ${stage}`] = Math.max(...fresh.map(({ batch_caps: caps }) => caps?.[stage] ?? 0));
    }
    for (const [index, gpu] of gpus.entries()) {
      values[`gpu ${index} load`] = gpu.utilisation == null ? null : gpu.utilisation / 100;
      const used = gpu.used ?? (gpu.total != null && gpu.free != null ? gpu.total - gpu.free : null);
      values[`gpu ${index} memory`] = used == null ? null : used / gpu.total;
    }
    this.#history.add(now, values);
    this.#show(memory, gpus);
  }

  #show(memory, gpus) {
    const history = this.#history;
    this.#speed.show(history, [{ name: "fps", label: "all workers", colour: "--busy" }]);
    this.#batches.show(
      history,
      history
        .names("cap ")
        .map((name, index) => ({
          name,
          label: name.slice(4),
          colour: COLOURS[index % COLOURS.length],
          step: true,
          dash: index % 2 ? [6, 4] : undefined,
        })),
    );
    this.#memory.show(history, [
      {
        name: "machine",
        label: "machine",
        colour: "--wait-in",
        of: () => (memory?.total ? `of ${bytes(memory.total)}` : ""),
      },
      { name: "workers", label: "workers", colour: "--busy" },
    ]);
    if (!gpus.length) return;
    this.#gpu.show(
      history,
      gpus.flatMap((gpu, index) => [
        {
          name: `gpu ${index} load`,
          label: gpus.length > 1 ? `GPU ${index} load` : "load",
          colour: COLOURS[(2 * index) % 4],
          of: () => heat(gpu),
        },
        {
          name: `gpu ${index} memory`,
          label: "memory",
          colour: COLOURS[(2 * index + 1) % 4],
          dash: [6, 4],
          of: () => (gpu.total ? `of ${bytes(gpu.total)}` : ""),
        },
      ]),
    );
    arrange(
      byId("gauges"),
      [this.#speed, this.#batches, this.#memory, this.#gpu].map((plot) => plot.element),
    );
  }
}

function heat({ temperature, throttled, error }) {
  if (error) return `(${error})`;
  return temperature == null ? "" : `at ${Math.round(temperature)} °C${throttled ? ", throttled" : ""}`;
}

function sum(values) {
  return values.length ? values.reduce((all, value) => all + (value ?? 0), 0) : null;
}
