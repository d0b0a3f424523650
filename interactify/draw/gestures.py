"""Pictures of gestures: strokes with a rim, boxes and lassos as dashed outlines, clicks as signed discs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactify.draw.overlays import AZURE, GREEN, RED, WHITE, Colour, Picture, overlay
from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Box, Lasso, Paint, Scribble

SUPERSAMPLING = 3  # lines are drawn this many times larger and shrunk, which anti-aliases them
DASH = 0.018  # the length of a dash, relative to the picture's longer side


def pictured(
    photo: Picture,
    mask: NDArray[np.bool_],
    interactions: Iterable[Interaction] = (),
    *,
    colour: Colour = AZURE,
    opacity: float = 0.4,
) -> Picture:
    """Draw a mask and interactions of every kind over a photo; clicks as `draw.overlay` does.

    Args:
        photo: (H, W, 3) uint8; not changed.
        mask: (H, W) bool.
        interactions: those of a session. `Mask` and `Labels` are not drawn.
        colour, opacity: of the mask's tint.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OptionError: as `draw.overlay`.
    """
    interactions = list(interactions)
    drawn = overlay(photo, mask, colour=colour, opacity=opacity)
    lines = [each for each in interactions if isinstance(each, (Scribble, Paint, Box, Lasso))]
    canvas = _with_lines(drawn, lines) if lines else drawn
    clicks = [each for each in interactions if isinstance(each, Click)]
    return overlay(canvas, np.zeros_like(mask), clicks=clicks) if clicks else canvas


def _with_lines(picture: Picture, lines: Sequence[Interaction]) -> Picture:
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture).resize((width * SUPERSAMPLING, height * SUPERSAMPLING), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    thin = max(2, round(max(height, width) / 300)) * SUPERSAMPLING
    for each in lines:
        if isinstance(each, (Scribble, Paint)):
            wide = max(thin, round(each.width * SUPERSAMPLING)) if isinstance(each, Scribble) else thin
            points = _supersampled(each.points)
            for colour, rim in ((WHITE, thin), (GREEN if each.positive else RED, 0)):
                _stroke(pen, points, wide + rim, colour)
        elif isinstance(each, Box):
            left, top, right, bottom = each.left - 0.5, each.top - 0.5, each.right + 0.5, each.bottom + 0.5
            _dashed(
                pen,
                _supersampled([(left, top), (right, top), (right, bottom), (left, bottom)]),
                thin,
                max(height, width),
            )
        elif isinstance(each, Lasso):
            _dashed(pen, _supersampled(each.points), thin, max(height, width))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _supersampled(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [((x + 0.5) * SUPERSAMPLING, (y + 0.5) * SUPERSAMPLING) for x, y in points]


def _stroke(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: int, colour: Colour) -> None:
    if len(points) > 1:
        pen.line(points, fill=colour, width=width, joint="curve")
    for x, y in (points[0], points[-1]):
        pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=colour)


def _dashed(pen: ImageDraw.ImageDraw, corners: list[tuple[float, float]], width: int, longest: int) -> None:
    """A closed outline, white with dark dashes, so that it is visible on any ground."""
    dash, drawn = max(4.0, DASH * longest * SUPERSAMPLING), 0.0
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = float(np.hypot(x2 - x1, y2 - y1))
        pen.line([(x1, y1), (x2, y2)], fill=WHITE, width=width)
        at = -(drawn % (2 * dash))
        while at < length:
            start, end = max(0.0, at), min(length, at + dash)
            if end > start:
                ends = [(x1 + (x2 - x1) * s / length, y1 + (y2 - y1) * s / length) for s in (start, end)]
                pen.line(ends, fill=(20, 20, 24), width=width)
            at += 2 * dash
        drawn += length
