/** Times, dates, probabilities and names, as people read them. */

/** A place in a video: `0:12`, `1:02:03`; with `tenths`, `0:12.4`. @param {number} seconds @param {boolean} [tenths] */
export function clock(seconds, tenths = false) {
  const sign = seconds < 0 ? "-" : "";
  const units = tenths ? Math.round(Math.abs(seconds) * 10) : Math.floor(Math.abs(seconds) + 1e-6) * 10;
  const whole = Math.floor(units / 10);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return sign + (h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`) + (tenths ? `.${units % 10}` : "");
}

/** A length of time: `0.4 s`, `4 s`, `2 min 5 s`, `1 h 3 min`. @param {number} seconds */
export function span(seconds) {
  if (seconds < 0.95) return `${Math.max(0.1, Math.round(seconds * 10) / 10)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  const minutes = Math.round(s / 60);
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** The length of a video: `0:40`, `1:02:03`. @param {number} seconds */
export function lengthClock(seconds) {
  return clock(Math.max(1, Math.round(seconds)));
}

/** Where a source ends, on its own clock, which may begin later than 0. @param {import("./types.js").Source} source @returns {number} s */
export function endOf(source) {
  return Math.max(source.duration_s || 0, Number(source.indexed_to_ns ?? 0) / 1e9);
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "long" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** The day alone: `Today`, `Yesterday`, `Monday`, `12 Mar`, `12 Mar 2024`. @param {Date} date @param {Date} [now] */
export function day(date, now = new Date()) {
  const midnight = (/** @type {Date} */ d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return WEEKDAY.format(date);
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(date);
}

/**
 * When something was recorded: `Yesterday 18:02`; the day alone where only the day is known; "" without a date.
 * @param {string | null | undefined} recorded ISO 8601 @param {string | null} [by] how it is known
 */
export function when(recorded, by = null) {
  const date = recorded ? new Date(recorded) : null;
  if (!date || Number.isNaN(date.getTime())) return "";
  return by === "day" ? day(date) : `${day(date)} ${TIME.format(date)}`;
}

/** The time of day alone: `18:02`; "" where only the day is known. @param {string | null} recorded @param {string | null} by */
export function timeOfDay(recorded, by) {
  return recorded && by !== "day" ? TIME.format(new Date(recorded)) : "";
}

/** Why a date may be wrong, or "". @param {string | null | undefined} by */
export function dateDoubt(by) {
  return by === "mtime" ? "the date of the file, which may be that of a copy" : "";
}

/** `92 %`, `< 1 %`, `> 99 %`. @param {number} p */
export function percent(p) {
  const rounded = Math.round(p * 100);
  if (rounded < 1) return "< 1 %";
  return rounded > 99 ? "> 99 %" : `${rounded} %`;
}

/** How sure an answer is: `92 % sure`, or `score 0.73` without a probability. */
export function sureness(/** @type {{probability: number | null, score: number}} */ sighting) {
  return sighting.probability === null || sighting.probability === undefined
    ? `score ${sighting.score.toFixed(2)}` : `${percent(sighting.probability)} sure`;
}

/** The short name of a source or a photo: the file, with the part of it after a #. @param {string} source */
export function sourceName(source) {
  const [path, part] = splitAt(source, source.lastIndexOf("#"));
  const name = path.replace(/[/\\]+$/, "").split(/[/\\]/).pop() || path;
  return isolated(part ? `${name} # ${part}` : name);
}

/** A name that does not turn what stands around it: signs that turn text are left out, and names from right to left kept apart. */
export function isolated(/** @type {string} */ name) {
  const plain = name.replace(/[\u200E\u200F\u202A-\u202E\u2066-\u2069]/g, "");
  return /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC]/.test(plain) ? `\u2066${plain}\u2069` : plain;
}

/** @param {string} text @param {number} at */
function splitAt(text, at) {
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** `1 time`, `3 times`, `12,000 times`. @param {number} n @param {string} one @param {string} [many] */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;
}

/** `1.9 MB`. @param {number} n */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

/** Words with a capital first letter. @param {string} text */
export function capital(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : text;
}
