/** Puts the page together: what the service tells goes to every part that shows it. */

import { signIn } from "./api.js";
import { Floor } from "./corridor/floor.js";
import { byId, say } from "./dom.js";
import { bytes } from "./format.js";
import { Head } from "./head.js";
import { Details } from "./jobs/details.js";
import { Table } from "./jobs/table.js";
import { Live } from "./live.js";
import { Gauges } from "./machine/gauges.js";
import { Session } from "./session.js";
import { offerPaths } from "./submit.js";
import { offerThemes } from "./theme.js";
import { Uploads } from "./upload.js";

offerThemes(byId("themes"));
const live = new Live();
const session = new Session();
const details = new Details();
const open = (id) => details.open(id);
const head = new Head(live.again);
const floor = new Floor(open);
const gauges = new Gauges();
const table = new Table(open);
const uploads = new Uploads();

function job(changed) {
  floor.job(changed);
  table.job(changed);
  details.job(changed);
}

function status(now) {
  for (const part of [head, floor, gauges, table]) part.status(now);
  uploads.limit = now.upload_max;
  say(byId("upload-limit"), `Up to ${bytes(uploads.limit)} each.`);
  say(byId("watched"), now.watched ? `Videos in ${now.watched} are taken in by themselves.` : "");
  byId("by-path").hidden = !now.paths;
}

live.addEventListener("status", ({ detail }) => status(detail));
live.addEventListener("job", ({ detail }) => job(detail));
live.addEventListener("progress", ({ detail }) =>
  [head, floor, gauges, table].forEach((part) => part.progress(detail)),
);
live.addEventListener("queue", ({ detail }) => head.paused(detail.paused));
live.addEventListener("connection", ({ detail }) => {
  head.connection(detail);
  if (detail.state === "open") table.read(); // what happened meanwhile was not told
});
live.addEventListener("signed-out", () => session.ask());
signIn.addEventListener("needed", () => {
  live.stop();
  session.ask();
});
session.addEventListener("signed-out", () => live.stop());
session.addEventListener("signed-in", begin);
uploads.addEventListener("job", ({ detail }) => job(detail));
offerPaths(job);

function begin() {
  live.start();
  details.follow();
}

session.check().then(
  (allowed) => allowed && begin(),
  () => begin(), // it is tried again until the service answers
);
