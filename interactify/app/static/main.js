// The page begins: its parts are made, and tied together.

import * as api from "./api.js";
import { choice } from "./choice.js";
import { commands, tie } from "./commands.js";
import { Crosshair } from "./crosshair.js";
import { exporting, fillHelp } from "./dialogs.js";
import { Gestures } from "./gestures.js";
import { placeIcons } from "./icons.js";
import { listen } from "./keys.js";
import { dropping, openPhoto } from "./opening.js";
import { $, act, announce, desk, layers, marks, notice, page, stage, view } from "./page.js";
import { Photos } from "./photos.js";
import { drawMarks, drawOverlay, paper, redraw, showWhere } from "./screen.js";

const MANY = 12; // classes from which on they are looked for by name

placeIcons();
fillHelp($("help-text"));
page.photos = new Photos({ open: openPhoto, trouble: notice });

page.tool = choice($("tools"), [
  { value: "point", says: "Click and scribble", icon: "point", title: "Click; drag to scribble, Shift-drag for a box (C)" },
  { value: "box", says: "Box", icon: "box", title: "Box around the object (B)" },
  { value: "lasso", says: "Lasso", icon: "lasso", title: "Lasso around the object (L)" },
  { value: "erase", says: "Erase", icon: "erase", title: "Erase from the mask (E)" },
  { value: "restore", says: "Restore", icon: "paint", title: "Give back to the mask (G)" },
], (value) => { stage.dataset.tool = document.body.dataset.tool = value; page.crosshair.corners = []; });
page.sign = choice($("signs"), [
  { value: "yes", says: "Belongs", icon: "yes", title: "A click says: this belongs to the object" },
  { value: "no", says: "Does not belong", icon: "no", title: "A click says: this does not belong (M; or right click)" },
], (value) => { stage.dataset.sign = value; });

const hooks = {
  size: () => page.size,
  stageSize: () => stage.getBoundingClientRect(),
  view,
  tool: () => page.tool.value,
  negative: () => page.sign.value === "no",
  label: () => page.classes.value,
  brush: () => Number($("brush").value),
  say: (interaction, since) => act({ do: "add", interactions: [interaction] }, since),
  move: (index, x, y, since) => act({ do: "move", index, x, y }, since),
  under: (x, y, kind) => {
    const index = marks.under(view, x, y);
    return kind && index >= 0 && marks.said[index].kind !== kind ? -1 : index;
  },
  changed: () => redraw(),
  hover: (at, free, mouse) => {
    page.hovered = at;
    if (mouse && page.crosshair.at) page.crosshair.hide(); // what is pointed at is what is meant
    marks.light(view, at && free ? marks.under(view, ...at) : -1);
    showWhere();
  },
  draft: (interaction) => {
    page.draft = interaction;
    drawMarks();
  },
  announce,
  inside: (x, y) => layers.holds(desk.told?.active, x, y),
  moved: () => { drawMarks(); showWhere(); },
};
page.crosshair = new Crosshair($("marks"), hooks);
page.gestures = new Gestures(stage, view, hooks);
tie();

/** Many classes are found by their names: what is typed narrows the list, Enter takes the first. */
function finding(count) {
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
    announce(`Clicks speak of ${first.says}.`);
  });
}

async function begin() {
  page.project = await api.project();
  page.photos.set(page.project.photos);
  page.project.trouble.forEach(notice);
  page.views = choice($("views"), [
    { value: "fill", says: "Fill" }, { value: "outline", says: "Outline" }, { value: "cutout", says: "Cut-out" },
    ...(page.project.classes.length ? [{ value: "classes", says: "Classes" }] : []),
  ], (value) => {
    layers.style.view = value;
    desk.classes = value === "classes";
    if (desk.classes && desk.told && !layers.classMap) desk.refresh().catch((cause) => notice(cause.message));
    drawOverlay();
  });
  if (page.project.classes.length) {
    $("classes-section").hidden = false;
    page.classes = choice($("classes"), [
      { value: null, says: "The object", key: "0" },
      ...page.project.classes.map((each, k) => ({ value: k, says: each.name, swatch: each.colour, key: k < 9 ? String(k + 1) : null })),
    ], () => {});
    finding(page.project.classes.length);
  }
  const dialog = exporting(page.project, () => page.photos.current);
  $("export").addEventListener("click", () => dialog.showModal());
  listen(commands, stage);
  dropping();
  paper();
  const wanted = Number(location.hash.slice(1)) - 1;
  const first = page.photos.all.find((photo) => photo.status === "open")?.number ?? 0;
  await openPhoto(page.photos.all[wanted] ? wanted : first);
}

begin().catch((cause) => {
  $("waiting").classList.add("failed");
  $("waiting-text").textContent = cause.message;
});
