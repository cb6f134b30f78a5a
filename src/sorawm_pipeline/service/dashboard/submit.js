/** A video that lies on the service's machine already, named by its path. */

import { announce } from "./announce.js";
import { api } from "./api.js";
import { byId, say } from "./dom.js";

/** @param {(job: any) => void} taken */
export function offerPaths(taken) {
  const path = byId("path");
  const error = byId("path-error");
  byId("path-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const job = await api.submit(path.value);
      say(error, "");
      path.removeAttribute("aria-invalid");
      path.value = "";
      announce(`${job.name} is taken in, job ${job.id}.`);
      taken(job);
    } catch (problem) {
      say(error, problem.message);
      path.setAttribute("aria-invalid", "true");
    }
  });
}
