"""Zoom-in: the part of the photo that the network sees, once it is known where the object is.

After Sofiiuk et al. (f-BRS, CVPR 2020, section 3.4), with four differences: outside the window the mask stays as it
was; a new window is only opened where it is worth a start from the identity; not in a photo of just the network's own
resolution, which is as large as those it was trained on; and only where the network, before any click, sees closer by
what it is shown now. For a network that sees photos squashed, a window has the photo's own aspect ratio: the object is
then squashed as much as in the whole photo.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from interactify.pictures.resize_pad import View
from interactify.pictures.window import Pixels, Window, whole

MARGIN: Final = 1.4  # the window's sides over those of the box around object and clicks
MIN_GAIN: Final = 1.2  # a window is opened where the network then sees the object at least this much larger
MAX_MAGNIFICATION: Final = 2  # network pixels for a photo pixel: more shows no more detail
KEEP_IOU: Final = 0.5  # a window is kept while its IoU with the window that would be chosen now is at least this
AGREES: Final = 0.9  # a window is opened where the network's own IoU with what is shown there falls to this at most
CUT: Final = 0.02  # of a window's side: an object that has so much of its outermost pixels continues beyond it
BLEND: Final = 0.05  # of a window's sides: how far inside them the map before passes into the window's own


def next_window(
    current: Window,
    extent: Window | None,
    points: Pixels,
    newest: Pixels,
    size: tuple[int, int],
    resolution: int | None,
    squash: bool = False,
    cut: bool = False,
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
        cut: whether the object reaches a side of the current window (`reaches_side`).
    """
    if extent is None:  # how far the object reaches is not known: no new window would be sure to hold it
        return without_new(current, newest, size)
    if max(size) == resolution:  # closer by, it has no more pixels, and objects have another size than in training
        return without_new(current, newest, size)
    chosen = _around(extent, points, size, min_side(resolution))
    if squash:
        chosen = chosen.with_aspect_of(size)
    if _scale(chosen, resolution) < MIN_GAIN * _scale(whole(size), resolution):
        chosen = whole(size)
    too_small = cut and current.common(chosen) != chosen
    if bool(current.contains(newest).all()) and not too_small and current.overlap(chosen) >= KEEP_IOU:
        return current
    return chosen


def without_new(current: Window, newest: Pixels, size: tuple[int, int]) -> Window:
    """Where no window is opened: the current one, or the whole photo (H, W) if the newest pixels lie outside of it."""
    return current if bool(current.contains(newest).all()) else whole(size)


def min_side(resolution: int | None) -> int:
    """The shortest useful side of a window, in photo pixels."""
    return max(1, (resolution or 1) // MAX_MAGNIFICATION)


def reaches_side(log_odds: Tensor, view: View, window: Window, size: tuple[int, int]) -> bool:
    """Whether the object reaches a side of a window that is not the side of its photo (H, W).

    Args:
        log_odds: (1, 1, h', w') of the object in the window, on the network's grid.
        view: the window's.
    """
    found = _content(log_odds, view) > 0
    below, right = size[0] - window.top - window.height, size[1] - window.left - window.width
    sides = (found[0], window.top), (found[-1], below), (found[:, 0], window.left), (found[:, -1], right)
    return any(beyond > 0 and float(side.float().mean()) >= CUT for side, beyond in sides)


def agreement(log_odds: Tensor, shown: Tensor, view: View) -> float:
    """How well a network's object in a window agrees with the one that is shown there: IoU; 1 where neither has pixels.

    Args:
        log_odds: (1, 1, h', w') of the network, on its grid.
        shown: (h', w') bool, the object that is shown.
        view: the window's.
    """
    found, before = _content(log_odds, view) > 0, _content(shown[None, None], view)
    either = int((found | before).sum())
    return int((found & before).sum()) / either if either else 1.0


def inner_share(view: View, window: Window, size: tuple[int, int]) -> Tensor | None:
    """(1, 1, h', w') float32: the share of a window's own map in what is displayed, from 0 at its sides to 1 inside.

    At the sides of the photo (H, W) it is 1, as nothing lies beyond. None for the whole photo.
    """
    if window == whole(size):
        return None
    height, width = view.network_size
    starts, lengths = (window.top, window.left), (window.height, window.width)
    down, across = (
        _ramp(content, padded, start > 0, start + length < side)
        for content, padded, start, length, side in zip(
            view.content_size, (height, width), starts, lengths, size, strict=True
        )
    )
    return torch.minimum(down[:, None], across[None])[None, None]


def _ramp(content: int, padded: int, first: bool, last: bool) -> Tensor:
    """(padded,) along one axis: rising from the first side of the content and falling to the last, where asked."""
    centres = torch.arange(padded, dtype=torch.float32, device="cpu") + 0.5
    distance = torch.full_like(centres, float(content))
    if first:
        distance = torch.minimum(distance, centres)
    if last:
        distance = torch.minimum(distance, (content - centres).clamp(min=0))
    return (distance / max(1.0, BLEND * content)).clamp(max=1)


def _content(maps: Tensor, view: View) -> Tensor:
    """(h, w) of a map (1, 1, h', w'), without the padding."""
    height, width = view.content_size
    return maps[0, 0, :height, :width]


def _scale(window: Window, resolution: int | None) -> float:
    """Network pixels for one photo pixel."""
    content = View.fit((window.height, window.width), resolution=resolution).content_size
    return max(content) / max(window.height, window.width)


def _around(extent: Window, points: Pixels, size: tuple[int, int], least: int) -> Window:
    """The window around the points and the object, with a margin."""
    xs, ys = points[:, 0].tolist(), points[:, 1].tolist()
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
