/** Pictures to search by: chosen, dropped or pasted, and sent to the server, which keeps them for a while. */
import { post } from "./api.js";
import { el } from "./dom.js";

const LARGEST = 20_000_000;
const SIDE = 56;

/**
 * Send a picture. @param {Blob} file @returns {Promise<string>} its id
 * @throws {Error} too large, not a picture, or ApiError
 */
export async function sendPicture(file) {
  if (file.size > LARGEST) throw new Error("The picture is larger than 20 MB; give a smaller one.");
  if (file.type && !file.type.startsWith("image/")) throw new Error("This file is not a picture.");
  const { picture } = await post("/pictures", file);
  await keepThumbnail(picture, file);
  return picture;
}

/** Keep its pixels for this tab, so that the field shows the picture after a reload too. */
async function keepThumbnail(/** @type {string} */ id, /** @type {Blob} */ file) {
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(SIDE, SIDE);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const scale = Math.max(SIDE / bitmap.width, SIDE / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    context.fillStyle = "#fff";
    context.fillRect(0, 0, SIDE, SIDE);
    context.drawImage(bitmap, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    const pixels = context.getImageData(0, 0, SIDE, SIDE).data;
    sessionStorage.setItem(`vidmem.picture.${id}`, btoa(String.fromCharCode(...pixels)));
  } catch { /* a kind of picture that the browser cannot draw, or no storage: the field shows an icon */ }
}

/** The small picture as a canvas, or null. @param {string} id */
export function thumbnail(id) {
  let text = null;
  try { text = sessionStorage.getItem(`vidmem.picture.${id}`); } catch { return null; }
  if (!text) return null;
  const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { width: SIDE, height: SIDE, class: "ask-thumb", "aria-hidden": "true" }));
  const pixels = Uint8ClampedArray.from(atob(text), (c) => c.charCodeAt(0));
  canvas.getContext("2d")?.putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
  return canvas;
}

/**
 * Take pictures that are dropped anywhere or pasted, in all views. @param {(file: File) => void} take
 */
export function takePictures(take) {
  let depth = 0;
  const has = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  const sign = el("div", { class: "drop", "aria-hidden": "true" }, el("p", { text: "Drop the picture to search by it" }));
  document.body.append(sign);
  const over = (/** @type {boolean} */ on) => document.body.classList.toggle("is-dropping", on);
  /** @type {[string, (event: any) => void][]} */
  const heard = [
    ["dragenter", (event) => { if (has(event)) { depth++; over(true); } }],
    ["dragleave", (event) => { if (has(event) && --depth <= 0) { depth = 0; over(false); } }],
    ["dragover", (event) => { if (has(event)) event.preventDefault(); }],
    ["drop", (event) => {
      depth = 0;
      over(false);
      if (!has(event)) return;
      event.preventDefault();
      const file = event.dataTransfer.files[0];
      if (file) take(file);
    }],
    ["paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file) { event.preventDefault(); take(file); }
    }],
  ];
  for (const [name, hear] of heard) addEventListener(name, hear);
}
