"""Which pixels of a window a gesture covers, and where the points lie by which the network is told of it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.export.filling import mask_of_polygons
from interactify.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.window import Places, Window

ALONG: Final = 24  # points of a scribble by which the network is told, at most
APART: Final = 1 / 96  # of the photo's longer side: how far they lie apart, at least
BESIDE: Final = 0.12  # of a box's sides: how far outside it the points lie that say so
ACROSS: Final = 16  # points of a mask along the longer side of the grid that it is told by


def inside(region: Box | Lasso, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels of a window that a box or lasso holds, its outline included in a box."""
    within = np.zeros((window.height, window.width), bool)
    if isinstance(region, Box):
        left, right = (int(side) - window.left for side in (region.left, region.right))
        top, bottom = (int(side) - window.top for side in (region.top, region.bottom))
        within[max(0, top) : max(0, bottom + 1), max(0, left) : max(0, right + 1)] = True
        return within
    corners = np.array(region.points, float) + 0.5 - (window.left, window.top)
    return mask_of_polygons([corners.ravel()], within.shape)


def holds(region: Box | Lasso, x: int, y: int) -> bool:
    """Whether a region holds a pixel."""
    return bool(inside(region, Window(y, x, 1, 1))[0, 0])


def bounds(region: Box | Lasso) -> Window:
    """The smallest window around a region."""
    if isinstance(region, Box):
        left, top, right, bottom = region.left, region.top, region.right, region.bottom
    else:
        xs, ys = zip(*region.points, strict=True)
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)


def strewn(stroke: Paint, window: Window) -> NDArray[np.bool_] | None:
    """(h, w) bool: the pixels of a window whose centres lie under a stroke; None where it passes elsewhere."""
    reach = stroke.width / 2
    points = np.array(stroke.points, float) - (window.left, window.top)
    least, most = points.min(0) - reach, points.max(0) + reach
    if (most < 0).any() or least[0] > window.width - 1 or least[1] > window.height - 1:
        return None
    under = np.zeros((window.height, window.width), bool)
    ends = points[1:] if len(points) > 1 else points
    for (x1, y1), (x2, y2) in zip(points[: len(ends)].tolist(), ends.tolist(), strict=True):
        rows = slice(max(0, math.floor(min(y1, y2) - reach)), max(0, math.ceil(max(y1, y2) + reach) + 1))
        columns = slice(max(0, math.floor(min(x1, x2) - reach)), max(0, math.ceil(max(x1, x2) + reach) + 1))
        part = under[rows, columns]
        if part.size:
            ys = np.arange(rows.start, rows.start + part.shape[0])[:, None]
            xs = np.arange(columns.start, columns.start + part.shape[1])[None]
            part |= _distance_squared(xs, ys, (x1, y1), (x2, y2)) <= reach**2
    return under


def along(scribble: Scribble, photo_size: tuple[int, int]) -> Places:
    """(n, 2) pixels along a scribble, evenly, from end to end; of a wide one also towards its sides."""
    points = np.array(scribble.points, float)
    lengths = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.zeros(0)
    total = float(lengths.sum())
    apart = max(1.0, max(photo_size) * APART)
    count = 1 if total == 0 else min(ALONG, max(2, round(total / apart) + 1))
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, total, count)
    middle = np.stack([np.interp(at, travelled, points[:, axis]) for axis in (0, 1)], 1) if total else points[:1]
    sides = [middle]
    aside = 0.35 * scribble.width  # of the stroke's half width, 0.7
    if aside >= apart / 2:
        ahead = np.gradient(middle, axis=0) if count > 1 else np.array([[1.0, 0.0]])
        normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        sides += [middle + aside * normal, middle - aside * normal]
    height, width = photo_size
    found = np.floor(np.concatenate(sides) + 0.5).astype(np.int64)
    found = found[(found >= 0).all(1) & (found[:, 0] < width) & (found[:, 1] < height)]
    _, first = np.unique(found, axis=0, return_index=True)
    return found[np.sort(first)]


def beside(region: Box | Lasso, photo_size: tuple[int, int]) -> Places:
    """(n, 2) pixels around a region that are not the object, where the photo goes on there."""
    box = bounds(region)
    right, bottom = box.left + box.width - 1, box.top + box.height - 1
    height, width = photo_size
    across, down = (round(BESIDE * side) for side in (box.width, box.height))
    xs = [max(0, box.left - across), (box.left + right) // 2, min(width - 1, right + across)]
    ys = [max(0, box.top - down), (box.top + bottom) // 2, min(height - 1, bottom + down)]
    outside = [(x, y) for x, y in dict.fromkeys((x, y) for x in xs for y in ys) if not holds(region, x, y)]
    return np.array(outside, np.int64).reshape(-1, 2)


def centre(region: Box | Lasso) -> tuple[int, int]:
    """The pixel deepest inside a region."""
    box = bounds(region)
    if isinstance(region, Box):
        return box.left + (box.width - 1) // 2, box.top + (box.height - 1) // 2
    within = inside(region, box)
    if not within.any():  # a sliver, in which no pixel's centre lies
        return int(region.points[0][0]), int(region.points[0][1])
    depth = ndimage.distance_transform_edt(np.pad(within, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x) + box.left, int(y) + box.top


def grid(mask: Mask) -> tuple[Places, NDArray[np.bool_]]:
    """(n, 2) pixels on a grid over a mask, and their labels; the object's own box is covered as finely as the photo."""
    height, width = mask.mask.shape
    rows, columns = np.flatnonzero(mask.mask.any(1)), np.flatnonzero(mask.mask.any(0))
    spans = [(0, height, 0, width)]
    if len(rows):
        spans.append((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    found = []
    for top, bottom, left, right in spans:
        step = max(bottom - top, right - left) / ACROSS
        ys = np.unique(np.arange(top + step / 2, bottom, max(1.0, step)).astype(int))
        xs = np.unique(np.arange(left + step / 2, right, max(1.0, step)).astype(int))
        found.append(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2))
    places = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    return places, mask.mask[places[:, 1], places[:, 0]]


def _distance_squared(
    xs: NDArray[np.int64], ys: NDArray[np.int64], begin: tuple[float, float], end: tuple[float, float]
) -> NDArray[np.float64]:
    """Of pixel centres to a segment."""
    (x1, y1), (x2, y2) = begin, end
    length = (x2 - x1) ** 2 + (y2 - y1) ** 2
    share = np.clip(((xs - x1) * (x2 - x1) + (ys - y1) * (y2 - y1)) / length, 0, 1) if length else 0.0
    return np.square(xs - x1 - share * (x2 - x1)) + np.square(ys - y1 - share * (y2 - y1))
