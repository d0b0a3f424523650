// The dialogs: help on keyboard and mouse, and export.

import * as api from "./api.js";
import { choice, key } from "./choice.js";
import { TABLE } from "./keys.js";

export function fillHelp(element, table = TABLE) {
  for (const [title, entries] of table) {
    const section = document.createElement("section");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const [keys, text] of entries) {
      const term = document.createElement("dt");
      keys.split(" | ").forEach((each) => term.append(key(each)));
      const meaning = document.createElement("dd");
      meaning.textContent = text;
      list.append(term, meaning);
    }
    section.append(heading, list);
    element.append(section);
  }
}

/** Prepares the export dialog for a project; `current()` is the number of the current photo. */
export function exportDialog(project, current) {
  const dialog = document.getElementById("export-dialog");
  const kinds = document.getElementById("export-kinds");
  document.getElementById("out-name").textContent = project.out;
  const boxes = project.exports.map((each) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: each.name, checked: ["png", "coco", "labels"].includes(each.name) });
    const text = document.createElement("span");
    text.textContent = each.label;
    label.append(box, text);
    kinds.append(label);
    return { box, label, currentOnly: each.current_only };
  });
  const go = document.getElementById("export-go");
  const which = choice(
    document.getElementById("export-which"),
    [{ value: "this", label: "This photo" }, { value: "all", label: "All photos" }],
    () => refresh(),
  );
  const refresh = () => {
    for (const { box, label, currentOnly } of boxes) {
      box.disabled = currentOnly && which.value === "all";
      label.classList.toggle("off", box.disabled);
    }
    go.disabled = !boxes.some(({ box }) => box.checked && !box.disabled);
  };
  kinds.addEventListener("change", refresh);
  go.addEventListener("click", () => {
    const chosen = boxes.filter(({ box }) => box.checked && !box.disabled).map(({ box }) => box.value);
    const link = document.createElement("a");
    link.href = api.exportAddress(chosen, which.value === "all" ? null : current());
    link.download = "";
    link.click();
    dialog.close();
  });
  refresh();
  return dialog;
}
