"""Which pixels of a window a gesture covers, and where the points lie by which the network is told of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.export.filling import mask_of_polygons
from interactify.gestures import MOST, Box, Lasso, Mask, Paint, Scribble
from interactify.window import Places, Window

ALONG: Final = 24  # points of a scribble by which the network is told, at most
APART: Final = 1 / 96  # of the photo's longer side: how far they lie apart, at least
BESIDE: Final = 0.12  # of a box's sides: how far outside it the points lie that say so
DEEP: Final = 1024  # pixels along the longer side of a lasso, at most, among which the deepest is looked for
ACROSS: Final = 16  # points of a mask along the longer side of the grid that it is told by


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


def along(scribble: Scribble, photo_size: tuple[int, int]) -> Places:
    """(n, 2) pixels along a scribble, evenly, from end to end; of a wide one also towards its sides."""
    apart = max(1.0, max(photo_size) * APART)
    middle = _evenly(scribble, apart, ALONG)
    count = len(middle)
    places = _nearest(middle)
    aside = 0.35 * scribble.width  # of the stroke's half width, 0.7
    if aside >= apart / 2:
        ahead = np.gradient(middle, axis=0) if count > 1 else np.array([[1.0, 0.0]])
        normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        sides = _nearest(np.concatenate([middle + aside * normal, middle - aside * normal]))
        places = np.concatenate([places, sides[under(scribble, sides)]])
    height, width = photo_size
    places = places[(places >= 0).all(1) & (places[:, 0] < width) & (places[:, 1] < height)]
    _, first = np.unique(places, axis=0, return_index=True)
    return places[np.sort(first)]


def traced(scribble: Scribble) -> Places:
    """(n, 2) the pixels that the middle of a scribble passes through, one after the other."""
    return np.unique(_nearest(_evenly(scribble, 0.5, MOST)), axis=0)


def beside(region: Box | Lasso, photo_size: tuple[int, int]) -> Places:
    """(n, 2) pixels around a region that are not the object, where the photo goes on there."""
    box = bounds(region)
    right, bottom = box.left + box.width - 1, box.top + box.height - 1
    height, width = photo_size
    across, down = (max(1, round(BESIDE * side)) for side in (box.width, box.height))
    xs = [max(0, box.left - across), (box.left + right) // 2, min(width - 1, right + across)]
    ys = [max(0, box.top - down), (box.top + bottom) // 2, min(height - 1, bottom + down)]
    places = np.array(list(dict.fromkeys((x, y) for x in xs for y in ys)), np.int64)
    return places[~held(region, places)]


def centre(region: Box | Lasso) -> tuple[int, int]:
    """The pixel deepest inside a region."""
    box = bounds(region)
    if isinstance(region, Box):
        return box.left + (box.width - 1) // 2, box.top + (box.height - 1) // 2
    # A large one is looked at where a grid of DEEP lines crosses it.
    step = -(-max(box.width, box.height) // DEEP)
    xs, ys = np.arange(box.left, box.left + box.width, step), np.arange(box.top, box.top + box.height, step)
    within = held(region, np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).reshape(len(ys), len(xs))
    if not within.any():  # a large sliver, between the lines
        return int(region.points[0][0]), int(region.points[0][1])
    depth = ndimage.distance_transform_edt(np.pad(within, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(xs[column]), int(ys[row])


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


def _evenly(scribble: Scribble, apart: float, most: int) -> NDArray[np.float64]:
    """(n, 2) points from end to end of a scribble, so far apart, or farther where these were more than `most`."""
    points = np.array(scribble.points, float)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    total = float(travelled[-1])
    if total == 0:
        return points[:1]
    at = np.linspace(0, total, min(most, max(2, round(total / apart) + 1)))
    return np.stack([np.interp(at, travelled, points[:, axis]) for axis in (0, 1)], 1)


def _nearest(points: NDArray[np.float64]) -> Places:
    """The pixels that points lie in, halves up."""
    return np.floor(points + 0.5).astype(np.int64)


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
