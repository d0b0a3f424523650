"""Which pixels of a window, or of a list of points, an interaction covers; of strokes also voxels, (n, 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.gestures import Box, Lasso, Paint, Scribble
from interactify.masks.fill import mask_of_polygons, pixels_enclosed
from interactify.pictures.window import Pixels, Window


def region_mask(region: Box | Lasso, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels of a window inside a box or lasso, including those that its outline passes through."""
    within = np.zeros((window.height, window.width), bool)
    if isinstance(region, Box):
        left, right = (int(side) - window.left for side in (region.left, region.right))
        top, bottom = (int(side) - window.top for side in (region.top, region.bottom))
        within[max(0, top) : max(0, bottom + 1), max(0, left) : max(0, right + 1)] = True
        return within
    within = mask_of_polygons([_corners(region) - (window.left, window.top)], within.shape)
    outline = stroke_mask(_outline(region), window)
    return within if outline is None else within | outline


def points_inside(region: Box | Lasso, points: Pixels) -> NDArray[np.bool_]:
    """(n,) bool: which of the pixels (n, 2) are inside a region; the same as `region_mask`, for pixels far apart."""
    xs, ys = points[:, 0], points[:, 1]
    if isinstance(region, Box):
        return (region.left <= xs) & (xs <= region.right) & (region.top <= ys) & (ys <= region.bottom)
    return pixels_enclosed(_corners(region), points) | points_under(_outline(region), points)


def _corners(region: Lasso) -> NDArray[np.float64]:
    """(N, 2): corners counted from the upper left corner of the first pixel, as polygons are, not from its centre."""
    return np.array(region.points, float) + 0.5


def _outline(region: Lasso) -> Paint:
    """The closed outline of a lasso; without it, a lasso along the photo's last row would leave that row out."""
    return Paint((*region.points, region.points[0]), 1.0)


def bounds(region: Box | Lasso) -> Window:
    """The smallest window around a region."""
    if isinstance(region, Box):
        left, top, right, bottom = region.left, region.top, region.right, region.bottom
    else:
        xs, ys = zip(*region.points, strict=True)
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)


def points_under(stroke: Paint | Scribble, points: Pixels, least: float = 0.0) -> NDArray[np.bool_]:
    """(n,) bool: which of the pixels (n, 2) lie under a stroke; the same as `stroke_mask`, for pixels far apart.

    A stroke finer than `least` counts as `least` wide. Of a stroke in space the points are voxels, (n, 3).
    """
    return points_near(stroke.points, max(stroke.width, least) / 2, points)


def points_near(line: Sequence[Sequence[float]], reach: float, points: Pixels) -> NDArray[np.bool_]:
    """(n,) bool: which of the points (n, 2) or (n, 3) are at most `reach` away from a polyline of as many sides."""
    order = np.argsort(points[:, 1], kind="stable")
    axes = points[order].T
    under = np.zeros(len(points), bool)
    for start, end in _segments(np.array(line, float)):
        low, high = sorted((start[1], end[1]))
        near = slice(*np.searchsorted(axes[1], (low - reach, np.nextafter(high + reach, np.inf))))
        if near.start < near.stop:
            under[near] |= _distance_squared(axes[:, near], start, end) <= reach**2
    back = np.empty_like(under)
    back[order] = under
    return back


def stroke_mask(stroke: Paint, window: Window) -> NDArray[np.bool_] | None:
    """(h, w) bool: the pixels of a window whose centres lie under a stroke; None where it does not touch the window."""
    reach = stroke.width / 2
    points = np.array(stroke.points, float) - (window.left, window.top)
    least, most = points.min(0) - reach, points.max(0) + reach
    if (most < 0).any() or least[0] > window.width - 1 or least[1] > window.height - 1:
        return None
    under = np.zeros((window.height, window.width), bool)
    for start, end in _segments(points):
        (x1, y1), (x2, y2) = start, end
        rows = slice(max(0, math.floor(min(y1, y2) - reach)), max(0, math.ceil(max(y1, y2) + reach) + 1))
        columns = slice(max(0, math.floor(min(x1, x2) - reach)), max(0, math.ceil(max(x1, x2) + reach) + 1))
        part = under[rows, columns]
        if part.size:
            ys = np.arange(rows.start, rows.start + part.shape[0])[:, None]
            xs = np.arange(columns.start, columns.start + part.shape[1])[None]
            part |= _distance_squared((xs, ys), start, end) <= reach**2
    return under


def _segments(points: NDArray[np.float64]) -> Iterator[tuple[list[float], list[float]]]:
    """The pieces of a polyline, as start and end; a single point is a piece by itself."""
    ends = points[1:] if len(points) > 1 else points
    return zip(points[: len(ends)].tolist(), ends.tolist(), strict=True)


def _distance_squared(
    axes: Iterable[NDArray[np.int64]], start: Sequence[float], end: Sequence[float]
) -> NDArray[np.float64]:
    """From pixel centres to a segment; `axes` are their xs and ys, and zs for voxels."""
    ways = [(at - first, last - first) for at, first, last in zip(axes, start, end, strict=True)]
    length = sum(way**2 for _, way in ways)
    share = np.clip(sum(at * way for at, way in ways) / length, 0, 1) if length else 0.0
    return np.asarray(sum(np.square(at - share * way) for at, way in ways))
