// What keys and buttons do, by name.

import * as api from "./api.js";
import { openPhoto } from "./opening.js";
import { $, act, announce, desk, layers, marks, notice, page, stage, view } from "./page.js";
import { drawOverlay, fit, redraw } from "./screen.js";
import { clamp } from "./view.js";

/** Whether something was said that no answer has come to yet. */
const saying = () => desk.pending.some(({ action }) => action.interactions);

const all = {
  undo: () => (desk.told?.can_undo || saying()) && act({ do: "undo" }),
  redo: () => desk.told?.can_redo && act({ do: "redo" }),
  reset: () => (desk.told?.interactions.length || saying()) && act({ do: "reset" }),
  remove: () => {
    const at = page.crosshair.at ? view.place(...page.crosshair.at) : page.hovered;
    const index = at ? marks.under(view, ...at) : -1;
    if (index >= 0) act({ do: "remove", index });
  },
  escape: () => {
    page.gestures.abandon();
    page.crosshair.hide();
    desk.cancel();
  },
  turn: (step) => openPhoto(page.photos.current + step),
  mark: async (status) => {
    const number = page.photos.current;
    const undone = page.photos.all[number].status === status;
    await page.photos.mark(number, undone ? "open" : status);
    const next = undone ? null : page.photos.after(number, true);
    if (next !== null) openPhoto(next);
    else if (!undone) announce("All photos are done or skipped.");
  },
  addObject: () => act({ do: "add_object", name: null, target: null }),
  step: (by) => {
    const names = desk.told?.objects.map((object) => object.name) ?? [];
    if (names.length < 2) return;
    const next = names[(names.indexOf(desk.told.active) + by + names.length) % names.length];
    if (next !== desk.told.active) act({ do: "switch", name: next });
  },
  number: (digit) => {
    if (page.project.classes.length) {
      if (digit <= page.project.classes.length) page.classes.choose(digit ? digit - 1 : null);
    } else if (digit && desk.told?.objects[digit - 1] && desk.told.objects[digit - 1].name !== desk.told.active) {
      act({ do: "switch", name: desk.told.objects[digit - 1].name });
    }
  },
  findClass: () => !$("find-class").hidden && $("find-class").focus(),
  tool: (value) => page.tool.choose(value),
  sign: () => page.sign.choose(page.sign.value === "yes" ? "no" : "yes"),
  view: () => {
    const order = ["fill", "outline", "cutout", ...(page.project.classes.length ? ["classes"] : [])];
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
    const { number } = desk;
    if (what !== "plain" || layers.plain || number === null || asked === number) return;
    asked = number; // once, however long the key is held
    try {
      await api.plain(number, async (_, parts) => {
        const bitmap = await createImageBitmap(parts[0].png);
        if (number !== desk.number) return;
        layers.putPlain(bitmap);
        drawOverlay();
      });
    } finally {
      asked = null;
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

let asked = null; // the photo whose own mask is on its way

/** Each tells what goes wrong with it. */
export const commands = Object.fromEntries(Object.entries(all).map(([name, run]) => [name, async (...given) => {
  try {
    await run(...given);
  } catch (cause) {
    notice(cause.message);
  }
}]));

/** Ties the page's buttons and sliders to what they do. */
export function tie() {
  for (const [id, name, ...given] of [
    ["undo", "undo"], ["redo", "redo"], ["reset", "reset"], ["previous", "turn", -1], ["next", "turn", 1], ["done", "mark", "done"],
    ["skip", "mark", "skipped"], ["add-object", "addObject"], ["fit", "fit"], ["zoom-in", "zoom", 1.25], ["zoom-out", "zoom", 0.8], ["help", "help"],
  ]) $(id).addEventListener("click", () => commands[name](...given));
  for (const [id, what] of [["peek-photo", "photo"], ["peek-plain", "plain"]]) {
    const button = $(id);
    button.addEventListener("pointerdown", () => commands.peek(what));
    for (const over of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(over, () => layers.style.peek && commands.peek(null));
    button.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") commands.peek(what); });
    button.addEventListener("keyup", () => commands.peek(null));
  }
  for (const [id, unit, changed] of [
    ["opacity", "%", (value) => { layers.style.opacity = value / 100; drawOverlay(); }],
    ["brush", "px", () => {}],
  ]) $(id).addEventListener("input", () => {
    $(`${id}-says`).textContent = `${$(id).value} ${unit}`;
    changed(Number($(id).value));
  });
}
