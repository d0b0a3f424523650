// What comes back from the server: masks are drawn, lists filled, and how long it took is told.

import { milliseconds, showObjects, showSaid } from "./lists.js";
import { $, act, announce, desk, marks, notice, page, stage, view } from "./page.js";
import { drawMarks, drawNow, drawSoon } from "./screen.js";

let trouble = ""; // why files could not be written, as it was told last
let lastTotal = null; // milliseconds from the hand letting go to the screen, without the refinement

desk.addEventListener("pending", () => showLists());
desk.addEventListener("trouble", ({ detail }) => notice(detail));
desk.addEventListener("shown", ({ detail: { header, entry } }) => {
  $("waiting").hidden = true;
  (header.kind === "first" ? drawNow : drawSoon)(() => entry && measured(header, entry));
  if (header.objects) showLists();
  if (header.notice) notice(header.notice);
  if (header.trouble && header.trouble !== trouble) notice(header.trouble);
  trouble = header.trouble ?? trouble;
});

/** How long it took from the hand letting go until the mask was on the screen, which it may be before all of it came. */
function measured(header, entry) {
  const total = performance.now() - entry.since;
  const ms = header.ms ?? (entry.action.interactions ? header.interactions?.at(-1)?.ms : 0) ?? 0;
  document.dispatchEvent(new CustomEvent("interactify:shown", { detail: { kind: header.kind, did: entry.action.do, total, ms } }));
  if (header.kind === "preview") return;
  entry.total ??= entry.action.interactions ? total - ms : null;
  if (header.kind !== "done") return;
  lastTotal = entry.total;
  showResult(entry.action);
}

export function showResult(action) {
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
  showSaid($("said"), told, pending, page.project.classes, { remove: (index) => act({ do: "remove", index }), light: (index) => marks.light(view, index) });
  $("said-count").textContent = told.interactions.length || "";
  $("said-none").hidden = told.interactions.length > 0 || pending.length > 0;
  const able = { undo: told.can_undo || pending.length, redo: told.can_redo, reset: told.interactions.length || pending.length };
  for (const [id, can] of Object.entries(able)) {
    if (!can && document.activeElement === $(id)) stage.focus();
    $(id).disabled = !can;
  }
  drawMarks();
  const photo = page.photos.all[page.photos.current];
  const said = told.objects.reduce((sum, object) => sum + object.said, 0);
  if (photo && photo.said !== said) page.photos.update({ ...photo, said });
}
