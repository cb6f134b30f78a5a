/** What is plotted of the work and of the machine: speed, batches, memory, GPUs. */

import { arrange, byId, say } from "../dom.js";
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
  /** @type {Map<number, any>} the newest reading of each slot's GPU, if it has one */
  #gpus = new Map();
  #speed = new Plot("Frames per second", rate, { unit: count });
  #batches = new Plot("Batch caps", count, { top: (seen) => Math.max(4, Math.ceil(seen * 1.2)) });
  #memory = new Plot("Memory", bytes);
  #gpu = new Plot("GPU", percent, { top: () => 1 });
  #machine = {};

  constructor() {
    this.#place([this.#speed, this.#batches, this.#memory]);
  }

  status(status, now = Date.now() / 1000) {
    this.#machine = status.machine ?? {};
    for (const { slot, job, progress } of status.workers ?? []) {
      if (job == null) this.#workers.delete(slot);
      else if (progress) this.#workers.set(slot, { progress, at: now });
    }
    const { load, disk_free: free } = this.#machine;
    const room = free == null ? "" : `, ${bytes(free)} free for results`;
    say(byId("machine"), load == null ? "" : `Load ${percent(load)} of all cores${room}`);
    this.#add(now);
  }

  progress({ slot, progress }, now = Date.now() / 1000) {
    if (!progress) return;
    this.#workers.set(slot, { progress, at: now });
    this.#add(now);
  }

  #add(now) {
    const fresh = [...this.#workers].filter(([, { at }]) => now - at < FRESH_S);
    const told = fresh.map(([, { progress }]) => progress);
    const { memory_total: total, memory_available: available } = this.#machine;
    const values = {
      fps: sum(told.filter(({ phase }) => phase === "cleaning").map(({ fps }) => fps)),
      workers: sum(told.map(({ rss }) => rss)),
      machine: total == null ? null : total - available,
    };
    for (const stage of Object.keys(Object.assign({}, ...told.map(({ batch_caps: caps }) => caps)))) {
      values[`cap ${stage}`] = Math.max(...told.map(({ batch_caps: caps }) => caps[stage] ?? 0));
    }
    for (const [slot, { progress }] of fresh) {
      if (progress.gpu?.total == null) continue;
      this.#gpus.set(slot, progress.gpu);
      const { utilisation, total: all, free } = progress.gpu;
      values[`load ${slot}`] = utilisation == null ? null : utilisation / 100;
      values[`held ${slot}`] = free == null ? null : (all - free) / all;
    }
    this.#history.add(now, values);
    this.#show();
  }

  #show() {
    const history = this.#history;
    const { memory_total: total } = this.#machine;
    this.#speed.show(history, [{ name: "fps", label: "all workers", colour: "--busy" }]);
    this.#batches.show(history, history.names("cap ").map(capLine));
    this.#memory.show(history, [
      {
        name: "machine",
        label: "machine",
        colour: "--wait-in",
        of: () => (total ? `of ${bytes(total)}` : ""),
      },
      { name: "workers", label: "workers", colour: "--busy" },
    ]);
    if (!this.#gpus.size) return;
    this.#gpu.show(
      history,
      [...this.#gpus].flatMap(([slot, gpu]) => gpuLines(slot, gpu, this.#gpus.size > 1)),
    );
    this.#place([this.#speed, this.#batches, this.#memory, this.#gpu]);
  }

  #place(plots) {
    arrange(
      byId("gauges"),
      plots.map((plot) => plot.element),
    );
  }
}

/** Lines of the same height are told apart by dashes. */
function capLine(name, index) {
  const dash = index % 2 ? [6, 4] : undefined;
  return { name, label: name.slice(4), colour: COLOURS[index % COLOURS.length], step: true, dash };
}

function gpuLines(slot, { total, temperature, throttled }, several) {
  const whose = several ? `worker ${slot + 1} ` : "";
  const heat = temperature == null ? "" : `at ${Math.round(temperature)} °C${throttled ? ", throttled" : ""}`;
  const colour = (index) => COLOURS[(2 * slot + index) % COLOURS.length];
  return [
    { name: `load ${slot}`, label: `${whose}load`, colour: colour(0), of: () => heat },
    {
      name: `held ${slot}`,
      label: `${whose}memory`,
      colour: colour(1),
      dash: [6, 4],
      of: () => `of ${bytes(total)}`,
    },
  ];
}

function sum(values) {
  return values.length ? values.reduce((all, value) => all + (value ?? 0), 0) : null;
}
