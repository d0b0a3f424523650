"""Polygons filled again: COCO's own, and those with holes. A pixel is inside where its centre is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from interactify.errors import OptionError
from interactify.masks.arrays import Mask, checked_size, shown
from interactify.masks.polygons import Points, Polygon


def filled(outlines: Iterable[Polygon], size: tuple[int, int]) -> Mask:
    """Fill polygons with holes: a pixel belongs where its centre lies inside one of them, and in none of its holes.

    Where simplified rings of one polygon cross, the even-odd rule decides.

    Args:
        outlines: as `polygons` gives them.
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


def mask_of_polygons(outlines: Sequence[Any], size: tuple[int, int]) -> Mask:
    """Fill polygons: a pixel belongs where its centre lies inside one of them, by the even-odd rule.

    Args:
        outlines: each x1, y1, x2, y2, … in pixels, with (0, 0) at the upper left *corner* of the first pixel, as COCO
            counts; at least three points.
        size: (H, W).

    Returns:
        (H, W) bool. COCO's own tools widen borders by up to a pixel where a contour cuts one.

    Raises:
        OptionError: what is given are no polygons.

    >>> mask_of_polygons([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4)).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    return _union(([polygon] for polygon in outlines), checked_size(size))


def _union(outlines: Iterable[Sequence[Any]], size: tuple[int, int]) -> Mask:
    """Where any outline is, each given by the rings that it is made of."""
    mask = np.zeros(size, bool)
    for rings in outlines:
        points = [_points(ring) for ring in rings]
        # Many small outlines on a large photo: only the rows and columns that one can reach are looked at.
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
    # Each edge turns inside to outside for everything to its right, in the rows whose centre line it crosses.
    turns = np.zeros((height, width + 1), np.uint8)
    for points in rings:
        for (x1, y1), (x2, y2) in zip(points.tolist(), np.roll(points, -1, axis=0).tolist(), strict=True):
            first, last = sorted((y1, y2))
            rows = np.arange(max(0, math.ceil(first - 0.5)), min(height, math.ceil(last - 0.5)))
            if len(rows):
                crossings = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                turns[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= 1
    return np.bitwise_xor.accumulate(turns[:, :width], axis=1).astype(bool)


def _points(ring: Any) -> Points:
    try:
        points = np.asarray(ring, float).reshape(-1, 2)
    except (ValueError, TypeError) as cause:
        raise OptionError(f"Expected a polygon as x1, y1, x2, y2, …; got {shown(ring)}.") from cause
    if len(points) < 3 or not np.isfinite(points).all():
        raise OptionError(f"Expected a polygon of at least three points, got {shown(ring)}.")
    return points
