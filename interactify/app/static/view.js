// Where the photo lies on the screen: zoom and shift, and from one's coordinates to the other's.

const CLOSEST = 24; // screen pixels a photo pixel becomes at most

export class View {
  constructor() {
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
  }

  /** The photo as large as it fits. */
  fit(stage, photo, margin = 20) {
    const scale = Math.min((stage.width - 2 * margin) / photo.width, (stage.height - 2 * margin) / photo.height);
    this.scale = this.least = Math.max(0.005, Math.min(scale, 4));
    this.x = (stage.width - photo.width * this.scale) / 2;
    this.y = (stage.height - photo.height * this.scale) / 2;
    this.fitted = true;
  }

  /** Zooms so that what is at (x, y) on the screen stays there. */
  zoom(factor, x, y) {
    const scale = Math.min(CLOSEST, Math.max(this.least / 4, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
  }

  pan(dx, dy, stage, photo) {
    const least = 40; // screen pixels of the photo that stay in sight
    this.x = Math.min(stage.width - least, Math.max(least - photo.width * this.scale, this.x + dx));
    this.y = Math.min(stage.height - least, Math.max(least - photo.height * this.scale, this.y + dy));
    this.fitted = false;
  }

  /** What of the photo a stage shows, and how many of its pixels there are to one of the screen's (at 1.9 it is taken for 2); null where none is. */
  sight(stage, photo, ratio) {
    const [left, right] = [-this.x, stage.width - this.x].map((x) => clamp(Math.floor(x / this.scale), 0, photo.width - 1));
    const [top, bottom] = [-this.y, stage.height - this.y].map((y) => clamp(Math.floor(y / this.scale), 0, photo.height - 1));
    if (right <= left || bottom <= top) return null;
    return [left, top, right - left + 1, bottom - top + 1, Math.max(1, Math.floor(1 / (this.scale * ratio) + 0.1))];
  }

  /** The photo's pixel under a place on the screen: whole numbers, which may lie outside of the photo. */
  pixel(x, y) {
    return [Math.floor((x - this.x) / this.scale), Math.floor((y - this.y) / this.scale)];
  }

  /** Where a pixel's centre is on the screen. */
  place(x, y) {
    return [(x + 0.5) * this.scale + this.x, (y + 0.5) * this.scale + this.y];
  }
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
