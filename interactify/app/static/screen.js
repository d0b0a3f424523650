// What is drawn: the photo, what lies over it, the marks, and where one is.

import { colourOf } from "./layers.js";
import { $, desk, layers, marks, page, stage, view } from "./page.js";

function drawn() {
  if (!desk.told) return [];
  const objects = desk.told.objects.map(({ name, said }, index) => ({ name, said, colour: colourOf(index), active: name === desk.told.active }));
  return objects.filter((object) => object.said || object.active).sort((a, b) => a.active - b.active);
}

export const drawOverlay = () => layers.drawOverlay(view, drawn());

const waiting = []; // what is to be told once the overlay is drawn

/** Draws the overlay with the screen's next frame, once for all that asked for it; then tells them. */
export function drawSoon(told) {
  waiting.push(told);
  if (waiting.length > 1) return;
  requestAnimationFrame(() => {
    drawOverlay();
    for (const each of waiting.splice(0)) each();
  });
}

/** Draws the overlay at once, so that it is done by the screen's next frame; tells when that has come. */
export function drawNow(told) {
  drawOverlay();
  requestAnimationFrame(told);
}

export function drawMarks() {
  const pending = desk.pending.flatMap(({ action }) => action.interactions ?? []);
  marks.draw(view, desk.told?.interactions ?? [], page.draft ? [...pending, page.draft] : pending);
  page.crosshair.draw();
}

export function redraw() {
  layers.drawPhoto(view);
  drawOverlay();
  drawMarks();
  showWhere();
}

export function fit() {
  if (page.size) view.fit(stage.getBoundingClientRect(), page.size, stage.clientWidth < 700 ? 8 : 20);
}

export function showWhere() {
  $("zoom").textContent = page.size ? `${Math.round(view.scale * 100)} %` : "";
  const [x, y] = page.crosshair.at ?? (page.hovered && page.size ? view.pixel(...page.hovered) : [-1, -1]);
  $("where").textContent = page.size && x >= 0 && y >= 0 && x < page.size.width && y < page.size.height ? `${x}, ${y}` : "";
}

function resized() {
  const { width, height } = stage.getBoundingClientRect();
  layers.resize(width, height, window.devicePixelRatio || 1);
  $("marks").setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (view.fitted) fit();
  redraw();
}
new ResizeObserver(resized).observe(stage);

/** On another screen, or at another zoom of the browser, a pixel is of another size. */
function watchPixels() {
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => { resized(); watchPixels(); }, { once: true });
}
watchPixels();

export function paper() {
  layers.style.paper = getComputedStyle(stage).getPropertyValue("--paper").trim();
  drawOverlay();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paper);
