"""Fill polygons: COCO's own, and those with holes. A pixel is inside where its centre is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError, text_of
from interactify.masks.arrays import Mask, checked_size
from interactify.masks.polygons import Points, Polygon

_CHUNK: Final = 2**20  # crossings computed at a time: an outline may zigzag over every row of a large photo
_ROW: Final = 2**32  # more than a photo has columns


def filled(outlines: Iterable[Polygon], size: Sequence[int]) -> Mask:
    """Fill polygons with holes: a pixel is set where its centre lies inside one of them, and in none of its holes.

    Where simplified rings of one polygon cross, the even-odd rule decides.

    Args:
        outlines: as `polygons` returns them.
        size: (H, W) of the mask, in pixels.

    Returns:
        (H, W) bool.

    Raises:
        OptionError: these are no polygons, or no size.

    >>> from interactify.masks.polygons import polygons
    >>> mask = np.array([[True, True, False], [True, False, True]])
    >>> bool((filled(polygons(mask), (2, 3)) == mask).all())
    True
    """
    return _union(([polygon.outer, *polygon.holes] for polygon in outlines), checked_size(size))


def mask_of_polygons(outlines: Iterable[Any], size: Sequence[int]) -> Mask:
    """Fill polygons: a pixel is set where its centre lies inside one of them, by the even-odd rule.

    Args:
        outlines: each x1, y1, x2, y2, … in pixels, with (0, 0) at the upper left *corner* of the first pixel, as COCO
            counts; at least three points.
        size: (H, W).

    Returns:
        (H, W) bool. COCO's own tools widen borders by up to a pixel where a contour cuts one.

    Raises:
        OptionError: these are no polygons, or no size.

    >>> mask_of_polygons([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4)).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    return _union(([polygon] for polygon in outlines), checked_size(size))


def check_polygons(outlines: Iterable[Any]) -> None:
    """Raise OptionError where `mask_of_polygons` would; nothing is drawn.

    >>> check_polygons([[1, 0, 3, 0, 3, 2, 1, 2]])
    """
    if not isinstance(outlines, Iterable) or isinstance(outlines, (str, bytes)):
        raise OptionError(f"Expected polygons as lists x1, y1, x2, y2, …; got {text_of(outlines)}.")
    for ring in outlines:
        _points(ring)


def pixels_enclosed(ring: Points, pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some pixels have their centres inside a ring, by the even-odd rule; agrees with `mask_of_polygons`.

    Args:
        ring: (N, 2) x and y of its corners, counted from the upper left *corner* of the first pixel.
        pixels: (n, 2) x and y, as far apart as they may be.

    Returns:
        (n,) bool.

    >>> square = np.array([[1.0, 0], [3, 0], [3, 2], [1, 2]])
    >>> pixels_enclosed(square, np.array([[0, 0], [1, 0], [2, 1], [3, 1]])).tolist()
    [False, True, True, False]
    """
    rows, row = np.unique(pixels[:, 1], return_inverse=True)
    begin = row.reshape(-1) * _ROW
    inside = np.zeros(len(pixels), bool)
    for crossed, columns in _crossings(ring, rows):
        # Crossings in one order, by row and column: a pixel counts those in its row up to its own column.
        crossings = np.sort(crossed * _ROW + columns)
        counts = np.searchsorted(crossings, begin + pixels[:, 0], "right") - np.searchsorted(crossings, begin)
        inside ^= counts % 2 == 1
    return inside


def _union(outlines: Iterable[Sequence[Any]], size: tuple[int, int]) -> Mask:
    """The pixels of all outlines; each outline is a list of rings."""
    mask = np.zeros(size, bool)
    for rings in outlines:
        points = [_points(ring) for ring in rings]
        # Many small outlines on a large photo: compute only the rows and columns that one can reach.
        least, most = (np.stack([pick(ring, axis=0) for ring in points]) for pick in (np.min, np.max))
        left, top = np.clip(np.floor(least.min(axis=0)), 0, size[::-1]).astype(int)
        right, bottom = np.clip(np.ceil(most.max(axis=0)), 0, size[::-1]).astype(int)
        if left < right and top < bottom:
            box = mask[top:bottom, left:right]
            box |= _enclosed([ring - (left, top) for ring in points], box.shape)
    return mask


def _enclosed(rings: Sequence[Points], size: tuple[int, ...]) -> Mask:
    """The pixels whose centres lie inside rings, by the even-odd rule."""
    height, width = size
    turns = np.zeros((height, width + 1), np.uint8)
    for ring in rings:
        for row, column in _crossings(ring, np.arange(height)):
            at = row * (width + 1) + np.clip(column, 0, width).astype(np.int64)
            at.sort()
            # Two crossings at one pixel cancel: keep one of each odd number.
            starts = np.flatnonzero(np.diff(at, prepend=-1))
            odd = np.diff(starts, append=len(at)) % 2 == 1
            turns.reshape(-1)[at[starts[odd]]] ^= 1
    return np.bitwise_xor.accumulate(turns[:, :width], axis=1).astype(bool)


def _crossings(ring: Points, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Where a ring's edges cross the centre lines of rows, in chunks of bounded size.

    Each crossing turns inside to outside for all pixels from its column to the right.

    Args:
        ring: (N, 2).
        rows: numbers of pixel rows, in ascending order.

    Yields:
        For each crossing the index into `rows`, and the number of the first column whose centre is not to its left.
    """
    levels = rows + 0.5
    ends = np.roll(ring, -1, axis=0)
    first, last = (np.searchsorted(levels, pick(ring[:, 1], ends[:, 1])) for pick in (np.minimum, np.maximum))
    edges = np.flatnonzero(first < last)
    first, counts = first[edges], (last - first)[edges]
    (x1, y1), (x2, y2) = ring[edges].T, ends[edges].T
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(edges):
        done = totals[begin] - counts[begin]
        end = max(begin + 1, int(np.searchsorted(totals, done + _CHUNK, "right")))
        edge = np.repeat(np.arange(begin, end), counts[begin:end])
        row = np.arange(len(edge)) + np.repeat((first - totals + counts)[begin:end] + done, counts[begin:end])
        crossing = x1[edge] + (levels[row] - y1[edge]) * (x2 - x1)[edge] / (y2 - y1)[edge]
        yield row, np.ceil(crossing - 0.5)
        begin = end


def _points(ring: Any) -> Points:
    try:
        points = np.asarray(ring, float).reshape(-1, 2)
    except (ValueError, TypeError) as cause:
        raise OptionError(f"Expected a polygon as x1, y1, x2, y2, …; got {text_of(ring)}.") from cause
    if len(points) < 3 or not np.isfinite(points).all():
        raise OptionError(f"Expected a polygon of at least three points, got {text_of(ring)}.")
    return points
