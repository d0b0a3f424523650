// Opens a photo, and accepts pictures that are dropped on the page.

import * as api from "./api.js";
import { $, layers, page, session, stage } from "./page.js";
import { fit, redraw } from "./screen.js";
import { showResult } from "./updates.js";

let opening = null; // of the photo that is being loaded; aborted when another one is opened

export async function openPhoto(number) {
  if (!page.photos.all[number] || (number === page.photos.current && session.state)) return;
  opening?.abort();
  const own = (opening = new AbortController());
  page.photos.show(number);
  history.replaceState(null, "", `#${number + 1}`);
  page.size = null;
  page.crosshair.hide();
  page.gestures.abandon();
  session.number = null;
  session.state = null;
  session.pending = [];
  $("waiting").hidden = false;
  $("waiting").classList.remove("failed");
  $("waiting-text").textContent = `Opening ${page.photos.all[number].name} …`;
  try {
    await (page.volume ? page.volume.open(number, own.signal) : loadPhoto(number, own.signal));
    if (own.signal.aborted) return;
    $("waiting-text").textContent = "Running the network …";
    await session.open(page.photos.all[number]);
    if (!own.signal.aborted) await session.drawing.then(() => session.state && showResult(null));
  } catch (cause) {
    if (own.signal.aborted) return;
    $("waiting").classList.add("failed");
    $("waiting-text").textContent = cause.message;
  }
}

async function loadPhoto(number, signal) {
  const bitmap = await createImageBitmap(await api.image(number, signal));
  if (signal.aborted) return;
  layers.open(bitmap);
  page.size = layers.size;
  stage.setAttribute("aria-label", `Photo ${page.photos.all[number].name}, ${page.size.width} by ${page.size.height} pixels`);
  fit();
  redraw();
}

/** Accepts pictures that are dropped anywhere on the page. */
export function acceptDrops() {
  const dragging = (over) => (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    $("drop").hidden = !over;
  };
  document.addEventListener("dragover", dragging(true));
  document.addEventListener("dragleave", dragging(false));
  document.addEventListener("drop", (event) => {
    dragging(false)(event);
    if (event.dataTransfer?.files.length) page.photos.upload([...event.dataTransfer.files]);
  });
}
