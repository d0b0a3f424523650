// What is drawn over one another: the photo, the masks tinted or outlined, or the photo cut out along them.

export const COLOURS = ["#1088ff", "#f59e0b", "#d946ef", "#14b8a6", "#ef5350", "#8b5cf6", "#84cc16", "#ec4899"];
const MOST = 6e6; // pixels of a mask that are kept for drawing; saved masks have all of them

export const colourOf = (index) => COLOURS[index % COLOURS.length];

export class Layers {
  constructor(photoCanvas, overlayCanvas) {
    this.photoCanvas = photoCanvas;
    this.overlay = overlayCanvas;
    this.scratch = document.createElement("canvas");
    this.tinted = document.createElement("canvas");
    this.ring = document.createElement("canvas");
    const pixel = document.createElement("canvas");
    pixel.width = pixel.height = 1;
    this.probe = pixel.getContext("2d", { willReadFrequently: true }); // masks themselves are never read back
    this.masks = new Map();
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
    for (const name of [...this.masks.keys()]) this.#forget(name);
    this.plain = this.classMap = null;
  }

  #blank() {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(this.size.width * this.scale));
    canvas.height = Math.max(1, Math.round(this.size.height * this.scale));
    return canvas;
  }

  /** Draws a region of a layer in its place. */
  put(part, bitmap) {
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
  }

  /** Forgets the masks of objects that are no more. */
  keep(names) {
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
    for (const canvas of [this.photoCanvas, this.overlay, this.scratch, this.tinted, this.ring]) {
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = Math.max(1, Math.round(height * ratio));
    }
    this.ratio = ratio;
  }

  /** Draws the photo where the view has it. */
  drawPhoto(view) {
    const context = this.photoCanvas.getContext("2d", { alpha: true });
    context.clearRect(0, 0, this.photoCanvas.width, this.photoCanvas.height);
    if (!this.photo) return;
    context.imageSmoothingEnabled = view.scale * this.ratio < 3;
    context.imageSmoothingQuality = view.scale < 0.7 ? "high" : "low";
    context.drawImage(this.photo, ...this.#place(view));
  }

  /** Draws what lies over the photo: `objects` as {name, colour, active}, the active one last. */
  drawOverlay(view, objects) {
    const { overlay, style } = this;
    const context = overlay.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!this.photo || style.peek === "photo") return;
    const place = this.#place(view);
    if (style.peek === "plain") {
      if (this.plain) this.#tint(context, this.plain, place, "#64748b", true);
      return;
    }
    if (style.view === "cutout") return this.#cutout(context, objects, place);
    if (style.view === "classes" && this.classMap) {
      context.globalAlpha = style.opacity;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.classMap, ...place);
      context.globalAlpha = 1;
    }
    for (const { name, colour, active } of objects) {
      const mask = this.masks.get(name);
      if (mask && (style.view !== "classes" || active)) this.#tint(context, mask, place, colour, active);
    }
  }

  #place(view) {
    const { width, height } = this.size;
    return [view.x, view.y, width * view.scale, height * view.scale].map((each) => each * this.ratio);
  }

  #cutout(context, objects, place) {
    context.fillStyle = this.style.paper;
    context.fillRect(...place);
    context.globalCompositeOperation = "destination-out";
    for (const { name } of objects) if (this.masks.has(name)) context.drawImage(this.masks.get(name), ...place);
    context.globalCompositeOperation = "source-over";
  }

  /** A mask in a colour: tinted as the view says, within an outline; the active one's is bright, with a dark rim. */
  #tint(context, mask, place, colour, active) {
    const { scratch, tinted, ring, style } = this;
    const [left, top, right, bottom] = this.#visible(place);
    if (right <= left || bottom <= top) return;
    const area = [left, top, right - left, bottom - top];
    const stencil = scratch.getContext("2d");
    stencil.globalCompositeOperation = "copy";
    stencil.drawImage(mask, ...place);
    const fills = style.view === "fill";
    const line = ring.getContext("2d");
    line.globalCompositeOperation = "source-over";
    line.clearRect(...area);
    for (const [reach, stroke] of active ? [[2.4, "#000a"], [1.4, fills ? "#fff" : colour]] : [[1.1, colour]]) {
      const source = stroke === "#fff" ? scratch : this.#dyed(tinted, scratch, stroke, area);
      for (const [dx, dy] of AROUND) line.drawImage(source, ...area, left + dx * reach * this.ratio, top + dy * reach * this.ratio, area[2], area[3]);
    }
    line.globalCompositeOperation = "destination-out";
    line.drawImage(scratch, ...area, ...area);
    if (fills) {
      context.globalAlpha = style.opacity * (active ? 1 : 0.75);
      context.drawImage(this.#dyed(tinted, scratch, colour, area), ...area, ...area);
      context.globalAlpha = 1;
    }
    context.drawImage(ring, ...area, ...area);
  }

  /** The stencil in a colour. */
  #dyed(canvas, stencil, colour, area) {
    const context = canvas.getContext("2d");
    context.globalCompositeOperation = "copy";
    context.fillStyle = colour;
    context.fillRect(...area);
    context.globalCompositeOperation = "destination-in";
    context.drawImage(stencil, 0, 0);
    return canvas;
  }

  #visible([x, y, width, height]) {
    return [Math.max(0, Math.floor(x) - 4), Math.max(0, Math.floor(y) - 4), Math.min(this.overlay.width, Math.ceil(x + width) + 4), Math.min(this.overlay.height, Math.ceil(y + height) + 4)];
  }
}

const AROUND = [[0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7]];
