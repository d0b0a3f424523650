"""COCO's ways to write a mask down: polygons, and run lengths as numbers or as text. Only reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from interactify.errors import OptionError
from interactify.evaluation.dataset import Mask


def mask_of_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Fill polygons: a pixel belongs where its centre lies inside one of them, by the even-odd rule.

    Args:
        polygons: each x1, y1, x2, y2, … in pixels, with (0, 0) at the upper left *corner* of the first pixel, as COCO
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
    height, width = size
    mask = np.zeros(size, bool)
    for polygon in polygons:
        try:
            points = np.asarray(polygon, float).reshape(-1, 2)
        except (ValueError, TypeError) as cause:
            raise OptionError(f"Expected a polygon as x1, y1, x2, y2, …; got {_shown(polygon)}.") from cause
        if len(points) < 3 or not np.isfinite(points).all():
            raise OptionError(f"Expected a polygon of at least three points, got {_shown(polygon)}.")
        # Each edge turns inside to outside for everything to its right, in the rows whose centre line it crosses.
        turns = np.zeros((height, width + 1), np.uint8)
        for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
            first, last = sorted((y1, y2))
            rows = np.arange(max(0, math.ceil(first - 0.5)), min(height, math.ceil(last - 0.5)))
            if len(rows):
                crossings = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                turns[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= 1
        mask |= np.bitwise_xor.accumulate(turns[:, :width], axis=1).astype(bool)
    return mask


def mask_of_run_lengths(counts: Any, size: tuple[int, ...]) -> Mask:
    """Unroll run lengths: numbers of pixels outside, inside, outside, … down the columns, from left to right.

    Args:
        counts: a list of numbers, or COCO's compressed text.
        size: (H, W).

    Returns:
        (H, W) bool.

    Raises:
        OptionError: they are none, or don't add up to H · W.

    >>> mask_of_run_lengths([1, 2, 1], (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    >>> mask_of_run_lengths("121", (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    try:
        runs = np.array(unpacked(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64)
        height, width = (int(side) for side in size)
    except (ValueError, TypeError, OverflowError) as cause:
        raise OptionError(f"Expected run lengths as numbers or COCO's text, got {_shown(counts)}.") from cause
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise OptionError(f"Expected run lengths that add up to {height} x {width} pixels, got {_shown(counts)}.")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T.copy()


def unpacked(text: str | bytes) -> list[int]:
    """Read COCO's compressed run lengths.

    Each character carries five bits of a number, lowest first, and whether more follow; the last one's highest bit is
    the sign. From the fourth number on, it is the difference from the number two before.

    Raises:
        OptionError: the text ends within a number, or has a character that carries none.

    >>> unpacked("1211"), unpacked("P`1")
    ([1, 2, 1, 3], [1536])
    """
    runs: list[int] = []
    value = place = 0
    for code in text.encode() if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise OptionError(f"Expected COCO's compressed run lengths, got {_shown(text)}.")
        value |= (bits & 31) << place
        place += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << place
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = place = 0
    if place:
        raise OptionError(f"These compressed run lengths end within a number: {_shown(text)}.")
    return runs


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
