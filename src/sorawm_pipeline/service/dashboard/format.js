/** Numbers as people read them. Everything here takes what the service says, null included. */

const COUNT = new Intl.NumberFormat("en");
const ONE = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const NOTHING = "–";

/** @param {number|null|undefined} value */
export function count(value) {
  return value == null ? NOTHING : COUNT.format(value);
}

/** Frames per second: one digit after the point below 100. */
export function rate(value) {
  if (value == null) return NOTHING;
  return value < 100 ? ONE.format(value) : COUNT.format(Math.round(value));
}

/** Decimal units, as disks and file managers count. */
export function bytes(value) {
  if (value == null) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 99.95 ? ONE.format(value) : Math.round(value)}\u00a0${units[unit]}`;
}

/** A share of one as whole percent. */
export function percent(share) {
  return share == null || !Number.isFinite(share) ? NOTHING : `${Math.round(share * 100)}%`;
}

/** Seconds in at most two units: "8 s", "3 min 20 s", "2 h 5 min", "4 d 3 h". */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return NOTHING;
  if (seconds < 9.95) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.round(seconds);
  const steps = [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ];
  for (const [large, name, small, part] of steps) {
    if (whole < large) continue;
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${name}${rest ? ` ${rest} ${part}` : ""}`;
  }
  return `${whole} s`;
}

/** A moment of a clip: "1:02.4". */
export function position(seconds) {
  const tenths = Math.floor((seconds || 0) * 10 + 1e-6);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

/** How long ago a moment (Unix seconds) was. */
export function ago(moment, now = Date.now() / 1000) {
  if (moment == null) return NOTHING;
  const passed = now - moment;
  if (passed < 5) return "just now";
  const unit = passed >= 60 ? 60 : 1;
  return `${duration(Math.floor(passed / unit) * unit)} ago`;
}

/** Date and time of a moment (Unix seconds) where the reader is. */
export function when(moment) {
  if (moment == null) return NOTHING;
  return new Date(moment * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}
