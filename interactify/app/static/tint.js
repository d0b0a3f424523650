// Draws a mask over the photo: tinted, with an outline, in a colour.
//
// Without a graphics card, browsers copy a canvas when a part of it changes after it was drawn from. So the canvases
// here are no larger than the visible area, are cleared as a whole, and are not moved by fractions of a pixel.

const REACH = 4; // screen pixels beyond a mask that its outline may cover
const AROUND = [[1, 1], [-1, 1], [1, -1], [-1, -1]];
const BLOCK = 32; // pixels to which the sides of the canvases are rounded up, so that they are rarely resized

export class Tint {
  constructor() {
    [this.stencil, this.ring] = [0, 1].map(() => document.createElement("canvas").getContext("2d"));
  }

  /** Draws onto `to`, within `area`, the white shape of `draw(context)` in a colour; the active object has a dark rim. */
  draw(to, draw, area, ratio, colour, { fills, opacity, active }) {
    const around = grown(area, Math.ceil(REACH * ratio), to.canvas);
    const { stencil, ring } = this;
    const [left, top, width, height] = around;
    const inner = [area[0] - left, area[1] - top, area[2], area[3]]; // of the stencil and the ring
    this.cut(draw, around);
    if (!(active && fills)) dye(stencil, width, height, colour);
    cleared(ring, width, height);
    if (active) {
      ring.globalAlpha = 0.67;
      this.#spread(1.7 * ratio);
      ring.globalAlpha = 1;
      dye(ring, width, height, "#000");
    }
    this.#spread((active ? 1 : 0.8) * ratio);
    ring.globalCompositeOperation = "destination-out";
    ring.drawImage(stencil.canvas, 0, 0);
    if (fills) {
      if (active) dye(stencil, width, height, colour);
      to.globalAlpha = opacity * (active ? 1 : 0.75);
      to.drawImage(stencil.canvas, ...inner, ...area);
      to.globalAlpha = 1;
    }
    to.drawImage(ring.canvas, ...inner, ...area);
  }

  /** The stencil of the shape of `draw` within an area; its corner is the area's. */
  cut(draw, [left, top, width, height]) {
    cleared(this.stencil, width, height);
    this.stencil.translate(-left, -top);
    clipped(this.stencil, [left, top, width, height], draw);
    this.stencil.translate(left, top);
    return this.stencil.canvas;
  }

  /** Draws the stencil four times, shifted to the corners. */
  #spread(reach) {
    const by = Math.max(1, Math.round(reach)); // whole pixels: resampling would take five times as long
    for (const [dx, dy] of AROUND) this.ring.drawImage(this.stencil.canvas, dx * by, dy * by);
  }
}

/** Makes a canvas empty, and large enough. */
function cleared(context, width, height) {
  const { canvas } = context;
  const [wide, high] = [width, height].map((side) => Math.ceil(side / BLOCK) * BLOCK);
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, wide, high);
}

/** Colours everything drawn so far. */
function dye(context, width, height, colour) {
  context.globalCompositeOperation = "source-atop";
  context.fillStyle = colour;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
}

/** Draws within an area only. */
export function clipped(context, area, draw) {
  context.save();
  context.beginPath();
  context.rect(...area);
  context.clip();
  draw(context);
  context.restore();
}

/** An area of a canvas with a margin, in whole pixels of it. */
export function grown([left, top, width, height], margin, { width: most, height: highest }) {
  const [x, y] = [Math.max(0, Math.floor(left) - margin), Math.max(0, Math.floor(top) - margin)];
  return [x, y, Math.max(0, Math.min(most, Math.ceil(left + width) + margin) - x), Math.max(0, Math.min(highest, Math.ceil(top + height) + margin) - y)];
}
