// Turning to a photo, and pictures that are dropped on the page.

import * as api from "./api.js";
import { showResult } from "./answers.js";
import { $, desk, layers, page, stage } from "./page.js";
import { fit, redraw } from "./screen.js";

let opening = null; // of the photo that is on its way; aborted where one turns to another

export async function openPhoto(number) {
  if (!page.photos.all[number] || (number === page.photos.current && desk.told)) return;
  opening?.abort();
  const own = (opening = new AbortController());
  page.photos.show(number);
  history.replaceState(null, "", `#${number + 1}`);
  page.size = null;
  page.crosshair.hide();
  page.gestures.abandon();
  desk.number = null;
  desk.told = null;
  desk.pending = [];
  $("waiting").hidden = false;
  $("waiting").classList.remove("failed");
  $("waiting-text").textContent = `Opening ${page.photos.all[number].name} …`;
  try {
    const bitmap = await createImageBitmap(await api.image(number, own.signal));
    if (own.signal.aborted) return;
    layers.open(bitmap);
    page.size = layers.size;
    stage.setAttribute("aria-label", `Photo ${page.photos.all[number].name}, ${page.size.width} by ${page.size.height} pixels`);
    fit();
    redraw();
    $("waiting-text").textContent = "The network looks at it …";
    await desk.open(page.photos.all[number]);
    if (!own.signal.aborted) await desk.line.then(() => desk.told && showResult(null));
  } catch (cause) {
    if (own.signal.aborted) return;
    $("waiting").classList.add("failed");
    $("waiting-text").textContent = cause.message;
  }
}

/** Takes pictures that are dropped anywhere. */
export function dropping() {
  const over = (shown) => (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    $("drop").hidden = !shown;
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer?.files.length) page.photos.bring([...event.dataTransfer.files]);
  });
}
