/** One source: what is known of it, and what can be done with it. */
import { ApiError, get, once } from "./api.js";
import { announce, button, el, fill, icon, openDialog, toast } from "./dom.js";
import { bytes, clock, count, dateDoubt, endOf, isolated, lengthClock, sourceName, span, when } from "./format.js";
import { commandLine, emptyView, facts, failure } from "./parts.js";
import { go, href, title } from "./router.js";
import { badges, far, kindOf, poster } from "./sources.js";
import { showVideo } from "./video.js";

const STATES = { open: "Interrupted", done: "Done", partial: "Done; what is damaged was left out" };
const BY = { container: "the file says so", exif: "the photo says so", name: "from its name", mtime: "the date of the file",
  log: "the log says so", live: "the clock of the recorder", day: "the day alone", given: "set by hand" };
let turn = 0;
/** @type {({key: string, words: HTMLElement} & ReturnType<typeof showVideo>) | null} the video on show */
let video = null;

/** Stop what plays. */
export function closeSource() {
  turn++;
  video?.close();
  video = null;
}

/** @param {HTMLElement} root @param {string} id @param {{start: (body: any) => Promise<any>}} jobs */
export async function showSource(root, id, jobs) {
  const mine = ++turn;
  const up = el("a", { class: "button is-plain is-small page-back", href: href("sources") }, icon("left"), "All sources");
  if (!root.childElementCount) fill(root, up, el("div", { class: "source-page" }, el("div", { class: "skeleton thing-blank" })));
  let source, server;
  try {
    [source, server] = await Promise.all([get(`/sources/${encodeURIComponent(id)}`), once("/server")]);
  } catch (error) {
    if (mine !== turn) return;
    video?.close();
    video = null;
    const gone = error instanceof ApiError && error.status === 404;
    fill(root, up, gone ? emptyView("This source is not in the memory", ["It may have been forgotten."])
      : failure(error, () => void showSource(root, id, jobs)));
    return;
  }
  if (mine !== turn) return;
  const words = sourceWords(source, server, jobs);
  const name = sourceName(source.source);
  title(name);
  announce(name);
  const key = `${source.id} ${endOf(source)}`;
  if (video?.key === key) { // it may be playing
    fill(video.words, words);
    video.renew();
    return;
  }
  video?.close();
  const place = el("div", { class: "source-words" }, words);
  const watchable = source.kind !== "pictures" && source.kind !== "live" && source.at_hand && source.duration_s > 0;
  video = watchable ? { key, words: place, ...showVideo(source, null, { search: (crop) => go("search", { crop }) }) } : null;
  fill(root, up, el("div", { class: `source-page${video ? " is-video" : ""}` }, video ? video.stage : el("div", { class: "source-shot" }, poster(source, 960)), place));
}

/** @param {any} source @param {any} server @param {{start: (body: any) => Promise<any>}} jobs */
function sourceWords(source, server, jobs) {
  const id = source.id;
  const name = sourceName(source.source);
  const pictures = source.kind === "pictures";
  return [
    el("div", { class: "source-title" }, el("h1", { class: "anywhere", text: name }), badges(source)),
    source.state === "open" && el("div", { class: "source-far" }, far(source), el("p", { class: "quiet num" },
      source.duration_s ? `Indexed to ${clock(Number(source.indexed_to_ns ?? 0) / 1e9)} of ${lengthClock(source.duration_s)}. ` : "",
      "What was seen until then can be asked for.")),
    el("div", { class: "chips" },
      !pictures && el("a", { class: "button is-primary", href: href("search", { source: id }) }, icon("search"), "Search in it"),
      pictures && el("a", { class: "button is-primary", href: href("photos") }, icon("photos"), "See the photos"),
      el("a", { class: "button", href: href("things", { source: id }) }, icon("things"), "Things in it")),
    facts([["State", STATES[source.state] ?? source.state],
      ["Kind", kindOf(source) || "video"],
      ["Length", source.duration_s ? span(source.duration_s) : ""],
      ["Size", source.width ? `${source.width} × ${source.height}` : ""],
      ["Recorded", pictures ? "each photo has its own date" : recorded(source)],
      [pictures ? "Photos" : "Frames looked at", source.frames.toLocaleString("en-GB")],
      ["Damaged", source.damaged ? count(source.damaged, "frame or packet", "frames or packets") : "nothing"],
      ["Tracks", source.tracks?.toLocaleString("en-GB")],
      ["In the memory", source.bytes ? bytes(source.bytes) : ""],
      ["File", source.kind !== "live" && !source.at_hand && "gone; its pictures cannot be shown"],
      ["Indexed", when(new Date(Number(BigInt(source.added_ns) / 1_000_000n)).toISOString())],
      ["Path", isolated(source.source)]]),
    server.allow_write ? actions(source, jobs) : source.state === "open" && resume(source)];
}

/** @param {any} source */
function recorded(source) {
  const date = when(source.recorded, source.recorded_by);
  if (!date) return "no date is known";
  const how = BY[source.recorded_by] ?? source.recorded_by;
  return [date, how && el("span", { class: "quiet", text: ` (${dateDoubt(source.recorded_by) || how})` })];
}

/** @param {any} source */
function resume(source) {
  return el("div", { class: "source-resume" }, el("p", { class: "quiet", text: "To go on where it stopped:" }),
    commandLine(`vidmem index ${quoted(source.source)}`));
}

/** A path as a shell takes it. @param {string} path */
function quoted(path) {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** @param {any} source @param {{start: (body: any) => Promise<any>}} jobs */
function actions(source, jobs) {
  const run = async (/** @type {any} */ body) => {
    try {
      await jobs.start(body);
      location.hash = href("sources");
    } catch (error) { toast(/** @type {any} */ (error).message); }
  };
  return el("div", { class: "chips source-actions" },
    source.kind !== "live" && source.at_hand !== false && button(source.state === "open" ? "Go on indexing" : "Index again",
      { class: source.state === "open" ? "is-primary" : "", on: { click: () => run({ action: "index", sources: [source.id] }) } }, "refresh"),
    button("Forget…", { class: "is-danger", on: { click: () => confirmForget(source, run) } }, "trash"));
}

/** @param {any} source @param {(body: any) => void} run */
function confirmForget(source, run) {
  const dialog = openDialog(`Forget ${sourceName(source.source)}?`,
    [el("p", { text: "All that was seen in it is removed from the memory, for good. The file itself stays where it is." })],
    { foot: [button("Keep it", { on: { click: () => dialog.close() } }),
      button("Forget it", { class: "is-danger", on: { click: () => { dialog.close(); run({ action: "forget", sources: [source.id] }); } } }, "trash")] });
}
