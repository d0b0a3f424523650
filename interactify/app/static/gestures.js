// From pointers to interactions: clicks, drags, pinches and the wheel, with mouse, pen or fingers.

import { clamp } from "./view.js";

const STILL = 5; // screen pixels that a click may move
const MOST = 400; // points of a stroke that are sent

export class Gestures {
  /**
   * @param stage the element; @param view the photo's place on it; @param hooks what to do:
   * size() → {width, height} of the photo, tool(), negative(), label(), brush(), say(interaction, since), move(index, x, y, since),
   * changed() after zoom and pan, hover(x, y), draft(interaction or null), under(x, y), stageSize()
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

  /** Forgets what is being drawn. */
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
    const held = tool === "point" && plain ? this.hooks.under(...at, "click") : -1;
    this.drag = { kind, negative, from: at, places: [this.view.pixel(...at)], held, moved: false };
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
      this.hooks.changed();
    } else if (drag.kind === "pinch") this.#pinched();
    else {
      drag.moved ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > STILL;
      for (const each of event.getCoalescedEvents?.() ?? [event]) drag.places.push(this.view.pixel(...this.#at(each)));
      if (drag.moved) this.hooks.draft(drag.held >= 0 ? this.#click(this.view.pixel(...at), !drag.negative) : this.#drawn(drag));
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
    drag.places.push(this.view.pixel(...this.#at(event)));
    this.abandon();
    if (!drag.moved && !this.#inside(drag.places[0])) return;
    if (drag.moved && drag.held >= 0) {
      const [x, y] = this.#clamped(drag.places.at(-1));
      this.hooks.move(drag.held, x, y, event.timeStamp);
      return;
    }
    const interaction = drag.moved ? this.#drawn(drag) : this.still(drag.kind, drag.places[0], drag.negative);
    if (interaction) this.hooks.say(interaction, event.timeStamp);
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
    this.hooks.changed();
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.hooks.size()) return;
    const step = event.deltaMode === 1 ? 30 : 1;
    this.view.zoom(Math.exp(-clamp(event.deltaY * step, -240, 240) * (event.ctrlKey ? 0.01 : 0.0022)), ...this.#at(event));
    this.hooks.changed();
  }

  #inside([x, y]) {
    const { width, height } = this.hooks.size();
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  #clamped([x, y]) {
    const { width, height } = this.hooks.size();
    return [clamp(x, 0, width - 1), clamp(y, 0, height - 1)];
  }

  #click(place, positive) {
    const [x, y] = this.#clamped(place);
    return { kind: "click", x, y, positive };
  }

  /** What a press without a drag says with a tool, at a place in the photo. */
  still(tool, place, negative) {
    if (tool === "erase" || tool === "restore") return this.#paint([this.#clamped(place)], tool);
    return this.#labelled(this.#click(place, !negative));
  }

  #labelled(interaction) {
    const label = this.hooks.label();
    return label === null ? interaction : { ...interaction, label };
  }

  #paint(points, tool) {
    return { kind: "paint", points, width: clamp(this.hooks.brush() / this.view.scale, 1, 500), positive: tool === "restore" };
  }

  /** What a drag says; null where none of it is in the photo. What is drawn stays where it was drawn, whatever the view does. */
  #drawn(drag) {
    if (drag.kind === "box") {
      const ends = [drag.places[0], drag.places.at(-1)];
      const { width, height } = this.hooks.size();
      const beside = [width, height].some((side, k) => ends.every((end) => end[k] < 0) || ends.every((end) => end[k] >= side));
      if (beside) return null;
      const [a, b] = ends.map((end) => this.#clamped(end));
      return { kind: "box", left: Math.min(a[0], b[0]), top: Math.min(a[1], b[1]), right: Math.max(a[0], b[0]), bottom: Math.max(a[1], b[1]) };
    }
    if (!drag.places.some((place) => this.#inside(place))) return null;
    const kept = drag.kind === "lasso" ? drag.places : drag.places.filter((place) => this.#inside(place));
    const points = thinned(kept.map((place) => this.#clamped(place)));
    if (drag.kind === "erase" || drag.kind === "restore") return this.#paint(points, drag.kind);
    if (drag.kind === "lasso") return points.length < 3 ? null : { kind: "lasso", points };
    return this.#labelled({ kind: "scribble", points, positive: !drag.negative, width: clamp(3 / this.view.scale, 1, 500) });
  }
}

function thinned(points) {
  const kept = points.filter((point, k) => !k || point[0] !== points[k - 1][0] || point[1] !== points[k - 1][1]);
  const step = Math.ceil(kept.length / MOST);
  return kept.filter((_, k) => k % step === 0 || k === kept.length - 1);
}

const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];
const apart = ([ax, ay], [bx, by]) => Math.max(1, Math.hypot(bx - ax, by - ay));
