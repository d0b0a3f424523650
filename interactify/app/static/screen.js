// Drawing: the photo, the overlay of masks, the marks, and the pointer's position.

import { colourOf } from "./layers.js";
import { $, layers, marks, page, session, stage, view } from "./page.js";

function visibleObjects() {
  if (!session.state) return [];
  const objects = session.state.objects.map(({ name, interactions }, index) => ({ name, interactions, colour: colourOf(index), active: name === session.state.active }));
  return objects.filter((object) => object.interactions || object.active).sort((a, b) => a.active - b.active);
}

export const drawOverlay = () => layers.drawOverlay(view, visibleObjects());

const callbacks = []; // to call when the overlay is drawn

/** Draws the overlay with the screen's next frame, once for all callers; then calls back. */
export function drawSoon(callback) {
  callbacks.push(callback);
  if (callbacks.length > 1) return;
  requestAnimationFrame(() => {
    drawOverlay();
    for (const each of callbacks.splice(0)) each();
  });
}

/** Draws the overlay at once, for the screen's next frame; calls back then. */
export function drawNow(callback) {
  drawOverlay();
  requestAnimationFrame(callback);
}

export function drawMarks() {
  const pending = session.pending.filter(({ cut }) => cut === page.volume?.cut).flatMap(({ action }) => action.interactions ?? []);
  const interactions = session.state?.interactions ?? [];
  marks.draw(view, page.volume?.plane ? page.volume.marks(interactions) : interactions, page.draft ? [...pending, page.draft] : pending);
  page.crosshair.draw();
}

export function redraw() {
  layers.drawPhoto(view);
  drawOverlay();
  drawMarks();
  showPosition();
}

export function fit() {
  if (page.size) view.fit(stage.getBoundingClientRect(), page.size, stage.clientWidth < 700 ? 8 : 20, page.volume ? 12 : 4);
}

export function showPosition() {
  $("zoom").textContent = page.size ? `${Math.round(view.scale * 100)} %` : "";
  const [x, y] = page.crosshair.at ?? (page.hovered && page.size ? view.pixel(...page.hovered) : [-1, -1]);
  $("position").textContent = page.size && x >= 0 && y >= 0 && x < page.size.width && y < page.size.height ? page.volume?.where(x, y) ?? `${x}, ${y}` : "";
}

function resized() {
  const { width, height } = stage.getBoundingClientRect();
  layers.resize(width, height, window.devicePixelRatio || 1);
  $("marks").setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (view.fitted) fit();
  redraw();
}
new ResizeObserver(resized).observe(stage);

/** A pixel changes its size on another screen, or at another zoom of the browser. */
function watchPixels() {
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => { resized(); watchPixels(); }, { once: true });
}
watchPixels();

export function readPaper() {
  layers.style.paper = getComputedStyle(stage).getPropertyValue("--paper").trim();
  drawOverlay();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readPaper);
