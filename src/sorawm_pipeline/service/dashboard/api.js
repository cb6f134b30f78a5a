/** The service's HTTP surface. Every failure is an `ApiError` whose message can be shown. */

export class ApiError extends Error {
  /** @param {string} message @param {string} kind @param {number} status 0: nobody answered */
  constructor(message, kind = "internal", status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

/** Told of every answer 401: `event.target` wants to be signed in to. */
export const signIn = new EventTarget();

const UNREACHABLE = "The service does not answer. Is it running?";

/** The error that an answer tells of, in words whatever its body is. */
export function errorOf(status, text) {
  if (status === 401) signIn.dispatchEvent(new Event("needed"));
  try {
    const { error } = JSON.parse(text);
    if (error?.message) return new ApiError(error.message, error.kind, status);
  } catch {
    // a proxy's page, or nothing
  }
  const known = {
    0: UNREACHABLE,
    401: "Please sign in.",
    413: "The file is too large for this service.",
    507: "The service's disk is full.",
  };
  return new ApiError(known[status] ?? `The service answered ${status}.`, "http", status);
}

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new ApiError(UNREACHABLE, "network");
  }
  const text = await answer.text();
  if (!answer.ok) throw errorOf(answer.status, text);
  return text ? JSON.parse(text) : null;
}

const job = (id) => `/api/jobs/${encodeURIComponent(id)}`;

export const api = {
  session: () => call("GET", "/api/session"),
  signIn: (token) => call("POST", "/api/session", { token }),
  signOut: () => call("DELETE", "/api/session"),
  status: () => call("GET", "/api/status"),
  job: (id) => call("GET", job(id)),
  cancel: (id) => call("POST", `${job(id)}/cancel`),
  pause: (id) => call("POST", `${job(id)}/pause`),
  resume: (id) => call("POST", `${job(id)}/resume`),
  retry: (id) => call("POST", `${job(id)}/retry`),
  forget: (id) => call("DELETE", job(id)),
  submit: (path) => call("POST", "/api/jobs", { path }),

  /** @param {{state?: string|null, before?: number|null, limit?: number}} page */
  jobs({ state = null, before = null, limit = 25 } = {}) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (state) query.set("state", state);
    if (before != null) query.set("before", String(before));
    return call("GET", `/api/jobs?${query}`);
  },

  resultOf: (id) => `${job(id)}/result`,
  sourceOf: (id) => `${job(id)}/source`,
  /** As a file to keep, with a name of its own. */
  saved: (path) => `${path}?save=true`,

  /** Why a file cannot be had, or null if it can: one byte is asked for. */
  async obstacle(path) {
    try {
      const answer = await fetch(path, { headers: { Range: "bytes=0-0" }, cache: "no-store" });
      if (answer.ok) {
        await answer.body?.cancel();
        return null;
      }
      return errorOf(answer.status, await answer.text());
    } catch {
      return new ApiError(UNREACHABLE, "network");
    }
  },
};
