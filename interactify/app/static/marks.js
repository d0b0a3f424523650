// Interactions drawn over the photo: discs with a sign, strokes and outlines, and a badge where one is not satisfied.

const SVG = "http://www.w3.org/2000/svg";
const NEAR = 14; // a mark within so many screen pixels is at the pointer

function shape(kind, attributes, parent) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

export class Marks {
  constructor(svg) {
    this.svg = svg;
    this.interactions = [];
    this.pending = [];
    this.highlighted = -1;
  }

  /** Draws the interactions that the server reports, then the pending ones. */
  draw(view, interactions = this.interactions, pending = this.pending) {
    this.interactions = interactions;
    this.pending = pending;
    this.svg.replaceChildren();
    interactions.forEach((each, index) => this.#mark(view, each, index === this.highlighted ? "highlighted" : ""));
    pending.forEach((each) => this.#mark(view, each, "pending"));
  }

  /** The index of the mark at a point on the screen, the latest of several; -1 where there is none. */
  at(view, x, y) {
    let best = -1;
    let least = NEAR;
    this.interactions.forEach((each, index) => {
      if (each.hidden || each.faint) return; // of other slices
      const away = distance(outline(view, each), x, y, each.kind === "box" || each.kind === "lasso");
      if (away <= least) [best, least] = [index, away];
    });
    return best;
  }

  highlight(view, index) {
    if (index === this.highlighted) return;
    this.highlighted = index;
    this.draw(view);
  }

  #mark(view, each, state) {
    if (each.hidden) return;
    const sign = each.kind === "box" || each.kind === "lasso" ? "region" : each.positive ? "yes" : "no";
    const group = shape("g", { class: `mark ${each.kind} ${sign} ${each.state ?? ""} ${state}${each.faint ? " faint" : ""}` }, this.svg);
    const points = outline(view, each);
    const path = points.map((point) => point.map((part) => part.toFixed(1)).join(",")).join(" ");
    const [x, y] = points[0];
    if (each.kind === "click") {
      this.#disc(group, x, y, each.positive);
    } else if (sign === "region") {
      shape("polygon", { points: path, class: "rim" }, group);
      shape("polygon", { points: path, class: "line" }, group);
    } else {
      const width = each.kind === "paint" ? Math.max(3, each.width * view.scale) : 4;
      shape("polyline", { points: points.length > 1 ? path : `${path} ${path}`, class: "stroke", "stroke-width": width }, group);
      if (each.kind === "scribble") this.#disc(group, x, y, each.positive);
    }
    if (each.state === "unsatisfied") {
      const badge = shape("g", { class: "badge", transform: `translate(${x + 9},${y - 9})` }, group);
      shape("circle", { r: 7 }, badge);
      shape("path", { d: "M0-3.500v4M0 3v.1" }, badge);
    }
    if (each.reason) shape("title", {}, group).textContent = each.reason;
  }

  #disc(group, x, y, positive) {
    const disc = shape("g", { class: "disc", transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` }, group);
    shape("circle", { r: 11, class: "halo" }, disc);
    shape("circle", { r: 7.5, class: "body" }, disc);
    shape("path", { d: positive ? "M-3.500 0h7M0-3.500v7" : "M-3.500 0h7", class: "sign" }, disc);
  }
}

/** The corners of an interaction on the screen. */
export function outline(view, each) {
  if (each.kind === "click") return [view.toScreen(each.x, each.y)];
  if (each.kind !== "box") return each.points.map(([x, y]) => view.toScreen(x, y));
  const [left, top] = view.toScreen(each.left - 0.5, each.top - 0.5);
  const [right, bottom] = view.toScreen(each.right + 0.5, each.bottom + 0.5);
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

function distance(points, x, y, closed) {
  if (points.length === 1) return Math.hypot(points[0][0] - x, points[0][1] - y);
  const ends = closed ? [...points, points[0]] : points;
  let least = Infinity;
  for (let k = 1; k < ends.length; k++) {
    const [[ax, ay], [bx, by]] = [ends[k - 1], ends[k]];
    const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const along = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
    least = Math.min(least, Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y));
  }
  return least;
}
