/** What is said aloud: few sentences, one at a time, the newest news of a subject only. */

import { byId } from "./dom.js";

const PAUSE_MS = 1500;
/** @type {Map<string, string>} */
const waiting = new Map();
let timer = 0;

/**
 * @param {string} sentence
 * @param {string} subject a later sentence on the same subject replaces one that was not said yet.
 */
export function announce(sentence, subject = sentence) {
  waiting.delete(subject);
  waiting.set(subject, sentence);
  if (!timer) next();
}

function next() {
  timer = 0;
  const [first] = waiting;
  if (!first) return;
  waiting.delete(first[0]);
  byId("announcements").textContent = first[1];
  timer = setTimeout(next, PAUSE_MS);
}
