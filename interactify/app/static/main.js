// The page: its parts, and how what one does to one of them reaches the others.

import * as api from "./api.js";
import { choice } from "./choice.js";
import { Crosshair } from "./crosshair.js";
import { Desk } from "./desk.js";
import { exporting, fillHelp } from "./dialogs.js";
import { Gestures } from "./gestures.js";
import { placeIcons } from "./icons.js";
import { listen } from "./keys.js";
import { Layers, colourOf } from "./layers.js";
import { milliseconds, nameOf, showObjects, showSaid } from "./lists.js";
import { Marks } from "./marks.js";
import { Photos } from "./photos.js";
import { View, clamp } from "./view.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const layers = new Layers($("photo"), $("overlay"));
const view = new View();
const marks = new Marks($("marks"));
const desk = new Desk(layers);
const photos = new Photos({ open: (number) => open(number), trouble: notice });
let project = null;
let size = null; // of the photo, once it is there
let hovered = null;
let draft = null;
let opening = null;
let lastTotal = null;

placeIcons();
fillHelp($("help-text"));

const tool = choice($("tools"), [
  { value: "point", says: "Click and scribble", icon: "point", title: "Click; drag to scribble, Shift-drag for a box (C)" },
  { value: "box", says: "Box", icon: "box", title: "Box around the object (B)" },
  { value: "lasso", says: "Lasso", icon: "lasso", title: "Lasso around the object (L)" },
  { value: "erase", says: "Erase", icon: "erase", title: "Erase from the mask (E)" },
  { value: "restore", says: "Restore", icon: "paint", title: "Give back to the mask (G)" },
], (value) => { stage.dataset.tool = value; crosshair.corners = []; });
const sign = choice($("signs"), [
  { value: "yes", says: "Belongs", icon: "plus", title: "A click says: this belongs to the object" },
  { value: "no", says: "Does not belong", icon: "minus", title: "A click says: this does not belong (M; or right click)" },
], (value) => { stage.dataset.sign = value; });
let views = null;
let classes = { value: null };

const hooks = {
  size: () => size,
  stageSize: () => stage.getBoundingClientRect(),
  view,
  tool: () => tool.value,
  negative: () => sign.value === "no",
  label: () => classes.value,
  brush: () => Number($("brush").value),
  say: (interaction, since) => act({ do: "add", interactions: [interaction] }, since),
  move: (index, x, y, since) => act({ do: "move", index, x, y }, since),
  under: (x, y, kind) => {
    const index = marks.under(view, x, y);
    return kind && index >= 0 && marks.said[index].kind !== kind ? -1 : index;
  },
  changed: () => redraw(),
  hover: (at, free) => {
    hovered = at;
    marks.light(view, at && free ? marks.under(view, ...at) : -1);
    showWhere();
  },
  draft: (interaction) => {
    draft = interaction;
    drawMarks();
  },
  announce,
  inside: (x, y) => layers.holds(desk.told?.active, x, y),
  moved: () => { drawMarks(); showWhere(); },
};
const crosshair = new Crosshair($("marks"), hooks);
const gestures = new Gestures(stage, view, hooks);

function act(action, since) {
  if (desk.told) desk.act(action, since);
}

const commands = {
  undo: () => desk.told?.can_undo && act({ do: "undo" }),
  redo: () => desk.told?.can_redo && act({ do: "redo" }),
  reset: () => desk.told?.interactions.length && act({ do: "reset" }),
  remove: () => {
    const at = crosshair.at ? view.place(...crosshair.at) : hovered;
    const index = at ? marks.under(view, ...at) : -1;
    if (index >= 0) act({ do: "remove", index });
  },
  escape: () => {
    gestures.abandon();
    crosshair.hide();
    desk.cancel();
  },
  turn: (step) => open(photos.current + step),
  mark: async (status) => {
    const number = photos.current;
    const undone = photos.all[number].status === status;
    await photos.mark(number, undone ? "open" : status);
    const next = undone ? null : photos.after(number, true);
    if (next !== null) open(next);
    else if (!undone) announce("All photos are done or skipped.");
  },
  addObject: () => act({ do: "add_object", name: null, target: null }),
  step: (by) => {
    const names = desk.told.objects.map((object) => object.name);
    const next = names[(names.indexOf(desk.told.active) + by + names.length) % names.length];
    if (next !== desk.told.active) act({ do: "switch", name: next });
  },
  number: (digit) => {
    if (project.classes.length) {
      if (digit <= project.classes.length) classes.choose(digit ? digit - 1 : null);
    } else if (digit && desk.told?.objects[digit - 1] && desk.told.objects[digit - 1].name !== desk.told.active) {
      act({ do: "switch", name: desk.told.objects[digit - 1].name });
    }
  },
  tool: (value) => tool.choose(value),
  sign: () => sign.choose(sign.value === "yes" ? "no" : "yes"),
  view: () => {
    const order = ["fill", "outline", "cutout", ...(project.classes.length ? ["classes"] : [])];
    views.choose(order[(order.indexOf(views.value) + 1) % order.length]);
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
    if (what === "plain" && !layers.plain && size) {
      await api.plain(desk.number, async (_, parts) => {
        layers.putPlain(await createImageBitmap(parts[0].png));
        drawOverlay();
      });
    }
    layers.style.peek = what;
    $("marks").classList.toggle("hidden", what !== null);
    drawOverlay();
  },
  space: (held) => {
    gestures.space = held;
    stage.classList.toggle("grab", held);
  },
  crosshair: (dx, dy, fine) => size && crosshair.move(dx, dy, fine),
  enter: (negative) => size && crosshair.enter(negative || sign.value === "no"),
  help: () => $("help-dialog").showModal(),
};

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

// ---- what is drawn --------------------------------------------------------------------------------------------------

function drawn() {
  if (!desk.told) return [];
  const objects = desk.told.objects.map(({ name, said }, index) => ({ name, said, colour: colourOf(index), active: name === desk.told.active }));
  return objects.filter((object) => object.said || object.active).sort((a, b) => a.active - b.active);
}

const drawOverlay = () => layers.drawOverlay(view, drawn());

function drawMarks() {
  const pending = desk.pending.flatMap(({ action }) => action.interactions ?? []);
  marks.draw(view, desk.told?.interactions ?? [], draft ? [...pending, draft] : pending);
  crosshair.draw();
}

function redraw() {
  layers.drawPhoto(view);
  drawOverlay();
  drawMarks();
  showWhere();
}

function fit() {
  if (size) view.fit(stage.getBoundingClientRect(), size, stage.clientWidth < 700 ? 8 : 20);
}

function showWhere() {
  $("zoom").textContent = size ? `${Math.round(view.scale * 100)} %` : "";
  const [x, y] = crosshair.at ?? (hovered && size ? view.pixel(...hovered) : [-1, -1]);
  $("where").textContent = size && x >= 0 && y >= 0 && x < size.width && y < size.height ? `${x}, ${y}` : "";
}

new ResizeObserver(() => {
  const { width, height } = stage.getBoundingClientRect();
  layers.resize(width, height, window.devicePixelRatio || 1);
  $("marks").setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (view.fitted) fit();
  redraw();
}).observe(stage);

function paper() {
  layers.style.paper = getComputedStyle(stage).getPropertyValue("--paper").trim();
  drawOverlay();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paper);

// ---- what comes back ------------------------------------------------------------------------------------------------

desk.addEventListener("pending", () => showLists());
desk.addEventListener("trouble", ({ detail }) => notice(detail));
desk.addEventListener("shown", ({ detail: { header, entry } }) => {
  drawOverlay();
  $("waiting").hidden = true;
  if (header.kind !== "preview") {
    drawMarks();
    showLists();
    if (header.notice) notice(header.notice);
  }
  if (entry) requestAnimationFrame(() => measured(header, entry));
});

/** How long it took from the hand letting go until the mask was on the screen. */
function measured(header, entry) {
  const total = performance.now() - entry.since;
  const ms = header.kind === "done" && entry.action.interactions ? header.interactions.at(-1)?.ms ?? 0 : 0;
  document.dispatchEvent(new CustomEvent("interactify:shown", { detail: { kind: header.kind, did: entry.action.do, total, ms } }));
  if (header.kind !== "done") return;
  lastTotal = entry.action.interactions ? total - ms : null;
  showResult(entry.action);
}

function showResult(action) {
  const { result, active, interactions } = desk.told;
  const missed = interactions.filter((each) => each.state === "unsatisfied");
  const took = action?.interactions && interactions.length ? `${milliseconds(interactions.at(-1).ms)}${lastTotal === null ? "" : ` + ${milliseconds(lastTotal)} to the screen`}` : "";
  const parts = [took, missed.length ? `${missed.length} not satisfied` : interactions.length ? "all satisfied" : "the network’s own mask"];
  $("said-so").textContent = parts.filter(Boolean).join(" · ");
  $("said-so").classList.toggle("missed", missed.length > 0);
  const why = missed.length ? ` ${missed.length} not satisfied: ${missed[0].reason}` : "";
  announce(`${active} covers ${(100 * result.area).toFixed(1)} percent of the photo.${why}`);
}

function showLists() {
  const told = desk.told;
  if (!told) return;
  showObjects($("objects"), told, {
    switchTo: (name) => act({ do: "switch", name }),
    rename: (name, to) => act({ do: "rename", name, to }),
    remove: (name) => act({ do: "delete", name }),
  });
  const pending = desk.pending.flatMap(({ action }) => action.interactions ?? []);
  showSaid($("said"), told, pending, project.classes, { remove: (index) => act({ do: "remove", index }), light: (index) => marks.light(view, index) });
  $("said-count").textContent = told.interactions.length || "";
  $("said-none").hidden = told.interactions.length > 0 || pending.length > 0;
  $("undo").disabled = !told.can_undo;
  $("redo").disabled = !told.can_redo;
  $("reset").disabled = !told.interactions.length;
  drawMarks();
  const photo = photos.all[photos.current];
  const said = told.objects.reduce((sum, object) => sum + object.said, 0);
  if (photo && photo.said !== said) photos.update({ ...photo, said });
}

function notice(text) {
  const note = document.createElement("p");
  note.textContent = text;
  const close = document.createElement("button");
  close.textContent = "Dismiss";
  close.addEventListener("click", () => note.remove());
  note.append(close);
  $("notices").append(note);
  while ($("notices").children.length > 4) $("notices").firstChild.remove();
}

function announce(text) {
  $("live").textContent = text;
}

// ---- photos ---------------------------------------------------------------------------------------------------------

async function open(number) {
  if (!photos.all[number] || (number === photos.current && size)) return;
  opening?.abort();
  const own = (opening = new AbortController());
  photos.show(number);
  history.replaceState(null, "", `#${number + 1}`);
  size = null;
  crosshair.hide();
  gestures.abandon();
  desk.number = null;
  desk.told = null;
  desk.pending = [];
  $("waiting").hidden = false;
  $("waiting").classList.remove("failed");
  $("waiting-text").textContent = `Opening ${photos.all[number].name} …`;
  try {
    const bitmap = await createImageBitmap(await api.image(number, own.signal));
    if (own.signal.aborted) return;
    layers.open(bitmap);
    size = layers.size;
    stage.setAttribute("aria-label", `Photo ${photos.all[number].name}, ${size.width} by ${size.height} pixels`);
    fit();
    redraw();
    $("waiting-text").textContent = "The network looks at it …";
    await desk.open(number);
    if (!own.signal.aborted) await desk.line.then(() => desk.told && showResult(null));
  } catch (cause) {
    if (own.signal.aborted) return;
    $("waiting").classList.add("failed");
    $("waiting-text").textContent = cause.message;
  }
}

function dropping() {
  const over = (shown) => (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    $("drop").hidden = !shown;
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer?.files.length) photos.bring([...event.dataTransfer.files]);
  });
}

async function begin() {
  project = await api.project();
  photos.set(project.photos);
  project.trouble.forEach(notice);
  views = choice($("views"), [
    { value: "fill", says: "Fill" }, { value: "outline", says: "Outline" }, { value: "cutout", says: "Cut-out" },
    ...(project.classes.length ? [{ value: "classes", says: "Classes" }] : []),
  ], (value) => {
    layers.style.view = value;
    desk.classes = value === "classes";
    if (desk.classes && desk.told && !layers.classMap) desk.refresh().catch((cause) => notice(cause.message));
    drawOverlay();
  });
  if (project.classes.length) {
    $("classes-section").hidden = false;
    classes = choice($("classes"), [
      { value: null, says: "The object", key: "0" },
      ...project.classes.map((each, k) => ({ value: k, says: each.name, swatch: each.colour, key: k < 9 ? String(k + 1) : null })),
    ], () => {});
  }
  const dialog = exporting(project, () => photos.current);
  $("export").addEventListener("click", () => dialog.showModal());
  listen(commands, stage);
  dropping();
  paper();
  const wanted = Number(location.hash.slice(1)) - 1;
  const first = photos.all.find((photo) => photo.status === "open")?.number ?? 0;
  await open(photos.all[wanted] ? wanted : first);
}

begin().catch((cause) => {
  $("waiting").classList.add("failed");
  $("waiting-text").textContent = cause.message;
});
