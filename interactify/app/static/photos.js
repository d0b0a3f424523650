// The photos: a strip to choose from, the progress, and uploads.

import * as api from "./api.js";
import { icon } from "./icons.js";

export class Photos {
  /** @param hooks open(number), failed(text) */
  constructor(hooks) {
    this.hooks = hooks;
    this.all = [];
    this.current = null;
    this.list = document.getElementById("photos");
    document.getElementById("pictures").addEventListener("change", (event) => {
      this.upload([...event.target.files]);
      event.target.value = "";
    });
  }

  set(photos) {
    this.all = photos;
    this.list.replaceChildren(...photos.map((photo) => this.#tile(photo)));
    this.#count();
  }

  #tile(photo) {
    const item = document.createElement("li");
    const tile = document.createElement("button");
    tile.dataset.number = photo.number;
    const image = document.createElement("img");
    Object.assign(image, { loading: "lazy", fetchPriority: "low", decoding: "async", alt: "", src: `/api/photos/${photo.number}/thumb` });
    const badge = document.createElement("span");
    badge.className = "badge";
    tile.append(image, badge);
    tile.title = photo.name;
    tile.addEventListener("click", () => this.hooks.open(photo.number));
    item.append(tile);
    this.#updateTile(tile, photo);
    return item;
  }

  #updateTile(tile, photo) {
    tile.className = `tile ${photo.status}`;
    tile.querySelector(".badge").replaceChildren(...(photo.status === "open" ? [] : [icon(photo.status === "done" ? "check" : "skip")]));
    this.#label(tile, photo);
  }

  #label(tile, photo) {
    const current = photo.number === this.current;
    tile.setAttribute("aria-label", `${photo.name}, ${photo.status}${photo.interactions ? `, ${photo.interactions} interactions` : ""}`);
    if (current) tile.setAttribute("aria-current", "true");
    else tile.removeAttribute("aria-current");
  }

  /** Shows which photo is the current one. */
  show(number) {
    this.current = number;
    for (const tile of this.list.querySelectorAll(".tile")) this.#label(tile, this.all[Number(tile.dataset.number)]);
    this.list.children[number]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.getElementById("previous").disabled = number === 0;
    document.getElementById("next").disabled = number === this.all.length - 1;
    document.getElementById("photo-name").textContent = this.all[number].name;
    const { status } = this.all[number];
    document.getElementById("done").textContent = status === "done" ? "Reopen" : "Done";
    document.getElementById("skip").textContent = status === "skipped" ? "Unskip" : "Skip";
    const chip = document.getElementById("photo-status");
    chip.hidden = status === "open";
    chip.textContent = status;
    chip.className = `chip ${status}`;
  }

  async mark(number, status) {
    this.update(await api.status(this.all[number], status));
  }

  update(photo) {
    this.all[photo.number] = photo;
    this.#updateTile(this.list.children[photo.number].firstChild, photo);
    this.#count();
    if (this.current !== null) this.show(this.current);
  }

  /** The number of the next photo, or with `open` of the next that is neither done nor skipped; null where there is none. */
  after(number, open) {
    const order = [...this.all.slice(number + 1), ...(open ? this.all.slice(0, number) : [])];
    return order.find((photo) => !open || photo.status === "open")?.number ?? null;
  }

  async upload(files) {
    let last = null;
    for (const file of files) {
      try {
        last = await api.upload(file);
      } catch (cause) {
        this.hooks.failed(`${file.name}: ${cause.message}`);
      }
    }
    if (!last) return;
    this.set((await api.project()).photos); // another page may have added some too
    this.hooks.open(last.number);
  }

  #count() {
    const count = (status) => this.all.filter((photo) => photo.status === status).length;
    const [done, skipped, total] = [count("done"), count("skipped"), this.all.length];
    document.getElementById("progress").hidden = total < 2;
    document.getElementById("bar-done").style.width = `${(100 * done) / total}%`;
    document.getElementById("bar-skipped").style.width = `${(100 * skipped) / total}%`;
    const bar = document.getElementById("progress-bar");
    bar.setAttribute("aria-valuemax", total);
    bar.setAttribute("aria-valuenow", done);
    const text = `${done} done, ${total - done - skipped} open${skipped ? `, ${skipped} skipped` : ""}`;
    bar.setAttribute("aria-valuetext", text);
    document.getElementById("progress-text").textContent = text;
  }
}
