/** The HTTP API: questions, the addresses of pictures, events. Addresses are relative to the page. */

const BASE = "api/v1";

/** An answer that is an error. `kind` is "gone" if the server cannot be reached. */
export class ApiError extends Error {
  /** @param {string} kind @param {string} message @param {{status?: number, near?: string[]}} [more] */
  constructor(kind, message, more = {}) {
    super(message);
    this.kind = kind;
    this.status = more.status ?? 0;
    this.near = more.near ?? [];
  }
}

/** `?a=1&b=2&b=3`: null, undefined and "" are left out, a list repeats its name. @param {Object<string, any>} params */
export function query(params) {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") out.append(name, String(one));
    }
  }
  const text = out.toString();
  return text ? `?${text}` : "";
}

/**
 * @param {string} path below /api/v1 @param {Object<string, any>} [params] @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the document
 * @throws {ApiError} or AbortError
 */
export function get(path, params = {}, options = {}) {
  return ask("GET", path + query(params), undefined, options);
}

/** Send JSON, or the bytes of a Blob as they are. */
export function post(/** @type {string} */ path, /** @type {any} */ body, options = {}) {
  return ask("POST", path, body, options);
}

/** @param {string} path */
export function del(path, options = {}) {
  return ask("DELETE", path, undefined, options);
}

/** @param {string} method @param {string} path @param {any} body @param {{signal?: AbortSignal}} options */
async function ask(method, path, body, options) {
  const raw = body instanceof Blob;
  const headers = body === undefined ? {} : { "Content-Type": raw ? body.type || "application/octet-stream" : "application/json" };
  let response;
  try {
    response = await fetch(`${BASE}${path}`, { method, headers, signal: options.signal, credentials: "same-origin",
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body) });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    signals.dispatchEvent(new Event("gone"));
    throw new ApiError("gone", "The server does not answer.");
  }
  signals.dispatchEvent(new Event("there"));
  if (response.status === 401) location.assign("login"); // the server asks for its token, again
  const text = await response.text();
  let document = null;
  try { document = text ? JSON.parse(text) : null; } catch { /* not JSON: told below */ }
  if (!response.ok) {
    const error = document?.error ?? {};
    throw new ApiError(error.kind ?? "server", error.message ?? `The server answered ${response.status}.`,
      { status: response.status, near: error.near ?? [] });
  }
  if (document?.exact === false && document.shards) signals.dispatchEvent(new CustomEvent("inexact", { detail: document.shards.down }));
  return document;
}

/**
 * Events of the page itself: "gone" and "there", each time the server is not or is reached; "inexact" for an answer of a
 * fleet that may miss what is in the shards that are down.
 */
export const signals = new EventTarget();

/** @param {number[]} box */
const corners = (box) => box.map((v) => Math.round(v)).join(",");

/** The address of a frame. @param {number} source @param {string | number} ns @param {{width?: number, box?: number[]}} [options] */
export function frameUrl(source, ns, options = {}) {
  return `${BASE}/frames/${source}/${ns}.jpg${query({ width: options.width, box: options.box && corners(options.box) })}`;
}

/** The address of what is in a box, with a margin. */
export function cropUrl(/** @type {number} */ source, /** @type {string | number} */ ns, /** @type {number[]} */ box, width = 320) {
  return `${BASE}/crops/${source}/${ns}.jpg${query({ width, box: corners(box) })}`;
}

/** The address of a clip, with boxes around these tracks. @param {number[]} [tracks] */
export function clipUrl(/** @type {number} */ source, /** @type {string | number} */ start, /** @type {string | number} */ end, tracks = []) {
  return `${BASE}/clips/${source}/${start}-${end}.mp4${query({ tracks: tracks.slice(0, 2000).join(",") })}`;
}

/** The address of the video itself. @param {number} source */
export function videoUrl(source) {
  return `${BASE}/videos/${source}`;
}

const REOPEN_MS = 15_000;
const KINDS = ["job", "memory"];
const listeners = new EventTarget();
let opened = false;

/** @type {number | null} */
let generation = null;

/** Say which state of the memory the page shows. @param {number} shown */
export function knowGeneration(shown) {
  generation ??= shown;
}

/** True if this is another state of the memory than the page knows of. The stream begins with the state that there is. */
function isNew(/** @type {number} */ now) {
  const other = generation !== null && now !== generation;
  generation = now;
  return other;
}

/** Open the stream. The browser opens it again after an interruption, but not after an error such as "busy". */
function open() {
  const stream = new EventSource(`${BASE}/events`);
  for (const kind of KINDS) {
    stream.addEventListener(kind, (event) => {
      const detail = JSON.parse(event.data);
      if (kind !== "memory" || isNew(detail.generation)) listeners.dispatchEvent(new CustomEvent(kind, { detail }));
    });
  }
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
  });
}

/**
 * Hear the server's events: "job" and "memory". One connection serves all.
 * @param {string} name @param {(data: any) => void} hear @returns {() => void} stops it
 */
export function listen(name, hear) {
  const heard = (/** @type {any} */ event) => hear(event.detail);
  listeners.addEventListener(name, heard);
  if (!opened) {
    opened = true;
    if (document.readyState === "complete") open();
    else addEventListener("load", () => setTimeout(open, 200), { once: true }); // what is shown first comes first
  }
  return () => listeners.removeEventListener(name, heard);
}

/** @type {Map<string, Promise<any>>} */
const kept = new Map();

/** A document that changes only with the memory, asked once: "/server", "/sources", "/stats". @param {string} path */
export function once(path) {
  let promise = kept.get(path);
  if (!promise) {
    promise = get(path);
    kept.set(path, promise);
    promise.catch(() => kept.delete(path));
  }
  return promise;
}

/** Forget what `once` keeps, because the memory has changed. */
export function forgetKept() {
  kept.clear();
}
