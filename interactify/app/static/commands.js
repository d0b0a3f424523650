// The commands of keys and buttons, by name.

import * as api from "./api.js";
import { openPhoto } from "./open_photo.js";
import { $, act, announce, layers, marks, notice, page, session, stage, view } from "./page.js";
import { drawOverlay, fit, redraw } from "./screen.js";
import { clamp } from "./view.js";

const CHOICES = ["narrow", "usual", "wide"]; // the alternatives of the newest result

/** Whether interactions are still refined. */
const refining = () => session.pending.some(({ action }) => action.interactions);

const all = {
  undo: () => (session.state?.can_undo || refining()) && act({ do: "undo" }),
  redo: () => session.state?.can_redo && act({ do: "redo" }),
  reset: () => (session.state?.interactions.length || refining()) && act({ do: "reset" }),
  remove: () => {
    const at = page.crosshair.at ? view.toScreen(...page.crosshair.at) : page.hovered;
    const index = at ? marks.at(view, ...at) : -1;
    if (index >= 0) act({ do: "remove", index });
  },
  reach: (by) => {
    if (!session.state?.interactions.length && !refining()) return;
    const waiting = session.pending.map(({ action }) => action.choice ?? (action.interactions && "usual")).filter(Boolean);
    const now = waiting.at(-1) ?? session.state.result.choice;
    const next = CHOICES[CHOICES.indexOf(now) + by];
    if (next) act({ do: "choose", choice: next });
    else announce(`The newest interaction is at its ${now === "wide" ? "widest" : "narrowest"}.`);
  },
  escape: () => {
    page.gestures.abandon();
    page.crosshair.hide();
    session.cancel();
  },
  go: (step) => openPhoto(page.photos.current + step),
  mark: async (status) => {
    if (marking) return; // pressed twice: the second must not reopen this photo, nor mark one that nobody has seen yet
    marking = true;
    try {
      const number = page.photos.current;
      const unmark = page.photos.all[number].status === status;
      await page.photos.mark(number, unmark ? "open" : status);
      const byName = page.project.order === "name";
      const next = unmark ? null : byName ? page.photos.after(number, true) : await api.next(number);
      if (next === null && !unmark) announce("All photos are done or skipped.");
      if (next !== null && page.photos.current === number) openPhoto(next); // unless another was opened meanwhile
    } finally {
      marking = false;
    }
  },
  addObject: () => act({ do: "add_object", name: null, target: null }),
  step: (by) => {
    const names = session.state?.objects.map((object) => object.name) ?? [];
    if (names.length < 2) return;
    const next = names[(names.indexOf(session.state.active) + by + names.length) % names.length];
    if (next !== session.state.active) act({ do: "switch", name: next });
  },
  slice: (by) => page.volume.step(by),
  axis: () => page.volume.nextAxis(),
  number: (digit) => {
    if (page.project.classes.length) {
      if (digit <= page.project.classes.length) page.classes.choose(digit ? digit - 1 : null);
    } else if (digit && session.state?.objects[digit - 1] && session.state.objects[digit - 1].name !== session.state.active) {
      act({ do: "switch", name: session.state.objects[digit - 1].name });
    }
  },
  findClass: () => !$("find-class").hidden && $("find-class").focus(),
  tool: (value) => page.tool.choose(value),
  sign: () => page.sign.choose(page.sign.value === "yes" ? "no" : "yes"),
  view: () => {
    const order = ["fill", "outline", "cutout", ...(page.project.classes.length ? ["classes"] : []), ...(page.project.volumes?.uncertainty ? ["uncertain"] : [])];
    page.views.choose(order[(order.indexOf(page.views.value) + 1) % order.length]);
  },
  fit: () => { fit(); redraw(); },
  zoom: (factor) => {
    const { width, height } = stage.getBoundingClientRect();
    view.zoom(factor, width / 2, height / 2);
    redraw();
  },
  opacity: (by) => {
    $("opacity").value = clamp(Number($("opacity").value) + by, 0, 100);
    $("opacity").dispatchEvent(new Event("input"));
  },
  peek: async (what) => {
    layers.style.peek = what;
    $("marks").classList.toggle("hidden", what !== null);
    drawOverlay();
    const { number } = session;
    if (what !== "initial" || layers.initial || number === null || requested === number) return;
    requested = number; // once, however long the key is held
    try {
      const cut = page.volume?.cut;
      await api.initial(number, cut, async (_, parts) => {
        const bitmap = await createImageBitmap(parts[0].png);
        if (number !== session.number || cut !== page.volume?.cut) return;
        layers.putInitial(bitmap);
        drawOverlay();
      });
    } finally {
      requested = null;
    }
  },
  space: (held) => {
    page.gestures.space = held;
    stage.classList.toggle("grab", held);
  },
  crosshair: (dx, dy, fine) => page.size && page.crosshair.move(dx, dy, fine),
  enter: (negative) => page.size && page.crosshair.enter(negative || page.sign.value === "no"),
  help: () => $("help-dialog").showModal(),
};

let marking = false; // a photo is being marked, and the next one looked for
let requested = null; // the photo whose initial mask is being loaded

/** Each shows its errors. */
export const commands = Object.fromEntries(Object.entries(all).map(([name, run]) => [name, async (...args) => {
  try {
    await run(...args);
  } catch (cause) {
    notice(cause.message);
  }
}]));

/** Connects the page's buttons and sliders to the commands. */
export function connectControls() {
  for (const [id, name, ...args] of [
    ["undo", "undo"], ["redo", "redo"], ["reset", "reset"], ["previous", "go", -1], ["next", "go", 1], ["done", "mark", "done"],
    ["skip", "mark", "skipped"], ["add-object", "addObject"], ["fit", "fit"], ["zoom-in", "zoom", 1.25], ["zoom-out", "zoom", 0.8], ["help", "help"],
  ]) $(id).addEventListener("click", () => commands[name](...args));
  for (const [id, what] of [["peek-photo", "photo"], ["peek-initial", "initial"]]) {
    const button = $(id);
    button.addEventListener("pointerdown", () => commands.peek(what));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => layers.style.peek && commands.peek(null));
    button.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") commands.peek(what); });
    button.addEventListener("keyup", () => commands.peek(null));
  }
  for (const [id, unit, changed] of [
    ["opacity", "%", (value) => { layers.style.opacity = value / 100; drawOverlay(); }],
    ["brush", "px", () => {}],
  ]) $(id).addEventListener("input", () => {
    $(`${id}-value`).textContent = `${$(id).value} ${unit}`;
    changed(Number($(id).value));
  });
}
