// The photo at hand as the server tells it: objects, interactions and masks, and what is asked of it, in order.

import * as api from "./api.js";

export class Desk extends EventTarget {
  constructor(layers) {
    super();
    this.layers = layers;
    this.number = null;
    this.key = null; // of the photo, which stays what it is where numbers change
    this.told = null; // the last frame's header with all that holds
    this.pending = []; // actions that are not answered yet
    this.classes = false; // whether the map of classes is shown
    this.sight = () => null; // what the screen shows of the photo
    this.serial = null;
    this.early = new Map(); // frames that came before the one they follow
    this.line = Promise.resolve();
  }

  /** Turns to a photo, whose size is known. */
  async open({ number, key }) {
    Object.assign(this, { number, key });
    this.told = null;
    this.pending = [];
    this.serial = null;
    this.early.clear();
    await this.refresh();
  }

  /** Asks for all that holds, in place of what is known. */
  refresh() {
    const number = this.number;
    return api.state(number, this.classes, (header, parts) => this.#take(number, header, parts, null));
  }

  /** Does something. `since` is when the hand let go, for measuring. */
  async act(action, since = performance.now()) {
    const number = this.number;
    const entry = { action, since };
    this.pending.push(entry);
    const answered = api.act({ number, key: this.key }, action, this.classes, this.sight(), (header, parts) => this.#take(number, header, parts, entry));
    this.dispatchEvent(new Event("pending")); // once the server has it
    try {
      await answered;
    } catch (cause) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: cause.message }));
    } finally {
      this.#settled(entry);
    }
  }

  cancel() {
    if (this.pending.length) api.cancel(this).catch(() => {});
  }

  #settled(entry) {
    const count = this.pending.length;
    this.pending = this.pending.filter((each) => each !== entry);
    if (this.pending.length !== count) this.dispatchEvent(new Event("pending"));
  }

  /** Frames are drawn one after the other, in the order of their numbers. */
  #take(number, header, parts, entry) {
    if (header.kind === "error") {
      this.dispatchEvent(new CustomEvent("trouble", { detail: header.error }));
      return;
    }
    const bitmaps = Promise.all(parts.map((part) => part.png && createImageBitmap(part.png)));
    this.line = this.line.then(async () => this.#show(number, header, parts, await bitmaps, entry)).catch((cause) => {
      this.dispatchEvent(new CustomEvent("trouble", { detail: `A mask could not be drawn (${cause.message}).` }));
    });
  }

  async #show(number, header, parts, bitmaps, entry) {
    if (number !== this.number) return;
    if (header.kind !== "state" && header.base !== this.serial) {
      if (header.base === header.serial) return; // what was seen before it could be drawn: all of it follows
      this.early.set(header.base, [number, header, parts, bitmaps, entry]);
      setTimeout(() => this.#stale(number), 300);
      return;
    }
    this.serial = header.serial;
    parts.forEach((part, k) => this.layers.put(part, bitmaps[k]));
    if (header.objects) {
      this.layers.forgetSeen();
      if (!this.classes) this.layers.classMap = null; // it is that of before: asked for again where it is looked at
      this.told = header;
      this.layers.keep(header.objects.map((object) => object.name));
      if (entry) this.pending = this.pending.filter((each) => each !== entry);
    }
    this.dispatchEvent(new CustomEvent("shown", { detail: { header, entry } }));
    const next = this.early.get(this.serial);
    this.early.delete(this.serial);
    if (next) await this.#show(...next);
  }

  /** What never came is asked for again, with everything else: another page may be at the same photo. */
  #stale(number) {
    if (number !== this.number || !this.early.size) return;
    for (const [, , , , entry] of this.early.values()) if (entry) this.#settled(entry);
    this.early.clear();
    this.refresh().catch((cause) => this.dispatchEvent(new CustomEvent("trouble", { detail: cause.message })));
  }
}
