"""Which pixels of a window a gesture covers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.gestures import Box, Lasso, Paint, Scribble
from interactify.masks.fill import mask_of_polygons
from interactify.pictures.window import Places, Window


def inside(region: Box | Lasso, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels of a window that a box or lasso holds, those that the outline passes through too."""
    within = np.zeros((window.height, window.width), bool)
    if isinstance(region, Box):
        left, right = (int(side) - window.left for side in (region.left, region.right))
        top, bottom = (int(side) - window.top for side in (region.top, region.bottom))
        within[max(0, top) : max(0, bottom + 1), max(0, left) : max(0, right + 1)] = True
        return within
    corners = np.array(region.points, float) + 0.5 - (window.left, window.top)
    within = mask_of_polygons([corners.ravel()], within.shape)
    outline = strewn(_outline(region), window)
    return within if outline is None else within | outline


def held(region: Box | Lasso, places: Places) -> NDArray[np.bool_]:
    """(n,) bool: which of the pixels (n, 2) a region holds; the same as `inside`, for places far apart."""
    xs, ys = places[:, 0], places[:, 1]
    if isinstance(region, Box):
        return (region.left <= xs) & (xs <= region.right) & (region.top <= ys) & (ys <= region.bottom)
    corners = np.array(region.points, np.int64)
    (x1, y1), (x2, y2) = corners.T, np.roll(corners, -1, axis=0).T
    # Each edge turns inside to outside for all to its right, in those of the rows asked for that it crosses.
    rows = np.unique(ys)
    first, last = np.searchsorted(rows, np.minimum(y1, y2)), np.searchsorted(rows, np.maximum(y1, y2))
    edge = np.repeat(np.arange(len(corners)), last - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    slope = (rows[row] - y1[edge]) * (x2 - x1)[edge] / (y2 - y1)[edge]
    turns = row * _ROW + np.ceil(x1[edge] + slope).astype(np.int64)
    turns.sort()
    start = np.searchsorted(rows, ys) * _ROW
    within = (np.searchsorted(turns, start + xs, "right") - np.searchsorted(turns, start)) % 2 == 1
    return within | under(_outline(region), places)


def _outline(region: Lasso) -> Paint:
    """What closes a lasso; without it, one along the photo's last row would leave that row out."""
    return Paint((*region.points, region.points[0]), 1.0)


_ROW: Final = 2**32  # more than a photo has columns


def bounds(region: Box | Lasso) -> Window:
    """The smallest window around a region."""
    if isinstance(region, Box):
        left, top, right, bottom = region.left, region.top, region.right, region.bottom
    else:
        xs, ys = zip(*region.points, strict=True)
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)


def under(stroke: Paint | Scribble, places: Places, least: float = 0.0) -> NDArray[np.bool_]:
    """(n,) bool: which of the pixels (n, 2) lie under a stroke; the same as `strewn`, for places far apart.

    A finer stroke counts as `least` wide.
    """
    reach = max(stroke.width, least) / 2
    order = np.argsort(places[:, 1], kind="stable")
    xs, ys = places[order].T
    found = np.zeros(len(places), bool)
    for (x1, y1), (x2, y2) in _segments(np.array(stroke.points, float)):
        near = slice(*np.searchsorted(ys, (min(y1, y2) - reach, np.nextafter(max(y1, y2) + reach, np.inf))))
        if near.start < near.stop:
            found[near] |= _distance_squared(xs[near], ys[near], (x1, y1), (x2, y2)) <= reach**2
    back = np.empty_like(found)
    back[order] = found
    return back


def strewn(stroke: Paint, window: Window) -> NDArray[np.bool_] | None:
    """(h, w) bool: the pixels of a window whose centres lie under a stroke; None where it passes elsewhere."""
    reach = stroke.width / 2
    points = np.array(stroke.points, float) - (window.left, window.top)
    least, most = points.min(0) - reach, points.max(0) + reach
    if (most < 0).any() or least[0] > window.width - 1 or least[1] > window.height - 1:
        return None
    under = np.zeros((window.height, window.width), bool)
    for (x1, y1), (x2, y2) in _segments(points):
        rows = slice(max(0, math.floor(min(y1, y2) - reach)), max(0, math.ceil(max(y1, y2) + reach) + 1))
        columns = slice(max(0, math.floor(min(x1, x2) - reach)), max(0, math.ceil(max(x1, x2) + reach) + 1))
        part = under[rows, columns]
        if part.size:
            ys = np.arange(rows.start, rows.start + part.shape[0])[:, None]
            xs = np.arange(columns.start, columns.start + part.shape[1])[None]
            part |= _distance_squared(xs, ys, (x1, y1), (x2, y2)) <= reach**2
    return under


def _segments(points: NDArray[np.float64]) -> Iterator[tuple[list[float], list[float]]]:
    """The pieces of a polyline, begin and end; of a single point, itself."""
    ends = points[1:] if len(points) > 1 else points
    return zip(points[: len(ends)].tolist(), ends.tolist(), strict=True)


def _distance_squared(
    xs: NDArray[np.int64], ys: NDArray[np.int64], begin: Sequence[float], end: Sequence[float]
) -> NDArray[np.float64]:
    """Of pixel centres to a segment."""
    (x1, y1), (x2, y2) = begin, end
    length = (x2 - x1) ** 2 + (y2 - y1) ** 2
    share = np.clip(((xs - x1) * (x2 - x1) + (ys - y1) * (y2 - y1)) / length, 0, 1) if length else 0.0
    return np.square(xs - x1 - share * (x2 - x1)) + np.square(ys - y1 - share * (y2 - y1))
