// The session of the current photo: its state as the server reports it, and actions that wait for their response.

import * as api from "./api.js";

export class Session extends EventTarget {
  constructor(layers) {
    super();
    this.layers = layers;
    this.number = null;
    this.key = null; // of the photo; unlike its number, it never changes
    this.state = null; // the header of the last frame with the full state
    this.pending = []; // actions without a full response yet
    this.classes = false; // whether the map of classes is shown
    this.viewport = () => null; // the part of the photo on the screen
    this.volume = null; // the volume whose slices are shown, or null
    this.kept = false; // whether the state waits for a service that is away
    this.serial = null;
    this.early = new Map(); // frames that came before the one they build on
    this.drawing = Promise.resolve();
  }

  /** Opens a photo, whose size is known. */
  async open({ number, key }) {
    Object.assign(this, { number, key });
    this.state = null;
    this.pending = [];
    this.kept = false;
    this.serial = null;
    this.early.clear();
    await this.refresh();
  }

  /** Requests the full state. */
  refresh() {
    const number = this.number;
    return api.state(number, this.#shown(), (header, parts) => this.#take(number, header, parts, null));
  }

  /** Requests the state where the server let requests end without it, since a service was away. */
  again() {
    if (!this.kept && !this.pending.some((each) => each.kept)) return;
    this.kept = false;
    this.refresh().catch((cause) => this.dispatchEvent(new CustomEvent("failed", { detail: cause.message })));
  }

  /** Sends an action. `since` is the time at which the pointer was released, for measuring. */
  async act(action, since = performance.now()) {
    const number = this.number;
    const shown = this.#shown();
    const entry = { action, since, cut: shown.cut };
    this.pending.push(entry);
    const response = api.act({ number, key: this.key }, action, shown, (header, parts) => this.#take(number, header, parts, entry));
    this.dispatchEvent(new Event("pending")); // after the request was sent
    try {
      await response;
    } catch (cause) {
      this.dispatchEvent(new CustomEvent("failed", { detail: cause.message }));
    } finally {
      if (!entry.kept) this.#settled(entry);
    }
  }

  /** What the server needs to know of what is on the screen. */
  #shown() {
    return this.volume ? { cut: this.volume.cut } : { classes: this.classes, viewport: this.viewport() };
  }

  cancel() {
    if (this.pending.length) api.cancel(this).catch(() => {});
  }

  #settled(entry) {
    const count = this.pending.length;
    this.pending = this.pending.filter((each) => each !== entry);
    if (this.pending.length !== count) this.dispatchEvent(new Event("pending"));
  }

  /** Frames are drawn one after the other, in the order of their serial numbers. */
  #take(number, header, parts, entry) {
    if (header.kind === "error") {
      this.dispatchEvent(new CustomEvent("failed", { detail: header.error }));
      return;
    }
    if (header.kind === "kept") {
      if (entry) entry.kept = true; // it waits at the server, and is in the state that `again` requests
      else if (number === this.number) this.kept = true;
      return;
    }
    const bitmaps = Promise.all(parts.map((part) => part.png && createImageBitmap(part.png)));
    this.drawing = this.drawing.then(async () => this.#show(number, header, parts, await bitmaps, entry)).catch((cause) => {
      this.dispatchEvent(new CustomEvent("failed", { detail: `A mask could not be drawn (${cause.message}).` }));
    });
  }

  async #show(number, header, parts, bitmaps, entry) {
    if (number !== this.number) return;
    if (header.kind !== "state" && header.base !== this.serial) {
      if (header.base === header.serial) return; // outdated before it could be drawn: the whole mask follows
      this.early.set(header.base, [number, header, parts, bitmaps, entry]);
      setTimeout(() => this.#stale(number), 300);
      return;
    }
    this.serial = header.serial;
    if (!header.cut || this.volume.shows(header.cut)) parts.forEach((part, k) => this.layers.put(part, bitmaps[k]));
    if (header.objects) {
      this.layers.dropViewportMasks();
      if (!this.classes) this.layers.classMap = null; // outdated; requested again when it is shown
      this.state = header;
      this.layers.keep(header.objects.map((object) => object.name));
      this.pending = this.pending.filter((each) => each !== entry && !(header.kind === "state" && each.kept));
    }
    this.dispatchEvent(new CustomEvent("update", { detail: { header, entry } }));
    const next = this.early.get(this.serial);
    this.early.delete(this.serial);
    if (next) await this.#show(...next);
  }

  /** Requests the full state where a frame never came: another page may have the same photo open. */
  #stale(number) {
    if (number !== this.number || !this.early.size) return;
    for (const [, , , , entry] of this.early.values()) if (entry) this.#settled(entry);
    this.early.clear();
    this.refresh().catch((cause) => this.dispatchEvent(new CustomEvent("failed", { detail: cause.message })));
  }
}
