"""Gestures as they look: strokes with a rim, boxes and lassos as dashed outlines, clicks as signed discs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactify.draw.overlays import AZURE, GREEN, RED, WHITE, Colour, Picture, overlay
from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Box, Lasso, Paint, Scribble

FINE = 3  # lines are drawn so many times larger and shrunk, which is what anti-aliases them
DASH = 0.018  # of the picture's longer side


def pictured(
    photo: Picture,
    mask: NDArray[np.bool_],
    interactions: Iterable[Interaction] = (),
    *,
    colour: Colour = AZURE,
    opacity: float = 0.4,
) -> Picture:
    """Draw a mask over a photo, and all that was said: `draw.overlay` for every kind of interaction.

    Args:
        photo: (H, W, 3) uint8; not changed.
        mask: (H, W) bool.
        interactions: as a session has them. A mask that one began from is not drawn.
        colour, opacity: of the mask's tint.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OptionError: as `draw.overlay`.
    """
    said = list(interactions)
    plain = overlay(photo, mask, colour=colour, opacity=opacity)
    lines = [each for each in said if isinstance(each, (Scribble, Paint, Box, Lasso))]
    canvas = _with_lines(plain, lines) if lines else plain
    clicks = [each for each in said if isinstance(each, Click)]
    return overlay(canvas, np.zeros_like(mask), clicks=clicks) if clicks else canvas


def _with_lines(picture: Picture, lines: Sequence[Interaction]) -> Picture:
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture).resize((width * FINE, height * FINE), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    thin = max(2, round(max(height, width) / 300)) * FINE
    for each in lines:
        if isinstance(each, (Scribble, Paint)):
            wide = max(thin, round(each.width * FINE)) if isinstance(each, Scribble) else thin
            points = _fine(each.points)
            for colour, more in ((WHITE, thin), (GREEN if each.positive else RED, 0)):
                _stroke(pen, points, wide + more, colour)
        elif isinstance(each, Box):
            left, top, right, bottom = each.left - 0.5, each.top - 0.5, each.right + 0.5, each.bottom + 0.5
            _dashed(pen, _fine([(left, top), (right, top), (right, bottom), (left, bottom)]), thin, max(height, width))
        elif isinstance(each, Lasso):
            _dashed(pen, _fine(each.points), thin, max(height, width))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _fine(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [((x + 0.5) * FINE, (y + 0.5) * FINE) for x, y in points]


def _stroke(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: int, colour: Colour) -> None:
    if len(points) > 1:
        pen.line(points, fill=colour, width=width, joint="curve")
    for x, y in (points[0], points[-1]):
        pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=colour)


def _dashed(pen: ImageDraw.ImageDraw, corners: list[tuple[float, float]], width: int, longest: int) -> None:
    """A closed outline, white with dark dashes, so that it is seen on any ground."""
    dash, travelled = max(4.0, DASH * longest * FINE), 0.0
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = float(np.hypot(x2 - x1, y2 - y1))
        pen.line([(x1, y1), (x2, y2)], fill=WHITE, width=width)
        at = -(travelled % (2 * dash))
        while at < length:
            begin, end = max(0.0, at), min(length, at + dash)
            if end > begin:
                ends = [(x1 + (x2 - x1) * s / length, y1 + (y2 - y1) * s / length) for s in (begin, end)]
                pen.line(ends, fill=(20, 20, 24), width=width)
            at += 2 * dash
        travelled += length
