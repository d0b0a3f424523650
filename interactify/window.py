"""Zoom-in: the part of the photo the network looks at, once it is known where the object is.

After Sofiiuk et al. (f-BRS, CVPR 2020, section 3.4), with two differences: what lies outside the window keeps the
mask it had, and a window is only opened where it is worth a fresh start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactify.interactions import Click
from interactify.view import View

MARGIN = 1.4  # the window's sides over those of the box around object and clicks
GAIN = 1.2  # a window is opened where the network then sees the object at least this much larger
MAGNIFIED = 2  # network pixels a photo pixel becomes at most: beyond, there is nothing more to see
KEEP = 0.5  # it is kept while its IoU with the window that would now be chosen is at least this


@dataclass(frozen=True)
class Window:
    """A rectangle of the photo, in pixels: rows top to top + height, columns left to left + width."""

    top: int
    left: int
    height: int
    width: int

    def holds(self, click: Click) -> bool:
        """Whether a click's pixel lies inside."""
        return self.top <= click.y < self.top + self.height and self.left <= click.x < self.left + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing (..., H, W)."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def overlap(self, other: Window) -> float:
        """Intersection over union with another window."""
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        both = max(0, height) * max(0, width)
        return both / (self.height * self.width + other.height * other.width - both)


def whole(size: tuple[int, int]) -> Window:
    """The window that is the photo, (H, W)."""
    return Window(0, 0, *size)


def next_window(current: Window, mask: NDArray[np.bool_], clicks: Sequence[Click], resolution: int | None) -> Window:
    """The window for the newest click: the current one, as long as it serves.

    Args:
        current: the window until now.
        mask: (H, W) bool, what the object was taken for before the newest click.
        clicks: all that hold, the newest last.
        resolution: longest side in network pixels, None for the photo's own size.
    """
    height, width = mask.shape
    if len(clicks) < 2:
        return current
    least = 1 if resolution is None else max(1, resolution // MAGNIFIED)
    chosen = _around(mask, [c for c in clicks if c.positive] + [clicks[-1]], least)
    if _scale(chosen, resolution) < GAIN * _scale(whole((height, width)), resolution):
        chosen = whole((height, width))
    if current.holds(clicks[-1]) and current.overlap(chosen) >= KEEP:
        return current
    return chosen


def _scale(window: Window, resolution: int | None) -> float:
    """Network pixels for one photo pixel."""
    content = View.fit((window.height, window.width), resolution=resolution).content_size
    return max(content) / max(window.height, window.width)


def _around(mask: NDArray[np.bool_], clicks: Sequence[Click], least: int) -> Window:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    ys = [*rows[[0, -1]].tolist(), *(int(c.y) for c in clicks)] if len(rows) else [int(c.y) for c in clicks]
    xs = [*columns[[0, -1]].tolist(), *(int(c.x) for c in clicks)] if len(columns) else [int(c.x) for c in clicks]
    top, height = _stretched(min(ys), max(ys), mask.shape[0], least)
    left, width = _stretched(min(xs), max(xs), mask.shape[1], least)
    return Window(top, left, height, width)


def _stretched(first: int, last: int, side: int, least: int) -> tuple[int, int]:
    """Start and length of the span around first…last, MARGIN times as long, at least `least`, within 0…side."""
    length = min(side, max(least, round((last + 1 - first) * MARGIN)))
    start = round((first + last + 1 - length) / 2)
    start = min(max(0, start), side - length)
    return start, length
