/** What is being indexed or forgotten, live, and the form that starts it where the server allows that. */
import { del, get, listen, once, post } from "./api.js";
import { announce, button, el, fill, icon, toast } from "./dom.js";
import { clock, count, percent, sourceName, span } from "./format.js";

const DOES = { index: "Index", forget: "Forget" };
/** States in which a job is over, in words. */
export const ENDED = { done: "Done", partial: "Done, in part", failed: "Failed", cancelled: "Stopped; what was indexed stays" };
const SHOWN = 5;
/** What each running job works on, by the id of the job. @type {Map<string, string>} */
const working = new Map();

/** True if a job works on a source now. @param {string} source */
export function isWorkedOn(source) {
  return [...working.values()].includes(sourceName(source));
}

export function jobsPanel() {
  const list = el("ul", { class: "jobs" });
  const form = el("div");
  const node = el("section", { class: "jobs-panel", "aria-label": "Indexing", hidden: true }, form, list);
  /** @type {Map<string, any>} */ const jobs = new Map();
  /** @type {Map<string, HTMLElement>} */ const rows = new Map();
  let allowed = false;

  /** @param {any} job */
  function put(job) {
    const before = jobs.get(job.id);
    jobs.set(job.id, job);
    note(job);
    if (before && before.state !== job.state) announce(`${titleOf(job)}: ${ENDED[job.state] ?? job.state}`);
    show();
  }

  function show() {
    const newest = [...jobs.values()].sort((a, b) => b.created_at - a.created_at);
    const active = newest.filter((job) => !(job.state in ENDED));
    const shown = [...active, ...newest.filter((job) => job.state in ENDED).slice(0, SHOWN)];
    node.hidden = !allowed && !shown.length;
    for (const [id, row] of rows) if (!shown.some((job) => job.id === id)) { row.remove(); rows.delete(id); }
    shown.forEach((job, i) => {
      const old = rows.get(job.id);
      const row = old ?? el("li", { class: "job" });
      rows.set(job.id, row);
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
      draw(row, job);
    });
  }

  async function renew() {
    try {
      const server = await once("/server");
      allowed = server.allow_write === true;
      if (allowed && !form.childElementCount) form.append(indexForm(server, start));
      if (!allowed) { show(); return; }
      const found = await get("/jobs");
      jobs.clear();
      for (const job of found.jobs) { jobs.set(job.id, job); note(job); }
      show();
    } catch { /* the banner of the page says that the server is gone */ }
  }

  /** Start a job. @param {any} body */
  async function start(body) {
    const job = await post("/jobs", body);
    put(job);
    return job;
  }

  const stopListening = listen("job", put);
  return { node, start, renew, ready: renew(), stop: stopListening };
}

/** @param {any} job */
function note(job) {
  if (job.state === "running" && job.progress) working.set(job.id, sourceName(job.progress.source));
  else working.delete(job.id);
}

/** @param {any} job */
function titleOf(job) {
  const what = job.progress?.source ?? job.reports[0]?.source ?? "";
  return [DOES[job.action] ?? job.action, what && sourceName(what)].filter(Boolean).join(" ");
}

/** The row keeps its parts, so that its button keeps the focus while numbers change. @param {HTMLElement} row @param {any} job */
function draw(row, job) {
  if (!row.firstElementChild) {
    row.append(el("div", { class: "job-head" }, el("span", { class: "job-title cut" }), el("span", { class: "job-state num" }),
      button("Stop", { class: "is-small job-stop", on: { click: async () => {
        try { await del(`/jobs/${encodeURIComponent(job.id)}`); } catch (error) { toast(/** @type {any} */ (error).message); }
      } } })),
      el("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, el("div")),
      el("p", { class: "job-more small quiet num anywhere" }));
  }
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (row.querySelector(name));
  const ended = job.state in ENDED;
  const progress = job.progress ?? {};
  const share = ended ? 1 : progress.total_s ? Math.min(1, progress.done_s / progress.total_s) : 0;
  row.dataset.state = job.state;
  part(".job-title").textContent = titleOf(job);
  part(".job-state").textContent = ended ? ENDED[job.state] : job.state === "waiting" ? "Waiting" : percent(share);
  part(".job-stop").hidden = ended;
  part(".job-stop").setAttribute("aria-label", `Stop: ${titleOf(job)}`);
  const bar = part(".progress");
  bar.hidden = ended;
  bar.style.setProperty("--p", String(share));
  bar.setAttribute("aria-label", titleOf(job));
  bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  part(".job-more").textContent = job.error?.message ?? (ended ? reported(job) : [
    progress.total_s ? `${clock(progress.done_s)} of ${clock(progress.total_s)}` : "",
    progress.frames ? count(progress.frames, "frame") : "",
    progress.fps ? `${progress.fps.toFixed(1)} frames a second` : "",
    progress.eta_s ? `about ${span(progress.eta_s)} left` : ""].filter(Boolean).join(" · "));
}

/** @param {any} job */
function reported(job) {
  const sum = (/** @type {string} */ name) => job.reports.reduce((/** @type {number} */ n, /** @type {any} */ one) => n + one[name], 0);
  const failed = job.reports.filter((/** @type {any} */ one) => one.state === "failed").flatMap((/** @type {any} */ one) => [...one.notes]);
  return [job.reports.length && count(job.reports.length, "source"), sum("tracks") && count(sum("tracks"), "track"),
    sum("damaged") && `${sum("damaged")} damaged`, ...failed.slice(0, 3)].filter(Boolean).join(" · ");
}

/** @param {any} server @param {(body: any) => Promise<any>} start */
function indexForm(server, start) {
  const folders = server.folders ?? [];
  const input = /** @type {HTMLInputElement} */ (el("input", { class: "input", id: "index-path", list: "index-folders", required: true,
    placeholder: folders[0] ? `${folders[0]}/walk.mp4` : "a file or a folder", autocomplete: "off", spellcheck: "false",
    "aria-describedby": "index-help" }));
  const wrong = el("p", { class: "small index-wrong", role: "alert" });
  const form = el("form", { class: "index-form", on: { submit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    fill(wrong);
    try {
      await start({ action: "index", paths: [input.value.trim()] });
      input.value = "";
    } catch (error) { wrong.textContent = /** @type {any} */ (error).message; }
  } } },
    el("label", { for: "index-path", text: "Index a file or a folder" }),
    el("div", { class: "index-row" }, input, el("button", { class: "button is-primary", type: "submit" }, icon("plus"), "Index")),
    el("datalist", { id: "index-folders" }, folders.map((/** @type {string} */ folder) => el("option", { value: folder }))),
    el("p", { class: "small quiet anywhere", id: "index-help", text: folders.length
      ? `On the machine of the server, below ${folders.join(", ")}.` : "The server was started without a folder to index from; only known sources can be indexed again." }),
    wrong);
  return form;
}
