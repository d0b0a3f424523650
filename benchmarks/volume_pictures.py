"""Pictures of volumes: three planes with outlines, and curves of IoU, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

TRUTH: Final = (90, 200, 255)
MASK: Final = (255, 90, 40)
LINES: Final = ((255, 90, 40), (40, 120, 220), (40, 160, 80), (150, 80, 200))
HIGH: Final = 192  # pixels of a plane's longer side, about


def three_planes(
    volume: NDArray[Any], truth: NDArray[np.int8], masks: Sequence[NDArray[np.bool_]], at: tuple[int, int, int]
) -> Image.Image:
    """A row for each mask, a column for each plane through the voxel z, y, x: truth blue, mask red.

    Args:
        volume: (D, H, W).
        truth: (D, H, W) int8: 1 object.
        masks: (D, H, W) each.
        at: z, y, x, where the planes meet.
    """
    low, high = np.percentile(volume, (1, 99))
    grey = ((np.clip(volume, low, high) - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    scale = max(1, HIGH // max(volume.shape))
    rows = [[_plane(grey, truth == 1, mask, axis, at[axis], scale) for axis in range(3)] for mask in masks]
    widths = [picture.width for picture in rows[0]]
    high_of = [max(picture.height for picture in row) for row in rows]
    whole = Image.new("RGB", (sum(widths) + 8, sum(high_of) + 4 * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, high_of, strict=True):
        left = 0
        for picture in row:
            whole.paste(picture, (left, top))
            left += picture.width + 4
        top += height + 4
    return whole


def curves(lines: dict[str, Sequence[float]], size: tuple[int, int] = (300, 220)) -> Image.Image:
    """IoU after 0, 1, 2, … clicks: a line for each name. The dotted line is the first mask, without clicks."""
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = 34, 12, size[0] - 8, size[1] - 24
    for tenth in range(0, 11, 2):
        y = bottom - (bottom - top) * tenth / 10
        pen.line((left, y, right, y), fill=(225, 225, 225))
        pen.text((left - 24, y - 6), f"{tenth / 10:.1f}", fill="black")
    most = max(len(line) for line in lines.values()) - 1
    for click in range(most + 1):
        pen.text((left + (right - left) * click / most - 3, bottom + 4), str(click), fill="black")
    for index, (name, line) in enumerate(lines.items()):
        places = [(left + (right - left) * k / most, bottom - (bottom - top) * iou) for k, iou in enumerate(line)]
        pen.line(places, fill=LINES[index % len(LINES)], width=2)
        pen.text((right - 110, bottom - 16 - 13 * index), name, fill=LINES[index % len(LINES)])
        if index == 0:
            for x in range(left, right, 6):
                pen.line((x, places[0][1], x + 2, places[0][1]), fill=(120, 120, 120))
    return picture


def beside(one: Image.Image, other: Image.Image) -> Image.Image:
    """Two pictures side by side on white."""
    whole = Image.new("RGB", (one.width + 12 + other.width, max(one.height, other.height)), "white")
    whole.paste(one, (0, 0))
    whole.paste(other, (one.width + 12, 0))
    return whole


def _plane(
    grey: NDArray[np.uint8], truth: NDArray[np.bool_], mask: NDArray[np.bool_], axis: int, at: int, scale: int
) -> Image.Image:
    """One plane, its voxels `scale` pixels wide, with the outlines of both."""
    own = np.repeat(np.repeat(np.take(grey, at, axis), scale, 0), scale, 1)
    colours = np.stack([own] * 3, -1)
    for region, colour in ((truth, TRUTH), (mask, MASK)):
        large = np.repeat(np.repeat(np.take(region, at, axis), scale, 0), scale, 1)
        colours[large & ~binary_erosion(large)] = colour
    return Image.fromarray(colours)
