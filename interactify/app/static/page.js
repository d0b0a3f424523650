// What the page's parts share: the photo at hand, where it lies on the screen, and what is chosen.

import { Desk } from "./desk.js";
import { Layers } from "./layers.js";
import { Marks } from "./marks.js";
import { View } from "./view.js";

export const $ = (id) => document.getElementById(id);

export const stage = $("stage");
export const layers = new Layers($("photo"), $("overlay"));
export const view = new View();
export const marks = new Marks($("marks"));
export const desk = new Desk(layers);
desk.sight = () => (page.size ? view.sight(layers.stage, page.size, layers.ratio) : null);

/** What changes: set by main.js, read by all. */
export const page = {
  project: null, // as the server told of it
  photos: null,
  size: null, // {width, height} of the photo, once it is there
  hovered: null, // where the pointer is on the stage
  draft: null, // what is being drawn
  tool: null,
  sign: null,
  views: null,
  classes: { value: null },
  crosshair: null,
  gestures: null,
};

const RENUMBERS = ["remove", "undo", "redo", "reset", "switch", "add_object", "delete"]; // what is meant by an index

/** Asks the server to do something; `since` is when the hand let go. Where the photo is still being opened, it waits there. */
export function act(action, since) {
  if (desk.number === null) return;
  if ("index" in action && desk.pending.some((each) => RENUMBERS.includes(each.action.do))) return announce("Wait for what is being done.");
  desk.act(action, since);
}

export function announce(text) {
  $("live").textContent = text;
}

/** Tells of something that went wrong. */
export function notice(text) {
  const note = document.createElement("p");
  note.textContent = text;
  const close = document.createElement("button");
  close.textContent = "Dismiss";
  close.addEventListener("click", () => note.remove());
  note.append(close);
  $("notices").append(note);
  while ($("notices").children.length > 4) $("notices").firstChild.remove();
}
