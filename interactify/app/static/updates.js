// Updates from the server: masks are drawn, lists filled, and the times are shown.

import { milliseconds, showInteractions, showObjects } from "./lists.js";
import { $, act, announce, marks, notice, page, session, stage, view } from "./page.js";
import { drawMarks, drawNow, drawSoon } from "./screen.js";

let writeError = ""; // the last one that was shown
let displayTime = null; // milliseconds of the last action from the pointer's release to the screen, without the refinement

session.addEventListener("pending", () => showLists());
session.addEventListener("failed", ({ detail }) => notice(detail));
session.addEventListener("update", ({ detail: { header, entry } }) => {
  $("waiting").hidden = true;
  (header.kind === "first" ? drawNow : drawSoon)(() => entry && measure(header, entry));
  if (header.objects) showLists();
  if (header.notice) notice(header.notice);
  if (header.write_error && header.write_error !== writeError) notice(header.write_error);
  writeError = header.write_error ?? writeError;
});

/** Measures the time from the pointer's release until the mask is on the screen; the viewport counts, before the whole mask. */
function measure(header, entry) {
  const total = performance.now() - entry.since;
  const ms = header.ms ?? (entry.action.interactions ? header.interactions?.at(-1)?.ms : 0) ?? 0;
  document.dispatchEvent(new CustomEvent("interactify:drawn", { detail: { kind: header.kind, action: entry.action.do, total, ms } }));
  if (header.kind === "preview") return;
  entry.displayTime ??= entry.action.interactions ? total - ms : null;
  if (header.kind !== "done") return;
  displayTime = entry.displayTime;
  showResult(entry.action);
}

export function showResult(action) {
  const { result, active, interactions } = session.state;
  const unsatisfied = interactions.filter((each) => each.state === "unsatisfied");
  const times = action?.interactions && interactions.length ? `${milliseconds(interactions.at(-1).ms ?? result.ms)}${displayTime === null ? "" : ` + ${milliseconds(displayTime)} to display`}` : "";
  const initial = page.project.reads_clicks ? "no click yet: what the network shows is a guess; click on an object" : "initial mask";
  const reach = result.choice === "usual" ? "" : `newest: ${result.choice}`;
  const parts = [times, reach, unsatisfied.length ? `${unsatisfied.length} not satisfied` : interactions.length ? "all satisfied" : initial];
  $("result").textContent = parts.filter(Boolean).join(" · ");
  $("result").classList.toggle("unsatisfied", unsatisfied.length > 0);
  const why = unsatisfied.length ? ` ${unsatisfied.length} not satisfied: ${unsatisfied[0].reason}` : "";
  const covers = result.area === null ? `${interactions.length} interactions.` : `${active} covers ${(100 * result.area).toFixed(1)} percent of the photo.`;
  announce(`${covers}${reach && ` ${reach}.`}${why}`);
}

function showLists() {
  const { state } = session;
  if (!state) return;
  showObjects($("objects"), state, {
    switchTo: (name) => act({ do: "switch", name }),
    rename: (name, to) => act({ do: "rename", name, to }),
    remove: (name) => act({ do: "delete", name }),
  });
  const pending = session.pending.flatMap(({ action }) => action.interactions ?? []);
  showInteractions($("interactions"), state, pending, page.project.classes, {
    remove: (index) => act({ do: "remove", index }),
    highlight: (index) => marks.highlight(view, index),
    ...(page.volume?.plane && { place: (each) => page.volume.placeOf(each).text, goTo: (each) => page.volume.goTo(each) }),
  });
  $("interactions-count").textContent = state.interactions.length || "";
  $("interactions-hint").hidden = state.interactions.length > 0 || pending.length > 0;
  const able = { undo: state.can_undo || pending.length, redo: state.can_redo, reset: state.interactions.length || pending.length };
  for (const [id, can] of Object.entries(able)) {
    if (!can && document.activeElement === $(id)) stage.focus();
    $(id).disabled = !can;
  }
  drawMarks();
  const photo = page.photos.all[page.photos.current];
  const interactions = state.objects.reduce((sum, object) => sum + object.interactions, 0);
  if (photo && photo.interactions !== interactions) page.photos.update({ ...photo, interactions });
}
