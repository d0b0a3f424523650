// Pointers become interactions: clicks, drags, pinches and the wheel, with mouse, pen or fingers.

import { clamp } from "./view.js";

const CLICK_RADIUS = 5; // screen pixels that a click may move
const MAX_POINTS = 400; // of a stroke that is sent

export class Gestures {
  /**
   * @param stage the element; @param view the photo's position on it; @param hooks:
   * size() → {width, height} of the photo, tool(), negative(), label(), brush(), add(interaction, since), move(index, x, y, since),
   * turned(event) whether the wheel has turned to another slice, viewChanged() after zoom and pan, hover(at, free, mouse), draft(interaction or null), markAt(x, y, kind), stageSize()
   */
  constructor(stage, view, hooks) {
    Object.assign(this, { stage, view, hooks, pointers: new Map(), drag: null, space: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#moved(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#lost(event));
    stage.addEventListener("pointerleave", () => hooks.hover(null));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Drops the interaction that is being drawn. */
  abandon() {
    this.drag = null;
    this.hooks.draft(null);
  }

  #at(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  #down(event) {
    if (event.button > 2 || !this.hooks.size()) return;
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    this.stage.setPointerCapture(event.pointerId);
    if (this.pointers.size === 2) return this.#pinch();
    if (this.pointers.size > 2) return;
    if (this.space || event.button === 1) {
      event.preventDefault();
      this.drag = { kind: "pan", at };
      this.stage.classList.add("panning");
      return;
    }
    const tool = this.hooks.tool();
    const negative = event.button === 2 || event.altKey || this.hooks.negative();
    const kind = event.shiftKey && tool === "point" ? "box" : tool;
    const plain = event.button === 0 && !event.shiftKey && !event.altKey && event.pointerType !== "touch";
    const mark = tool === "point" && plain ? this.hooks.markAt(...at, "click") : -1;
    this.drag = { kind, negative, from: at, pixels: [this.view.pixel(...at)], mark, moved: false };
  }

  #moved(event) {
    const at = this.#at(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, at);
    this.hooks.hover(at, !this.drag, event.pointerType === "mouse" && (event.movementX || event.movementY));
    const drag = this.drag;
    if (!drag) return;
    if (drag.kind === "pan") {
      this.view.pan(at[0] - drag.at[0], at[1] - drag.at[1], this.hooks.stageSize(), this.hooks.size());
      drag.at = at;
      this.hooks.viewChanged();
    } else if (drag.kind === "pinch") this.#pinched();
    else {
      drag.moved ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > CLICK_RADIUS;
      for (const each of event.getCoalescedEvents?.() ?? [event]) drag.pixels.push(this.view.pixel(...this.#at(each)));
      if (drag.moved) this.hooks.draft(drag.mark >= 0 ? this.#click(this.view.pixel(...at), !drag.negative) : this.#drawn(drag));
    }
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    this.stage.classList.remove("panning");
    const drag = this.drag;
    if (!drag) return;
    if (drag.kind === "pinch" || drag.kind === "pan") {
      if (!this.pointers.size) this.drag = null;
      return;
    }
    drag.pixels.push(this.view.pixel(...this.#at(event)));
    this.abandon();
    if (!drag.moved && !this.#inside(drag.pixels[0])) return;
    if (drag.moved && drag.mark >= 0) {
      const [x, y] = this.#clamped(drag.pixels.at(-1));
      this.hooks.move(drag.mark, x, y, event.timeStamp);
      return;
    }
    const interaction = drag.moved ? this.#drawn(drag) : this.pressed(drag.kind, drag.pixels[0], drag.negative);
    if (interaction) this.hooks.add(interaction, event.timeStamp);
  }

  #lost(event) {
    this.pointers.delete(event.pointerId);
    this.stage.classList.remove("panning");
    this.abandon();
  }

  #pinch() {
    const [first, second] = [...this.pointers.values()];
    this.hooks.draft(null);
    this.drag = { kind: "pinch", middle: middle(first, second), apart: apart(first, second) };
  }

  #pinched() {
    if (this.pointers.size < 2) return;
    const [first, second] = [...this.pointers.values()];
    const [now, wide] = [middle(first, second), apart(first, second)];
    this.view.zoom(wide / this.drag.apart, ...now);
    this.view.pan(now[0] - this.drag.middle[0], now[1] - this.drag.middle[1], this.hooks.stageSize(), this.hooks.size());
    Object.assign(this.drag, { middle: now, apart: wide });
    this.hooks.viewChanged();
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.hooks.size() || this.hooks.turned(event)) return;
    const step = event.deltaMode === 1 ? 30 : 1;
    this.view.zoom(Math.exp(-clamp(event.deltaY * step, -240, 240) * (event.ctrlKey ? 0.01 : 0.0022)), ...this.#at(event));
    this.hooks.viewChanged();
  }

  #inside([x, y]) {
    const { width, height } = this.hooks.size();
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  #clamped([x, y]) {
    const { width, height } = this.hooks.size();
    return [clamp(x, 0, width - 1), clamp(y, 0, height - 1)];
  }

  #click(pixel, positive) {
    const [x, y] = this.#clamped(pixel);
    return { kind: "click", x, y, positive };
  }

  /** The interaction of a press without a drag, at a pixel of the photo. */
  pressed(tool, pixel, negative) {
    if (tool === "erase" || tool === "restore") return this.#paint([this.#clamped(pixel)], tool);
    return this.#labelled(this.#click(pixel, !negative));
  }

  #labelled(interaction) {
    const label = this.hooks.label();
    return label === null ? interaction : { ...interaction, label };
  }

  #paint(points, tool) {
    return { kind: "paint", points, width: clamp(this.hooks.brush() / this.view.scale, 1, 500), positive: tool === "restore" };
  }

  /** The interaction of a drag; null where none of it is in the photo. Its points are pixels of the photo, so that zooming does not move them. */
  #drawn(drag) {
    if (drag.kind === "box") {
      const ends = [drag.pixels[0], drag.pixels.at(-1)];
      const { width, height } = this.hooks.size();
      const outside = [width, height].some((side, k) => ends.every((end) => end[k] < 0) || ends.every((end) => end[k] >= side));
      if (outside) return null;
      const [a, b] = ends.map((end) => this.#clamped(end));
      return { kind: "box", left: Math.min(a[0], b[0]), top: Math.min(a[1], b[1]), right: Math.max(a[0], b[0]), bottom: Math.max(a[1], b[1]) };
    }
    if (!drag.pixels.some((pixel) => this.#inside(pixel))) return null;
    const pixels = drag.kind === "lasso" ? drag.pixels : drag.pixels.filter((pixel) => this.#inside(pixel));
    const points = thinned(pixels.map((pixel) => this.#clamped(pixel)));
    if (drag.kind === "erase" || drag.kind === "restore") return this.#paint(points, drag.kind);
    if (drag.kind === "lasso") return points.length < 3 ? null : { kind: "lasso", points };
    return this.#labelled({ kind: "scribble", points, positive: !drag.negative, width: clamp(3 / this.view.scale, 1, 500) });
  }
}

function thinned(points) {
  const distinct = points.filter((point, k) => !k || point[0] !== points[k - 1][0] || point[1] !== points[k - 1][1]);
  const step = Math.ceil(distinct.length / MAX_POINTS);
  return distinct.filter((_, k) => k % step === 0 || k === distinct.length - 1);
}

const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];
const apart = ([ax, ay], [bx, by]) => Math.max(1, Math.hypot(bx - ax, by - ay));
