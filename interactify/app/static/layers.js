// What is drawn over one another: the photo, the masks tinted or outlined, or the photo cut out along them.

import { Tint, clipped, grown } from "./tint.js";

export const COLOURS = ["#1088ff", "#f59e0b", "#d946ef", "#14b8a6", "#ef5350", "#8b5cf6", "#84cc16", "#ec4899"];
const MOST = 6e6; // pixels of a mask that are kept for drawing; saved masks have all of them

export const colourOf = (index) => COLOURS[index % COLOURS.length];

export class Layers {
  constructor(photoCanvas, overlayCanvas) {
    this.photoCanvas = photoCanvas;
    this.overlay = overlayCanvas;
    this.tint = new Tint();
    const pixel = document.createElement("canvas");
    pixel.width = pixel.height = 1;
    this.probe = pixel.getContext("2d", { willReadFrequently: true }); // masks themselves are never read back
    this.masks = new Map();
    this.seen = new Map(); // of masks that are still coming, what the screen shows: {canvas, box, changed}
    this.drawn = null; // how the overlay was drawn last
    this.stale = []; // boxes of the photo in which it is to be drawn again
    this.photo = null;
    this.plain = null;
    this.classMap = null;
    this.style = { view: "fill", opacity: 0.45, peek: null, paper: "#fff" };
  }

  /** Begins a photo, of which no mask is known. */
  open(bitmap) {
    this.photo?.close();
    this.photo = bitmap;
    this.size = { width: bitmap.width, height: bitmap.height };
    this.scale = Math.min(1, Math.sqrt(MOST / (bitmap.width * bitmap.height)));
    this.keep([]);
    this.plain = this.classMap = this.drawn = null;
  }

  #blank() {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(this.size.width * this.scale));
    canvas.height = Math.max(1, Math.round(this.size.height * this.scale));
    return canvas;
  }

  /** Takes a region of a layer. */
  put(part, bitmap) {
    if (part.layer === "seen") return this.#putSeen(part);
    this.stale.push(part.box);
    const [left, top, width, height] = part.box.map((each) => each * this.scale);
    const whole = part.box[2] === this.size.width && part.box[3] === this.size.height;
    if (part.layer === "object" && whole && this.scale === 1) {  // it is drawn with as it came
      this.#forget(part.name);
      this.masks.set(part.name, bitmap);
      return;
    }
    let canvas;
    if (part.layer === "classes") canvas = this.classMap ??= this.#blank();
    else canvas = this.#canvasOf(part.name);
    const context = canvas.getContext("2d");
    context.clearRect(left, top, width, height);
    context.drawImage(bitmap, left, top, width, height);
    bitmap.close();
  }

  /** Takes what the screen shows of a mask: every step-th pixel of a box, each in the middle of those that it stands for. */
  #putSeen({ name, box: [left, top, width, height], step, changed, runs }) {
    const before = this.seen.get(name);
    const canvas = before?.canvas ?? document.createElement("canvas");
    const [wide, high] = [width, height].map((side) => Math.ceil(side / step));
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    canvas.getContext("2d").putImageData(filled(runs, wide, high), 0, 0);
    const aside = (step - 1) / 2;
    this.seen.set(name, { canvas, changed, box: [left - aside, top - aside, wide * step, high * step] });
    this.stale.push(changed, ...(before ? [before.changed] : []));
  }

  /** Forgets what was seen, since all of it has come. */
  forgetSeen() {
    for (const { changed } of this.seen.values()) this.stale.push(changed);
    this.seen.clear();
  }

  /** The canvas of an object's mask, which regions are drawn into. */
  #canvasOf(name) {
    const held = this.masks.get(name);
    if (held instanceof HTMLCanvasElement) return held;
    const canvas = this.#blank();
    if (held) canvas.getContext("2d").drawImage(held, 0, 0);
    this.#forget(name);
    this.masks.set(name, canvas);
    return canvas;
  }

  #forget(name) {
    this.masks.get(name)?.close?.();
    this.masks.delete(name);
  }

  putPlain(bitmap) {
    this.plain = this.#blank();
    this.plain.getContext("2d").drawImage(bitmap, 0, 0, this.plain.width, this.plain.height);
    this.drawn = null;
  }

  /** Forgets the masks of objects that are no more. */
  keep(names) {
    this.forgetSeen();
    for (const name of [...this.masks.keys()]) if (!names.includes(name)) this.#forget(name);
  }

  /** Whether a pixel of the photo is within an object's mask. */
  holds(name, x, y) {
    const mask = this.masks.get(name);
    if (!mask) return false;
    this.probe.globalCompositeOperation = "copy";
    this.probe.drawImage(mask, Math.floor(x * this.scale), Math.floor(y * this.scale), 1, 1, 0, 0, 1, 1);
    return this.probe.getImageData(0, 0, 1, 1).data[3] > 127;
  }

  /** Fits the canvases to the stage, in the screen's own pixels. */
  resize(width, height, ratio) {
    this.stage = { width, height };
    this.ratio = ratio;
    const [wide, high] = [width, height].map((side) => Math.max(1, Math.round(side * ratio)));
    for (const canvas of [this.photoCanvas, this.overlay]) [canvas.width, canvas.height] = [wide, high];
    this.drawn = null;
  }

  /** Draws the photo where the view has it. */
  drawPhoto(view) {
    const context = this.photoCanvas.getContext("2d", { alpha: true });
    context.clearRect(0, 0, this.photoCanvas.width, this.photoCanvas.height);
    if (!this.photo) return;
    context.imageSmoothingEnabled = view.scale * this.ratio < 3;
    context.imageSmoothingQuality = view.scale < 0.7 ? "high" : "low";
    context.drawImage(this.photo, ...this.#place(view, this.#whole()));
  }

  /** Draws what lies over the photo, where it is not as it was: `objects` as {name, colour, active}, the active one last. */
  drawOverlay(view, objects) {
    const { overlay } = this;
    const drawn = JSON.stringify([view.x, view.y, view.scale, this.style, objects.map(({ name, colour, active }) => [name, colour, active])]);
    const everywhere = [0, 0, overlay.width, overlay.height];
    const area = drawn === this.drawn ? this.#around(view, this.stale) : everywhere;
    this.drawn = drawn;
    this.stale = [];
    if (!area) return;
    clipped(overlay.getContext("2d"), area, (context) => {
      context.clearRect(...area);
      if (this.photo && this.style.peek !== "photo") this.#draw(context, view, objects, area);
    });
  }

  #draw(context, view, objects, area) {
    const { style } = this;
    const place = this.#place(view, this.#whole());
    const within = meeting(area, grown(place, 4, this.overlay));
    if (!within) return;
    const fills = style.view === "fill";
    if (style.peek === "plain") {
      if (this.plain) this.tint.draw(context, (to) => to.drawImage(this.plain, ...place), within, this.ratio, "#64748b", { fills, opacity: style.opacity, active: true });
      return;
    }
    if (style.view === "cutout") return this.#cutout(context, view, objects, within);
    if (style.view === "classes" && this.classMap) {
      context.globalAlpha = style.opacity;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.classMap, ...place);
      context.globalAlpha = 1;
      context.imageSmoothingEnabled = true;
    }
    for (const { name, colour, active } of objects) {
      if (style.view !== "classes" || active) this.tint.draw(context, (to) => this.#mask(to, view, name), within, this.ratio, colour, { fills, opacity: style.opacity, active });
    }
  }

  #cutout(context, view, objects, within) {
    context.fillStyle = this.style.paper;
    context.fillRect(...this.#place(view, this.#whole()));
    context.globalCompositeOperation = "destination-out";
    const [left, top, width, height] = within;
    for (const { name } of objects) context.drawImage(this.tint.cut((to) => this.#mask(to, view, name), within), 0, 0, width, height, left, top, width, height);
  }

  /** Draws an object's mask in white: what was seen of it, over what held before. */
  #mask(context, view, name) {
    const [mask, seen] = [this.masks.get(name), this.seen.get(name)];
    const box = seen && this.#place(view, seen.box);
    const place = this.#place(view, this.#whole());
    if (mask && !(seen && covers(box, meeting(place, [0, 0, this.overlay.width, this.overlay.height])))) context.drawImage(mask, ...place);
    if (!seen) return;
    context.clearRect(...box);
    context.drawImage(seen.canvas, ...box);
  }

  #whole() {
    return [0, 0, this.size.width, this.size.height];
  }

  /** Where a box of the photo is on the canvas. */
  #place(view, [left, top, width, height]) {
    return [view.x + left * view.scale, view.y + top * view.scale, width * view.scale, height * view.scale].map((each) => each * this.ratio);
  }

  /** The part of the canvas around boxes of the photo, with the outlines there; null where there is none. */
  #around(view, boxes) {
    const places = boxes.filter((box) => box[2] && box[3]).map((box) => this.#place(view, box));
    if (!places.length) return null;
    const [left, top] = [0, 1].map((k) => Math.min(...places.map((place) => place[k])));
    const [right, bottom] = [0, 1].map((k) => Math.max(...places.map((place) => place[k] + place[k + 2])));
    const area = grown([left, top, right - left, bottom - top], Math.ceil(6 * this.ratio + 2 * view.scale * this.ratio), this.overlay);
    return area[2] && area[3] ? area : null;
  }
}

/** A mask in white from the lengths of its runs: outside, inside, outside … */
function filled(runs, width, height) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  let at = 0;
  runs.forEach((length, k) => {
    if (k % 2) pixels.fill(0xffffffff, at, at + length);
    at += length;
  });
  return image;
}

/** What two areas share, or null. */
function meeting(a, b) {
  const [left, top] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const [width, height] = [Math.min(a[0] + a[2], b[0] + b[2]) - left, Math.min(a[1] + a[3], b[1] + b[3]) - top];
  return width > 0 && height > 0 ? [left, top, width, height] : null;
}

/** Whether an area holds another, to within a pixel. */
function covers(area, other) {
  return !other || [0, 1].every((k) => area[k] <= other[k] + 1 && area[k] + area[k + 2] >= other[k] + other[k + 2] - 1);
}
