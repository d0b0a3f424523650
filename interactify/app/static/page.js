// The state that the parts of the page share: the current photo, its position on the screen, and what is chosen.

import { Layers } from "./layers.js";
import { Marks } from "./marks.js";
import { Session } from "./session.js";
import { View } from "./view.js";

export const $ = (id) => document.getElementById(id);

export const stage = $("stage");
export const layers = new Layers($("photo"), $("overlay"));
export const view = new View();
export const marks = new Marks($("marks"));
export const session = new Session(layers);
session.viewport = () => (page.size ? view.viewport(layers.stage, page.size, layers.ratio) : null);

/** Set by main.js, read by all. */
export const page = {
  project: null, // as the server reports it
  photos: null,
  volume: null, // what is open, where the files are volumes
  size: null, // {width, height} of the photo, once it is loaded
  hovered: null, // the pointer's position on the stage
  draft: null, // the interaction that is being drawn
  tool: null,
  sign: null,
  views: null,
  classes: { value: null },
  crosshair: null,
  gestures: null,
};

const RENUMBERS = ["remove", "undo", "redo", "reset", "switch", "add_object", "delete"]; // change the indices of interactions

/** Sends an action; `since` is the time at which the pointer was released. While the photo is still opened, it waits at the server. */
export function act(action, since) {
  if (session.number === null) return;
  if ("index" in action && session.pending.some((each) => RENUMBERS.includes(each.action.do))) return announce("Wait for the running action.");
  session.act(action, since);
}

/** Tells screen readers. */
export function announce(text) {
  $("live").textContent = text;
}

/** Shows an error or a warning. */
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
