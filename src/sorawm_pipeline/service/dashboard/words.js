/** What states, errors and phases mean, in words, and what a person can do about them. */

/** @typedef {{word: string, tone: "calm"|"busy"|"good"|"bad"|"off", means: string}} Wording */

/** @type {Record<string, Wording>} */
export const STATES = {
  waiting: { word: "Waiting", tone: "calm", means: "Its turn comes when a worker is free." },
  paused: { word: "Paused", tone: "off", means: "It was paused. Resume puts it back into the queue." },
  running: { word: "Running", tone: "busy", means: "A worker is cleaning it." },
  staged: { word: "Publishing", tone: "busy", means: "The result is whole and is being given its name." },
  done: { word: "Done", tone: "good", means: "The result is published." },
  quarantined: { word: "Failed", tone: "bad", means: "It will not be tried again by itself." },
  skipped: {
    word: "Skipped",
    tone: "off",
    means: "Another file already has the name of its result. Move that file away, then retry.",
  },
  duplicate: {
    word: "Duplicate",
    tone: "off",
    means: "The same content has a job already. Retry cleans it all the same.",
  },
  cancelled: {
    word: "Cancelled",
    tone: "off",
    means: "It was cancelled. Retry puts it back into the queue.",
  },
  gone: {
    word: "Gone",
    tone: "off",
    means: "The source went away before it was done. It waits again when the file comes back.",
  },
};

export const CANCELLABLE = new Set(["waiting", "paused", "running"]);
export const PAUSABLE = new Set(["waiting", "running"]);
export const RETRYABLE = new Set(["quarantined", "skipped", "duplicate", "cancelled", "gone"]);
export const ENDED = new Set(["done", ...RETRYABLE]);
export const UNDER_WAY = new Set(["running", "staged"]);

const REMEDIES = {
  unreadable: "Copy or export the file again; it is missing, damaged, cut short or not a video.",
  no_video: "Nothing to clean: there is no picture in it that can be decoded.",
  unsupported: "Convert it, or split it where its size changes.",
  too_large: "Raise decode.limits in pipeline.yaml if you trust the file, then retry.",
  exists: "Choose another output folder, or allow overwriting, then retry.",
  output: "Check the output folder and its permissions, then retry.",
  no_space: "Make room on the disk, then retry.",
  config: "Correct pipeline.yaml as the message says, reload the service, then retry.",
  model: "Run “sorawm-pipeline models verify”; reinstall the weights or correct detect.weights.",
  device: "Set device: cpu or smaller batches in pipeline.yaml, then retry.",
  crashed: "See what the log says and update; report the clip if you may share it.",
  stuck: "Raise service.deadline_s if this machine is very slow, then retry.",
  memory: "Raise service.memory, or lower memory.budget and the batches, then retry.",
  internal: "This is a fault of the program: please report it with this message.",
};

/** What to do about an error of this kind. */
export function remedy(kind) {
  return REMEDIES[kind] ?? "Retry; if it fails again, see what the log says.";
}

/** @param {string} state @returns {Wording} */
export function wording(state) {
  return STATES[state] ?? { word: state, tone: "off", means: "" };
}

const PHASES = {
  preparing: "Opening the clip and its models",
  cleaning: "Cleaning",
  verifying: "Looking at the result for marks that are left",
  finishing: "Finishing the file",
  reading: "Reading the result once more for its digest",
};

export function phase(name) {
  return PHASES[name] ?? name ?? "Starting";
}

export const STAGES = ["decode", "detect", "inpaint", "temporal", "encode"];

const SOURCES = {
  trainedAlgorithmicMedia: "made by a trained model (AI-generated)",
  compositeWithTrainedAlgorithmicMedia: "edited, and made in part by a trained model (AI-generated)",
  algorithmicMedia: "computed, by no trained model",
  digitalCapture: "captured by a camera",
  compositeCapture: "composed of captured pictures",
  humanEdits: "edited by a person",
};

/** An IPTC digital source type in words; what is not known by heart as it stands. */
export function origin(type) {
  if (!type) return "not known";
  const name = type.split("/").pop();
  return SOURCES[name] ?? name;
}
