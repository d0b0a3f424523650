// The volume that is open: which slice is shown, its picture and mask, and what of the interactions lies on it.

import * as api from "./api.js";
import { choice } from "./choice.js";
import { $, announce, layers, notice, page, session, stage } from "./page.js";
import { drawMarks, drawOverlay, fit, redraw } from "./screen.js";
import { clamp } from "./view.js";

const AHEAD = 4; // slices to each side that are loaded before they are asked for
const KEPT = 96; // pictures that are kept
const NEAR = 2; // slices away, up to which interactions are drawn, faintly
const NOTCH = 50; // pixels that a wheel's notch scrolls at least; a touchpad scrolls by fewer
const NAMES = ["z", "y", "x"];

export class Volume {
  constructor() {
    this.pictures = new Map(); // bitmaps, by slice and window; the earliest used first
    this.masks = new Map(); // {mask, uncertainty} as canvases, by slice; of the session as it is now
    this.uncertain = false; // whether uncertainty is shown
    this.version = 0; // of the masks
    this.scrolled = 0;
    this.towards = 1; // the direction of the last step
    this.plane = this.index = null; // of the slice that is on the screen
    this.wanted = null; // {plane, index} of the slice that will be there once its picture has come
    session.addEventListener("update", ({ detail: { header } }) => this.#updated(header));
    $("slices").hidden = false;
    $("slice").addEventListener("input", () => this.go(Number($("slice").value)));
    for (const id of ["level", "width"]) $(id).addEventListener("input", () => this.#windowed());
  }

  /** The shown slice, as the server reads it. */
  get cut() {
    return this.plane ? `${this.plane.axis},${this.index}` : null;
  }

  /** Whether a slice [axis, index] is the one that is shown. */
  shows([axis, index]) {
    return axis === this.plane.axis && index === this.index;
  }

  /** Opens a volume at its middle slice. */
  async open(number, signal) {
    this.plane = this.wanted = null;
    const about = await api.volume(number, signal);
    if (signal.aborted) return;
    layers.photo = null; // drawing a closed bitmap is an error
    for (const bitmap of this.pictures.values()) bitmap.close();
    this.pictures.clear();
    this.#forget();
    Object.assign(this, { number, about, window: about.window });
    this.indices = Object.fromEntries(about.planes.map((plane) => [plane.axis, Math.floor(plane.count / 2)]));
    this.axes = choice($("planes"), about.planes.map((plane) => ({ value: plane.axis, label: plane.name, title: `${plane.name} slices (A)` })), (axis) => this.turn(axis));
    $("planes").hidden = about.planes.length < 2;
    this.#fillWindow();
    const [plane] = about.planes;
    await this.#picture(plane.axis, this.indices[plane.axis]);
    if (!signal.aborted) this.#want(plane, this.indices[plane.axis]);
  }

  /** Shows a slice of the same plane. */
  go(index) {
    if (!this.wanted) return;
    const { plane, index: before } = this.wanted;
    const next = clamp(index, 0, plane.count - 1);
    if (next === before) return;
    this.towards = Math.sign(next - before);
    this.#want(plane, next);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => announce(`Slice ${next} of ${plane.count}.`), 350);
  }

  step(by) {
    if (this.wanted) this.go(this.wanted.index + by);
  }

  /** Shows the slices along another axis. */
  turn(axis) {
    if (this.wanted && axis !== this.wanted.plane.axis) this.#want(this.about.planes.find((each) => each.axis === axis), this.indices[axis]);
  }

  nextAxis() {
    if (!this.wanted) return;
    const { planes } = this.about;
    this.axes.choose(planes[(planes.indexOf(this.wanted.plane) + 1) % planes.length].axis);
  }

  /** Scrolls through the slices: one for a notch of a wheel. */
  wheel({ deltaY, deltaMode }) {
    const by = deltaY * (deltaMode === 1 ? 30 : 1);
    if (Math.abs(by) >= NOTCH) {
      this.scrolled = 0;
      return this.step(Math.sign(by));
    }
    this.scrolled += by;
    if (Math.abs(this.scrolled) < NOTCH) return;
    this.step(Math.sign(this.scrolled));
    this.scrolled = 0;
  }

  /** The voxel at a pixel of the picture, as text. */
  where(x, y) {
    const { size, axis, down, right, flips, steps } = this.plane;
    const place = (pixel, step, count, flip) => {
      const voxel = Math.min(Math.floor((pixel + 0.5) / step), count - 1);
      return flip ? count - 1 - voxel : voxel;
    };
    const voxel = { [axis]: this.index, [down]: place(y, steps[0], size[down], flips[0]), [right]: place(x, steps[1], size[right], flips[1]) };
    return [2, 1, 0].map((each) => `${NAMES[each]} ${voxel[each]}`).join(", ");
  }

  /** What of the interactions lies on the shown slice, in the same order: those beside it are faint, all others hidden. */
  marks(interactions) {
    return interactions.map((each) => this.#mark(each));
  }

  #mark({ kind, points, positive, state, reason, width }) {
    const { size, axis, down, right, flips, steps } = this.plane;
    const along = points.map((point) => point[2 - axis]);
    const [first, last] = [Math.min(...along), Math.max(...along)];
    const away = Math.max(0, first - this.index, this.index - last);
    const look = { kind, positive, state, reason, width, hidden: !points.length || away > NEAR, faint: away > 0 || first !== last };
    const place = (voxel, k) => ((flips[k] ? size[[down, right][k]] - 1 - voxel : voxel) + 0.5) * steps[k] - 0.5;
    const pixels = points.map((point) => [place(point[2 - right], 1), place(point[2 - down], 0)]);
    if (kind === "click") return { ...look, x: pixels[0]?.[0], y: pixels[0]?.[1] };
    if (kind !== "box" || !points.length) return { ...look, points: pixels };
    const [xs, ys] = [0, 1].map((k) => pixels.map((pixel) => pixel[k]));
    return { ...look, left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
  }

  /** The slices that an interaction lies on, as text, and the way to its first one. */
  placeOf({ points }) {
    if (!points.length) return { text: "" };
    const flat = [...this.about.planes].find((plane) => points.every((point) => point[2 - plane.axis] === points[0][2 - plane.axis]));
    const plane = flat ?? this.about.planes[0];
    const index = points[0][2 - plane.axis];
    return { text: `${NAMES[plane.axis]} ${index}`, axis: plane.axis, index };
  }

  /** Shows the slice of an interaction. */
  goTo(interaction) {
    if (!interaction?.points.length) return;
    const own = this.plane.axis;
    const flat = interaction.points.every((point) => point[2 - own] === interaction.points[0][2 - own]);
    if (flat) return this.go(interaction.points[0][2 - own]);
    const { axis, index } = this.placeOf(interaction);
    this.indices[axis] = index;
    this.axes.choose(axis);
  }

  /** Shows how uncertain the mask is, or no longer. */
  showUncertainty(shown) {
    if (shown === this.uncertain) return;
    this.uncertain = shown;
    this.#forget();
    this.#load();
  }

  #key(axis, index) {
    return `${axis},${index},${this.window}`;
  }

  /** Loads the picture of a slice, where it is not there yet. */
  async #picture(axis, index) {
    const { number } = this;
    const key = this.#key(axis, index);
    const bitmap = await createImageBitmap(await api.slice(number, `${axis},${index}`, this.window));
    if (number !== this.number) return bitmap.close();
    this.pictures.set(key, bitmap);
    for (const [other, old] of this.pictures) {
      if (this.pictures.size <= KEPT) return;
      if (old === layers.photo || old === bitmap) continue;
      this.pictures.delete(other);
      old.close();
    }
  }

  /** Shows a slice as soon as its picture is there. */
  #want(plane, index) {
    this.wanted = { plane, index };
    this.indices[plane.axis] = index;
    $("slice").max = plane.count - 1;
    $("slice").value = index;
    $("slice-value").textContent = `${NAMES[plane.axis]} ${index} / ${plane.count - 1}`;
    this.#show();
    this.#load();
  }

  /** Draws the wanted slice, if its picture is there, with its mask if that is there. */
  #show() {
    const { plane, index } = this.wanted;
    const key = this.#key(plane.axis, index);
    const bitmap = this.pictures.get(key);
    if (!bitmap) return;
    this.pictures.delete(key);
    this.pictures.set(key, bitmap); // as the latest one
    const turned = plane !== this.plane;
    if (turned || index !== this.index) page.gestures.abandon();
    Object.assign(this, { plane, index });
    if (turned) this.#begin(bitmap);
    layers.turn(bitmap, session.state?.active, this.masks.get(this.cut));
    redraw();
  }

  /** Prepares the stage for the slices of a plane, which have a size of their own. */
  #begin(bitmap) {
    layers.photo = null; // its bitmap stays here
    layers.open(bitmap);
    page.size = layers.size;
    page.crosshair.hide();
    stage.setAttribute("aria-label", `${this.plane.name} slices of ${page.photos.all[this.number].name}, ${page.size.width} by ${page.size.height} pixels`);
    fit();
  }

  /** Loads pictures and masks one after the other: those of the wanted slice first, then those beside it. */
  async #load() {
    if (this.loading) return;
    this.loading = true;
    try {
      for (let missing; (missing = this.#missing()); ) await missing();
    } catch (cause) {
      notice(cause.message);
    } finally {
      this.loading = false;
    }
  }

  #missing() {
    if (!this.wanted) return null;
    const { plane: { axis, count }, index } = this.wanted;
    const beside = Array.from({ length: AHEAD }, (_, k) => [index + (k + 1) * this.towards, index - (k + 1) * this.towards]).flat();
    for (const each of [index, ...beside]) {
      if (each < 0 || each >= count) continue;
      if (!this.pictures.has(this.#key(axis, each))) return () => this.#loadPicture(axis, each);
      if (session.state && !this.masks.has(`${axis},${each}`)) return () => this.#loadMask(`${axis},${each}`);
    }
    return null;
  }

  async #loadPicture(axis, index) {
    await this.#picture(axis, index);
    if (this.wanted?.plane.axis === axis && this.wanted.index === index) this.#show();
  }

  async #loadMask(cut) {
    const { number, version } = this;
    let received = [];
    await api.mask(number, cut, this.uncertain, (_, parts) => { received = parts; });
    const bitmaps = await Promise.all(received.map(({ png }) => createImageBitmap(png)));
    const [mask, uncertainty] = bitmaps.map(copied);
    for (const bitmap of bitmaps) bitmap.close();
    if (number !== this.number || version !== this.version) return; // changed meanwhile
    this.masks.set(cut, { mask, uncertainty });
    while (this.masks.size > KEPT) this.masks.delete(this.masks.keys().next().value);
    if (cut !== this.cut) return;
    layers.turn(layers.photo, session.state.active, this.masks.get(cut));
    drawOverlay();
  }

  /** After a change of the session, all masks but the one that came with it are old. */
  #updated(header) {
    if (!header.objects) return;
    this.#forget();
    if (this.plane) {
      const mask = this.shows(header.cut) && !this.uncertain && layers.masks.get(header.active);
      if (mask) this.masks.set(this.cut, { mask: copied(mask) });
      drawMarks();
      this.#load();
    }
  }

  #forget() {
    this.version += 1;
    this.masks.clear();
  }

  #fillWindow() {
    const [least, most] = this.about.extent;
    const step = (most - least) / 500 || 1;
    $("window").hidden = this.about.colours;
    Object.assign($("level"), { min: least, max: most, step: "any" });
    Object.assign($("width"), { min: step, max: most - least || 1, step: "any" });
    const [low, high] = this.window;
    $("level").value = (low + high) / 2;
    $("width").value = high - low;
    this.#sayWindow();
  }

  #windowed() {
    const [level, width] = ["level", "width"].map((id) => Number($(id).value));
    this.window = [level - width / 2, level + width / 2];
    this.#sayWindow();
    if (!this.wanted) return;
    this.#show();
    this.#load();
  }

  #sayWindow() {
    for (const id of ["level", "width"]) $(`${id}-value`).textContent = Number(Number($(id).value).toPrecision(3));
  }
}

/** A canvas with the picture of another one, or of a bitmap. */
function copied(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas;
}
