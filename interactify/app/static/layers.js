// The layers of the stage: the photo, and over it the masks, tinted or outlined, or the photo cut out along them.

import { Tint, clipped, grown } from "./tint.js";

export const COLOURS = ["#1088ff", "#f59e0b", "#d946ef", "#14b8a6", "#ef5350", "#8b5cf6", "#84cc16", "#ec4899"];
const MAX_PIXELS = 6e6; // of a mask for drawing; saved masks are in full size

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
    this.viewportMasks = new Map(); // of masks that are still coming, the part on the screen: {canvas, box, changed}
    this.drawn = null; // view, style and objects of the last drawing
    this.stale = []; // boxes of the photo to draw again
    this.photo = null;
    this.initial = null;
    this.classMap = null;
    this.uncertainty = null; // a picture to draw over a slice
    this.style = { view: "fill", opacity: 0.45, peek: null, paper: "#fff" };
  }

  /** Starts a photo, without masks. */
  open(bitmap) {
    this.photo?.close();
    this.photo = bitmap;
    this.size = { width: bitmap.width, height: bitmap.height };
    this.scale = Math.min(1, Math.sqrt(MAX_PIXELS / (bitmap.width * bitmap.height)));
    this.keep([]);
    this.initial = this.classMap = this.drawn = null;
  }

  /** Shows another picture of the same size, with the mask of an object and its uncertainty, or none; all are kept elsewhere. */
  turn(bitmap, name, { mask, uncertainty } = {}) {
    this.photo = bitmap;
    this.keep([]);
    if (mask) this.masks.set(name, mask);
    this.uncertainty = uncertainty ?? null;
    this.initial = this.drawn = null;
  }

  #blank() {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(this.size.width * this.scale));
    canvas.height = Math.max(1, Math.round(this.size.height * this.scale));
    return canvas;
  }

  /** Takes a region of a layer. */
  put(part, bitmap) {
    if (part.layer === "viewport") return this.#putViewport(part);
    this.stale.push(part.box);
    const [left, top, width, height] = part.box.map((each) => each * this.scale);
    const whole = part.box[2] === this.size.width && part.box[3] === this.size.height;
    if (part.layer === "object" && whole && this.scale === 1) { // the bitmap itself is drawn
      this.#drop(part.name);
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

  /** Takes a mask in the viewport: every step-th pixel of a box, each drawn around its centre. */
  #putViewport({ name, box: [left, top, width, height], step, changed, runs }) {
    const before = this.viewportMasks.get(name);
    const canvas = before?.canvas ?? document.createElement("canvas");
    const [wide, high] = [width, height].map((side) => Math.ceil(side / step));
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    canvas.getContext("2d").putImageData(filled(runs, wide, high), 0, 0);
    const shift = (step - 1) / 2;
    this.viewportMasks.set(name, { canvas, changed, box: [left - shift, top - shift, wide * step, high * step] });
    this.stale.push(changed, ...(before ? [before.changed] : []));
  }

  /** Drops the masks in the viewport, since the whole masks have come. */
  dropViewportMasks() {
    for (const { changed } of this.viewportMasks.values()) this.stale.push(changed);
    this.viewportMasks.clear();
  }

  /** The canvas of an object's mask, to draw regions into. */
  #canvasOf(name) {
    const mask = this.masks.get(name);
    if (mask instanceof HTMLCanvasElement) return mask;
    const canvas = this.#blank();
    if (mask) canvas.getContext("2d").drawImage(mask, 0, 0);
    this.#drop(name);
    this.masks.set(name, canvas);
    return canvas;
  }

  #drop(name) {
    this.masks.get(name)?.close?.();
    this.masks.delete(name);
  }

  putInitial(bitmap) {
    this.initial = this.#blank();
    this.initial.getContext("2d").drawImage(bitmap, 0, 0, this.initial.width, this.initial.height);
    this.drawn = null;
  }

  /** Drops the masks of objects that no longer exist. */
  keep(names) {
    this.dropViewportMasks();
    for (const name of [...this.masks.keys()]) if (!names.includes(name)) this.#drop(name);
  }

  /** Whether a pixel of the photo is in an object's mask. */
  contains(name, x, y) {
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

  /** Draws the photo at the view's position. */
  drawPhoto(view) {
    const context = this.photoCanvas.getContext("2d", { alpha: true });
    context.clearRect(0, 0, this.photoCanvas.width, this.photoCanvas.height);
    if (!this.photo) return;
    context.imageSmoothingEnabled = view.scale * this.ratio < 3;
    context.imageSmoothingQuality = view.scale < 0.7 ? "high" : "low";
    context.drawImage(this.photo, ...this.#toCanvas(view, this.#whole()));
  }

  /** Draws the overlay where it has changed: `objects` as {name, colour, active}, the active one last. */
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
    const photoBox = this.#toCanvas(view, this.#whole());
    const within = intersection(area, grown(photoBox, 4, this.overlay));
    if (!within) return;
    const fills = style.view === "fill";
    if (style.peek === "initial") {
      if (this.initial) this.tint.draw(context, (to) => to.drawImage(this.initial, ...photoBox), within, this.ratio, "#64748b", { fills, opacity: style.opacity, active: true });
      return;
    }
    if (style.view === "cutout") return this.#cutout(context, view, objects, within);
    if (style.view === "classes" && this.classMap) {
      context.globalAlpha = style.opacity;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.classMap, ...photoBox);
      context.globalAlpha = 1;
      context.imageSmoothingEnabled = true;
    }
    if (style.view === "uncertain" && this.uncertainty) {
      context.globalAlpha = Math.min(1, 1.5 * style.opacity);
      context.drawImage(this.uncertainty, ...photoBox);
      context.globalAlpha = 1;
    }
    for (const { name, colour, active } of objects) {
      if (style.view !== "classes" || active) this.tint.draw(context, (to) => this.#mask(to, view, name), within, this.ratio, colour, { fills, opacity: style.opacity, active });
    }
  }

  #cutout(context, view, objects, within) {
    context.fillStyle = this.style.paper;
    context.fillRect(...this.#toCanvas(view, this.#whole()));
    context.globalCompositeOperation = "destination-out";
    const [left, top, width, height] = within;
    for (const { name } of objects) context.drawImage(this.tint.cut((to) => this.#mask(to, view, name), within), 0, 0, width, height, left, top, width, height);
  }

  /** Draws an object's mask in white: its viewport mask over its last whole mask. */
  #mask(context, view, name) {
    const [mask, part] = [this.masks.get(name), this.viewportMasks.get(name)];
    const box = part && this.#toCanvas(view, part.box);
    const photoBox = this.#toCanvas(view, this.#whole());
    if (mask && !(part && covers(box, intersection(photoBox, [0, 0, this.overlay.width, this.overlay.height])))) context.drawImage(mask, ...photoBox);
    if (!part) return;
    context.clearRect(...box);
    context.drawImage(part.canvas, ...box);
  }

  #whole() {
    return [0, 0, this.size.width, this.size.height];
  }

  /** A box of the photo in the pixels of the canvas. */
  #toCanvas(view, [left, top, width, height]) {
    return [view.x + left * view.scale, view.y + top * view.scale, width * view.scale, height * view.scale].map((each) => each * this.ratio);
  }

  /** The part of the canvas around boxes of the photo, with the outlines there; null where there is none. */
  #around(view, boxes) {
    const placed = boxes.filter((box) => box[2] && box[3]).map((box) => this.#toCanvas(view, box));
    if (!placed.length) return null;
    const [left, top] = [0, 1].map((k) => Math.min(...placed.map((box) => box[k])));
    const [right, bottom] = [0, 1].map((k) => Math.max(...placed.map((box) => box[k] + box[k + 2])));
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

/** The intersection of two areas, or null. */
function intersection(a, b) {
  const [left, top] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const [width, height] = [Math.min(a[0] + a[2], b[0] + b[2]) - left, Math.min(a[1] + a[3], b[1] + b[3]) - top];
  return width > 0 && height > 0 ? [left, top, width, height] : null;
}

/** Whether an area contains another, to within a pixel. */
function covers(area, other) {
  return !other || [0, 1].every((k) => area[k] <= other[k] + 1 && area[k] + area[k + 2] >= other[k] + other[k + 2] - 1);
}
