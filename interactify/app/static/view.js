// The position of the photo on the screen: zoom and pan, and coordinates from one to the other.

const MAX_SCALE = 24; // screen pixels for a photo pixel

export class View {
  constructor() {
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
  }

  /** The photo as large as it fits, its pixels no larger than `most`. */
  fit(stage, photo, margin = 20, most = 4) {
    const scale = Math.min((stage.width - 2 * margin) / photo.width, (stage.height - 2 * margin) / photo.height);
    this.scale = this.least = Math.max(0.005, Math.min(scale, most));
    this.x = (stage.width - photo.width * this.scale) / 2;
    this.y = (stage.height - photo.height * this.scale) / 2;
    this.fitted = true;
  }

  /** Zooms so that the point at (x, y) on the screen stays there. */
  zoom(factor, x, y) {
    const scale = Math.min(MAX_SCALE, Math.max(this.least / 4, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
  }

  pan(dx, dy, stage, photo) {
    const least = 40; // screen pixels of the photo that stay visible
    this.x = Math.min(stage.width - least, Math.max(least - photo.width * this.scale, this.x + dx));
    this.y = Math.min(stage.height - least, Math.max(least - photo.height * this.scale, this.y + dy));
    this.fitted = false;
  }

  /** The part of the photo on the stage, and its pixels for each screen pixel (1.9 counts as 2), as [left, top, width, height, step]; null where it is outside. */
  viewport(stage, photo, ratio) {
    const [left, right] = [-this.x, stage.width - this.x].map((x) => clamp(Math.floor(x / this.scale), 0, photo.width - 1));
    const [top, bottom] = [-this.y, stage.height - this.y].map((y) => clamp(Math.floor(y / this.scale), 0, photo.height - 1));
    if (right <= left || bottom <= top) return null;
    return [left, top, right - left + 1, bottom - top + 1, Math.max(1, Math.floor(1 / (this.scale * ratio) + 0.1))];
  }

  /** The photo's pixel at a point on the screen: whole numbers, which may be outside the photo. */
  pixel(x, y) {
    return [Math.floor((x - this.x) / this.scale), Math.floor((y - this.y) / this.scale)];
  }

  /** The point on the screen of a pixel's centre. */
  toScreen(x, y) {
    return [(x + 0.5) * this.scale + this.x, (y + 0.5) * this.scale + this.y];
  }
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
