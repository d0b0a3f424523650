"""Zoom-in: the part of the photo the network looks at, once it is known where the object is.

After Sofiiuk et al. (f-BRS, CVPR 2020, section 3.4), with two differences: what lies outside the window keeps the
mask it had, and a window is only opened where it is worth a fresh start.
"""

from __future__ import annotations

from interactify.pictures.resize_pad import View
from interactify.pictures.window import Pixels, Window, whole

MARGIN = 1.4  # the window's sides over those of the box around object and clicks
GAIN = 1.2  # a window is opened where the network then sees the object at least this much larger
MAGNIFIED = 2  # network pixels a photo pixel becomes at most: beyond, there is nothing more to see
KEEP = 0.5  # it is kept while its IoU with the window that would now be chosen is at least this


def next_window(
    current: Window,
    extent: Window | None,
    places: Pixels,
    newest: Pixels,
    size: tuple[int, int],
    resolution: int | None,
) -> Window:
    """The window for the newest interaction: the current one, as long as it serves.

    Args:
        current: the window until now.
        extent: what the object was taken for before, the smallest window that holds it; None where it was nothing.
        places: (n, 2) pixels, x then y, that the window has to hold: those said to be the object, and the newest.
        newest: (m, 2) pixels that were said last.
        size: (H, W) of the photo.
        resolution: longest side in network pixels, None for the photo's own size.
    """
    least = 1 if resolution is None else max(1, resolution // MAGNIFIED)
    chosen = _around(extent, places, size, least)
    if _scale(chosen, resolution) < GAIN * _scale(whole(size), resolution):
        chosen = whole(size)
    if bool(current.contains(newest).all()) and current.overlap(chosen) >= KEEP:
        return current
    return chosen


def _scale(window: Window, resolution: int | None) -> float:
    """Network pixels for one photo pixel."""
    content = View.fit((window.height, window.width), resolution=resolution).content_size
    return max(content) / max(window.height, window.width)


def _around(extent: Window | None, places: Pixels, size: tuple[int, int], least: int) -> Window:
    xs, ys = places[:, 0].tolist(), places[:, 1].tolist()
    if extent is not None:
        xs += [extent.left, extent.left + extent.width - 1]
        ys += [extent.top, extent.top + extent.height - 1]
    top, height = _stretched(min(ys), max(ys), size[0], least)
    left, width = _stretched(min(xs), max(xs), size[1], least)
    return Window(top, left, height, width)


def _stretched(first: int, last: int, side: int, least: int) -> tuple[int, int]:
    """Start and length of the span around first…last, MARGIN times as long, at least `least`, within 0…side."""
    length = min(side, max(least, round((last + 1 - first) * MARGIN)))
    start = round((first + last + 1 - length) / 2)
    start = min(max(0, start), side - length)
    return start, length
