// The lists at the side: objects, and the interactions of the active object.

import { icon } from "./icons.js";
import { swatch } from "./choice.js";
import { colourOf } from "./layers.js";

function button(name, label, run) {
  const element = document.createElement("button");
  element.className = "icon small";
  element.dataset.id = label;
  element.setAttribute("aria-label", label);
  element.title = label;
  element.append(icon(name));
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    run();
  });
  return element;
}

function rowActions(...buttons) {
  const element = document.createElement("div");
  element.className = "row-actions";
  element.append(...buttons);
  return element;
}

function text(kind, content, className) {
  const element = document.createElement(kind);
  element.className = className ?? "";
  element.textContent = content;
  return element;
}

/** Fills a list with new rows; the focus stays on the same button, or moves to one beside it. */
function fill(list, rows) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const row = focused ? [...list.children].findIndex((each) => each.contains(focused)) : -1;
  list.replaceChildren(...rows);
  if (!focused) return;
  const same = [...list.querySelectorAll("button")].find((each) => each.dataset.id === focused.dataset.id);
  const beside = list.children[Math.min(row, list.children.length - 1)]?.querySelector("button");
  (same ?? beside ?? document.getElementById("stage")).focus();
}

/** Fills the list of objects. `actions`: switchTo(name), rename(old, new), remove(name). */
export function showObjects(list, state, actions) {
  const field = list.querySelector("input");
  if (field) { // a name is being typed: the list is updated after that
    field.later = () => showObjects(list, state, actions);
    return;
  }
  const rows = state.objects.map((object, index) => {
    const row = document.createElement("li");
    const active = object.name === state.active;
    row.className = active ? "row active" : "row";
    const pick = document.createElement("button");
    pick.className = "pick";
    pick.dataset.id = `pick ${object.name}`;
    pick.setAttribute("aria-pressed", active);
    pick.title = active ? "Active object" : "Switch to this object";
    const detail = [object.class, object.area === null ? "no interactions" : `${(100 * object.area).toFixed(1)} %`].filter(Boolean).join(" · ");
    pick.append(swatch(colourOf(index)), text("span", object.name, "name"), text("span", detail, "detail"));
    pick.addEventListener("click", () => active || actions.switchTo(object.name));
    const rename = () => edit(row, pick, object.name, (name) => actions.rename(object.name, name));
    pick.addEventListener("dblclick", rename);
    row.append(pick, rowActions(button("rename", `Rename ${object.name}`, rename), button("close", `Delete ${object.name}`, () => actions.remove(object.name))));
    return row;
  });
  fill(list, rows);
  if (list.dataset.active !== state.active) list.querySelector(".active")?.scrollIntoView({ block: "nearest" });
  list.dataset.active = state.active;
}

function edit(row, pick, name, done) {
  const field = document.createElement("input");
  field.value = name;
  field.maxLength = 200;
  field.setAttribute("aria-label", `New name of ${name}`);
  pick.replaceWith(field);
  field.focus();
  field.select();
  let ended = false;
  const end = (accepts) => {
    if (ended) return;
    ended = true;
    field.replaceWith(pick);
    if (!accepts || field.value.trim() === name) pick.focus();
    field.later?.();
    if (accepts && field.value.trim() && field.value !== name) done(field.value.trim());
  };
  field.addEventListener("blur", () => end(true));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
  });
}

const NAMES = { click: "Click", scribble: "Scribble", box: "Box", lasso: "Lasso", paint: "Erased", mask: "Mask that was carried here" };

/** The name of an interaction: "Click", "Scribble · road", "Restored". */
export function nameOf(each, classes) {
  if (each.kind === "paint") return each.positive ? "Restored" : "Erased";
  const label = each.label === undefined ? "" : ` · ${classes[each.label]?.name ?? each.label}`;
  return `${NAMES[each.kind]}${label}`;
}

/** Fills the list of interactions, the latest first. `actions`: remove(index), highlight(index); in a volume place(interaction) and goTo(interaction). */
export function showInteractions(list, state, pending, classes, actions) {
  const rows = state.interactions.map((each, index) => {
    const row = document.createElement("li");
    row.className = `row ${each.state}`;
    const sign = ["box", "lasso", "mask"].includes(each.kind) ? "region" : each.positive ? "yes" : "no";
    const dot = text("span", { region: "□", yes: "+", no: "−" }[sign], `sign ${sign}`);
    dot.setAttribute("aria-label", { region: "region", yes: "positive", no: "negative" }[sign]);
    dot.role = "img";
    const body = document.createElement("div");
    body.className = "body";
    body.append(text("span", nameOf(each, classes), "name"), text("span", [actions.place?.(each), each.ms !== null && milliseconds(each.ms)].filter(Boolean).join(" · "), "detail"));
    if (each.reason) body.append(text("p", each.reason, "reason"));
    row.append(dot, body, rowActions(button("close", `Remove ${nameOf(each, classes).toLowerCase()} ${index + 1}`, () => actions.remove(index))));
    if (actions.goTo) row.addEventListener("click", () => actions.goTo(each));
    row.addEventListener("pointerenter", () => actions.highlight(index));
    row.addEventListener("pointerleave", () => actions.highlight(-1));
    return row;
  });
  for (const each of pending) {
    const row = document.createElement("li");
    row.className = "row pending";
    const spinner = text("span", "", "spinner");
    row.append(spinner, text("span", `${nameOf(each, classes)} …`, "name"));
    rows.push(row);
  }
  fill(list, rows.reverse());
}

export const milliseconds = (ms) => (ms < 1 ? "< 1 ms" : ms < 9950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
