// The lists at the side: objects, and what was said of the one at hand.

import { icon } from "./icons.js";
import { swatch } from "./choice.js";
import { colourOf } from "./layers.js";

function button(name, label, run) {
  const element = document.createElement("button");
  element.className = "icon small";
  element.dataset.what = label;
  element.setAttribute("aria-label", label);
  element.title = label;
  element.append(icon(name));
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    run();
  });
  return element;
}

function actions(...buttons) {
  const element = document.createElement("div");
  element.className = "acts";
  element.append(...buttons);
  return element;
}

function text(kind, content, className) {
  const element = document.createElement(kind);
  element.className = className ?? "";
  element.textContent = content;
  return element;
}

/** Puts new rows into a list; the keyboard stays where it was, or beside it. */
function fill(list, rows) {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const row = held ? [...list.children].findIndex((each) => each.contains(held)) : -1;
  list.replaceChildren(...rows);
  if (!held) return;
  const same = [...list.querySelectorAll("button")].find((each) => each.dataset.what === held.dataset.what);
  const beside = list.children[Math.min(row, list.children.length - 1)]?.querySelector("button");
  (same ?? beside ?? document.getElementById("stage")).focus();
}

/** Fills the list of objects. `acts`: switchTo(name), rename(old, new), remove(name). */
export function showObjects(list, told, acts) {
  const field = list.querySelector("input");
  if (field) { // a name is being typed: what comes meanwhile is shown when it is done
    field.later = () => showObjects(list, told, acts);
    return;
  }
  const rows = told.objects.map((object, index) => {
    const row = document.createElement("li");
    const active = object.name === told.active;
    row.className = active ? "row active" : "row";
    const pick = document.createElement("button");
    pick.className = "pick";
    pick.dataset.what = `pick ${object.name}`;
    pick.setAttribute("aria-pressed", active);
    const detail = [object.class, object.area === null ? "nothing said" : `${(100 * object.area).toFixed(1)} %`].filter(Boolean).join(" · ");
    pick.append(swatch(colourOf(index)), text("span", object.name, "name"), text("span", detail, "detail"));
    pick.addEventListener("click", () => active || acts.switchTo(object.name));
    const rename = () => edit(row, pick, object.name, (name) => acts.rename(object.name, name));
    pick.addEventListener("dblclick", rename);
    row.append(pick, actions(button("rename", `Rename ${object.name}`, rename), button("close", `Delete ${object.name}`, () => acts.remove(object.name))));
    return row;
  });
  fill(list, rows);
  if (list.dataset.active !== told.active) list.querySelector(".active")?.scrollIntoView({ block: "nearest" });
  list.dataset.active = told.active;
}

function edit(row, pick, name, done) {
  const field = document.createElement("input");
  field.value = name;
  field.maxLength = 200;
  field.setAttribute("aria-label", `New name of ${name}`);
  pick.replaceWith(field);
  field.focus();
  field.select();
  let over = false;
  const end = (keeps) => {
    if (over) return;
    over = true;
    field.replaceWith(pick);
    if (!keeps || field.value.trim() === name) pick.focus();
    field.later?.();
    if (keeps && field.value.trim() && field.value !== name) done(field.value.trim());
  };
  field.addEventListener("blur", () => end(true));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
  });
}

const NAMES = { click: "Click", scribble: "Scribble", box: "Box", lasso: "Lasso", paint: "Erased" };

/** What an interaction is called: "Click", "Not this: scribble", "Restored", with its class where it names one. */
export function nameOf(each, classes) {
  if (each.kind === "paint") return each.positive ? "Restored" : "Erased";
  const label = each.label === undefined ? "" : ` · ${classes[each.label]?.name ?? each.label}`;
  return `${NAMES[each.kind]}${label}`;
}

/** Fills the list of interactions, the latest first. `acts`: remove(index), light(index). */
export function showSaid(list, told, pending, classes, acts) {
  const rows = told.interactions.map((each, index) => {
    const row = document.createElement("li");
    row.className = `row ${each.state}`;
    const sign = each.kind === "box" || each.kind === "lasso" ? "region" : each.positive ? "yes" : "no";
    const dot = text("span", { region: "□", yes: "+", no: "−" }[sign], `sign ${sign}`);
    dot.setAttribute("aria-label", { region: "inside", yes: "belongs", no: "does not belong" }[sign]);
    dot.role = "img";
    const body = document.createElement("div");
    body.className = "body";
    body.append(text("span", nameOf(each, classes), "name"), text("span", milliseconds(each.ms), "detail"));
    if (each.reason) body.append(text("p", each.reason, "reason"));
    row.append(dot, body, actions(button("close", `Remove ${nameOf(each, classes).toLowerCase()} ${index + 1}`, () => acts.remove(index))));
    row.addEventListener("pointerenter", () => acts.light(index));
    row.addEventListener("pointerleave", () => acts.light(-1));
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
