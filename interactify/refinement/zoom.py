"""Zoom-in: the part of the photo that the network sees, once it is known where the object is.

After Sofiiuk et al. (f-BRS, CVPR 2020, section 3.4), with two differences: outside the window the mask stays as it was,
and a new window is only opened where it is worth a start from the identity. For a network that sees photos squashed, a
window has the photo's own aspect ratio: the object is then squashed as much as in the whole photo.
"""

from __future__ import annotations

from typing import Final

from interactify.pictures.resize_pad import View
from interactify.pictures.window import Pixels, Window, whole

MARGIN: Final = 1.4  # the window's sides over those of the box around object and clicks
MIN_GAIN: Final = 1.2  # a window is opened where the network then sees the object at least this much larger
MAX_MAGNIFICATION: Final = 2  # network pixels for a photo pixel: more shows no more detail
KEEP_IOU: Final = 0.5  # a window is kept while its IoU with the window that would be chosen now is at least this


def next_window(
    current: Window,
    extent: Window | None,
    points: Pixels,
    newest: Pixels,
    size: tuple[int, int],
    resolution: int | None,
    squash: bool = False,
) -> Window:
    """The window for the newest interaction: the current one, as long as it is good enough.

    Args:
        current: the window so far.
        extent: the smallest window that holds the object as it was before; None where there was no object.
        points: (n, 2) pixels, x then y, that the window has to hold: those of the object, and the newest.
        newest: (m, 2) pixels of the newest interaction.
        size: (H, W) of the photo.
        resolution: longest side in network pixels, None for the photo's own size.
        squash: whether the network sees the photo and its windows squashed to squares.
    """
    least = min_side(resolution)
    chosen = _around(extent, points, size, least)
    if squash:
        chosen = chosen.with_aspect_of(size)
    if _scale(chosen, resolution) < MIN_GAIN * _scale(whole(size), resolution):
        chosen = whole(size)
    if bool(current.contains(newest).all()) and current.overlap(chosen) >= KEEP_IOU:
        return current
    return chosen


def min_side(resolution: int | None) -> int:
    """The shortest useful side of a window, in photo pixels."""
    return max(1, (resolution or 1) // MAX_MAGNIFICATION)


def _scale(window: Window, resolution: int | None) -> float:
    """Network pixels for one photo pixel."""
    content = View.fit((window.height, window.width), resolution=resolution).content_size
    return max(content) / max(window.height, window.width)


def _around(extent: Window | None, points: Pixels, size: tuple[int, int], least: int) -> Window:
    """The window around the points and the object, with a margin."""
    xs, ys = points[:, 0].tolist(), points[:, 1].tolist()
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
