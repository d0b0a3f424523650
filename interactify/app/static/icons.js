// The page's icons, drawn as strokes in the colour of the text around them.

const PATHS = {
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  undo: "M8 5L4 9l4 4M4 9h9a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 000 12h3",
  reset: "M5 12a7 7 0 107-7 8 8 0 00-5.5 2.2M6 3v5h5",
  export: "M12 4v11M7.5 11L12 15.5 16.500 11M5 20h14",
  help: "M9 9a3 3 0 115 2.200c-1.200 1-2 1.500-2 3.300M12 18.500v.1",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  yes: "M12 3.500a8.500 8.500 0 100 17 8.500 8.500 0 000-17zM12 8v8M8 12h8",
  no: "M12 3.500a8.500 8.500 0 100 17 8.500 8.500 0 000-17zM8 12h8",
  closer: "M10.500 4a6.500 6.500 0 100 13 6.500 6.500 0 000-13zM15.500 15.500L20 20M10.500 8v5M8 10.500h5",
  away: "M10.500 4a6.500 6.500 0 100 13 6.500 6.500 0 000-13zM15.500 15.500L20 20M8 10.500h5",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  point: "M6 4l13 6.500-5.500 2L11 18z",
  scribble: "M4 17c3-9 6-9 6-4s3 5 5 0 3-5 5-2",
  box: "M5 6h14v12H5z",
  lasso: "M12 4c5 0 8 2.500 8 5.500S17 15 12 15s-8-2.500-8-5.500S7 4 12 4zM8 14.500c-2 2-1 4.500-3 5.500",
  erase: "M9 19l-5-5L14 4l6 6-9 9zM9 9l6 6M9 19h11",
  paint: "M19 4c-5 2-9 6-10 9l2 2c3-1 7-5 9-10zM9 13c-3 0-4 2-4 6 3 0 6-1 6-4",
  close: "M6 6l12 12M18 6L6 18",
  rename: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  check: "M5 12.500l4.500 4.500L19 7",
  skip: "M5 6l7 6-7 6zM13 6l7 6-7 6z",
};

/** An icon as an SVG element. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Inserts the icons that the page's HTML names. */
export function insertIcons(root = document) {
  for (const element of root.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
}
