// A crosshair for the keyboard: arrow keys move it over the photo, Enter adds an interaction there.

import { clamp } from "./view.js";

export class Crosshair {
  /** @param svg to draw into; @param hooks size(), view, tool(), add(interaction), announce(text), inside(x, y), label(), brush(), crosshairMoved() */
  constructor(svg, hooks) {
    Object.assign(this, { svg, hooks, at: null, corners: [] });
  }

  /** Moves by screen pixels, or by photo pixels where `fine`. */
  move(dx, dy, fine) {
    const { width, height } = this.hooks.size();
    const step = fine ? 1 : Math.max(1, Math.round(8 / this.hooks.view.scale));
    const [x, y] = this.at ?? [Math.round(width / 2) - dx * step, Math.round(height / 2) - dy * step];
    this.at = [clamp(x + dx * step, 0, width - 1), clamp(y + dy * step, 0, height - 1)];
    this.hooks.crosshairMoved();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const [px, py] = this.at;
      this.hooks.announce(`x ${px}, y ${py}, ${this.hooks.inside(px, py) ? "inside" : "outside"} the mask`);
    }, 350);
  }

  hide() {
    clearTimeout(this.timer);
    this.at = null;
    this.corners = [];
    this.hooks.crosshairMoved();
  }

  /** Uses the current tool at the crosshair; `negative` with Shift. */
  enter(negative) {
    if (!this.at) return this.move(0, 0, true);
    clearTimeout(this.timer); // the result is announced, not the position
    const [x, y] = this.at;
    const tool = this.hooks.tool();
    if (tool === "point") {
      const label = this.hooks.label();
      this.hooks.add({ kind: "click", x, y, positive: !negative, ...(label === null ? {} : { label }) });
    } else if (tool === "erase" || tool === "restore") {
      const width = clamp(this.hooks.brush() / this.hooks.view.scale, 1, 500);
      this.hooks.add({ kind: "paint", points: [[x, y]], width, positive: tool === "restore" });
    } else this.#corner([x, y], tool, negative);
  }

  #corner(point, tool, closes) {
    this.corners.push(point);
    const [first, second] = this.corners;
    if (tool === "box" && second) {
      this.hooks.add({
        kind: "box",
        left: Math.min(first[0], second[0]),
        top: Math.min(first[1], second[1]),
        right: Math.max(first[0], second[0]),
        bottom: Math.max(first[1], second[1]),
      });
      this.corners = [];
    } else if (tool === "lasso" && closes && this.corners.length > 2) {
      this.hooks.add({ kind: "lasso", points: this.corners });
      this.corners = [];
    } else {
      const how = tool === "box" ? "Enter sets the opposite corner." : "Shift+Enter closes the lasso.";
      this.hooks.announce(`Corner ${this.corners.length} at x ${point[0]}, y ${point[1]}. ${how}`);
    }
    this.hooks.crosshairMoved();
  }

  draw() {
    this.svg.querySelector(".crosshair")?.remove();
    if (!this.at) return;
    const view = this.hooks.view;
    const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    group.setAttribute("class", "crosshair");
    const [x, y] = view.toScreen(...this.at);
    const line = (d, kind) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      path.setAttribute("class", kind);
      group.append(path);
    };
    const arms = `M${x - 22} ${y}h16M${x + 6} ${y}h16M${x} ${y - 22}v16M${x} ${y + 6}v16`;
    line(arms, "under");
    line(arms, "over");
    if (this.corners.length) line(`M${this.corners.map((corner) => view.toScreen(...corner).join(" ")).join("L")}L${x} ${y}`, "over");
    this.svg.append(group);
  }
}
