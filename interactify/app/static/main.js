// Entry point: creates the parts of the page and connects them.

import * as api from "./api.js";
import { choice } from "./choice.js";
import { commands, connectControls } from "./commands.js";
import { Crosshair } from "./crosshair.js";
import { exportDialog, fillHelp } from "./dialogs.js";
import { Gestures } from "./gestures.js";
import { insertIcons } from "./icons.js";
import { listen, volumeTable } from "./keys.js";
import { watchLessons } from "./lessons.js";
import { acceptDrops, openPhoto } from "./open_photo.js";
import { $, act, announce, layers, marks, notice, page, session, stage, view } from "./page.js";
import { Photos } from "./photos.js";
import { drawMarks, drawOverlay, readPaper, redraw, showPosition } from "./screen.js";
import { watchService } from "./service.js";
import { Volume } from "./volume.js";

const MANY = 12; // classes from which on there is a field to find one by name

insertIcons();
fillHelp($("help-text"));
page.photos = new Photos({ open: openPhoto, failed: notice });

const tools = [
  { value: "point", label: "Click and scribble", icon: "point", title: "Click; drag to scribble, Shift-drag for a box (C)" },
  { value: "box", label: "Box", icon: "box", title: "Box around the object (B)" },
  { value: "lasso", label: "Lasso", icon: "lasso", title: "Lasso around the object (L)" },
  { value: "erase", label: "Erase", icon: "erase", title: "Erase from the mask (E)" },
  { value: "restore", label: "Restore", icon: "paint", title: "Restore to the mask (G)" },
];
const chooseFrom = (options) => choice($("tools"), options, (value) => { stage.dataset.tool = document.body.dataset.tool = value; page.crosshair.corners = []; });
page.tool = chooseFrom(tools);
page.sign = choice($("signs"), [
  { value: "yes", label: "Positive", icon: "yes", title: "Positive click: part of the object" },
  { value: "no", label: "Negative", icon: "no", title: "Negative click: not part of the object (M, or right click)" },
], (value) => { stage.dataset.sign = value; });

const hooks = {
  size: () => page.size,
  stageSize: () => stage.getBoundingClientRect(),
  view,
  tool: () => page.tool.value,
  negative: () => page.sign.value === "no",
  label: () => page.classes.value,
  brush: () => Number($("brush").value),
  add: (interaction, since) => act({ do: "add", interactions: [interaction] }, since),
  move: (index, x, y, since) => act({ do: "move", index, x, y }, since),
  markAt: (x, y, kind) => {
    const index = marks.at(view, x, y);
    return kind && index >= 0 && marks.interactions[index].kind !== kind ? -1 : index;
  },
  turned: (event) => {
    if (!page.volume || event.ctrlKey) return false;
    page.volume.wheel(event);
    return true;
  },
  viewChanged: () => redraw(),
  hover: (at, free, mouse) => {
    page.hovered = at;
    if (mouse && page.crosshair.at) page.crosshair.hide(); // the mouse takes over from the keyboard
    marks.highlight(view, at && free ? marks.at(view, ...at) : -1);
    showPosition();
  },
  draft: (interaction) => {
    page.draft = interaction;
    drawMarks();
  },
  announce,
  inside: (x, y) => layers.contains(session.state?.active, x, y),
  crosshairMoved: () => { drawMarks(); showPosition(); },
};
page.crosshair = new Crosshair($("marks"), hooks);
page.gestures = new Gestures(stage, view, hooks);
connectControls();

/** A field to find one of many classes by name: typing narrows the list, Enter takes the first match. */
function connectFindClass(count) {
  const field = $("find-class");
  field.hidden = count < MANY;
  field.placeholder = `Find one of ${count} (/)`;
  field.addEventListener("input", () => page.classes.narrow(field.value));
  field.addEventListener("keydown", ({ key }) => {
    if (key !== "Enter" && key !== "Escape") return;
    const first = field.value.trim() && page.classes.narrow(field.value);
    field.value = "";
    page.classes.narrow("");
    stage.focus();
    if (key !== "Enter" || !first) return;
    page.classes.choose(first.value);
    announce(`Class of clicks: ${first.label}.`);
  });
}

/** Makes the page one of volumes, with the tools that their sessions take. */
function forVolumes(volumes) {
  page.volume = session.volume = new Volume();
  document.body.classList.add("volumes");
  page.tool = chooseFrom(tools.filter(({ value }) => volumes.kinds.includes({ point: "click", erase: "paint", restore: "paint" }[value] ?? value)));
  $("peek-photo").textContent = "Slice only";
  $("help-text").replaceChildren();
  fillHelp($("help-text"), volumeTable(volumes));
}

async function start() {
  page.project = await api.project();
  if (page.project.volumes) forVolumes(page.project.volumes);
  page.photos.set(page.project.photos);
  page.project.write_errors.forEach(notice);
  page.views = choice($("views"), [
    { value: "fill", label: "Fill" }, { value: "outline", label: "Outline" }, { value: "cutout", label: "Cut-out" },
    ...(page.project.classes.length ? [{ value: "classes", label: "Classes" }] : []),
    ...(page.project.volumes?.uncertainty ? [{ value: "uncertain", label: "Unsure" }] : []),
  ], (value) => {
    layers.style.view = value;
    session.classes = value === "classes";
    page.volume?.showUncertainty(value === "uncertain");
    if (session.classes && session.state && !layers.classMap) session.refresh().catch((cause) => notice(cause.message));
    drawOverlay();
  });
  if (page.project.classes.length) {
    $("classes-section").hidden = false;
    page.classes = choice($("classes"), [
      { value: null, label: "No class", key: "0" },
      ...page.project.classes.map((each, k) => ({ value: k, label: each.name, swatch: each.colour, key: k < 9 ? String(k + 1) : null })),
    ], () => {});
    connectFindClass(page.project.classes.length);
  }
  const dialog = exportDialog(page.project, () => page.photos.current);
  $("export").addEventListener("click", () => dialog.showModal());
  listen(commands, stage, page.project.volumes);
  if (!page.volume) acceptDrops();
  if (page.project.teaches) watchLessons();
  if (page.project.service) watchService();
  readPaper();
  const wanted = Number(location.hash.slice(1)) - 1;
  const first = page.photos.all.find((photo) => photo.status === "open")?.number ?? 0;
  await openPhoto(page.photos.all[wanted] ? wanted : first);
}

start().catch((cause) => {
  $("waiting").classList.add("failed");
  $("waiting-text").textContent = cause.message;
});
