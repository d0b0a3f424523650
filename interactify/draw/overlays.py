"""Pictures of results: a tinted mask with its outline, clicks as signed discs, and sheets of captioned panels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import distance_transform_edt

from interactify.errors import OptionError
from interactify.masks.arrays import checked_mask
from interactify.plain_array import plain_array

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

AZURE: Colour = (16, 136, 255)  # the mask: differs from both click colours, for colour-blind eyes too
GREEN: Colour = (22, 163, 74)
RED: Colour = (220, 38, 38)
WHITE: Colour = (255, 255, 255)
PAPER: Colour = (250, 250, 248)
INK: Colour = (28, 30, 34)
FADED: Colour = (112, 116, 124)

SUPERSAMPLING = 8  # discs are drawn this many times larger and shrunk, which anti-aliases them


class Mark(Protocol):
    """What drawing needs of a click: its pixel, x to the right and y down, and its sign."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def positive(self) -> bool: ...


def overlay(
    photo: Picture,
    mask: NDArray[np.bool_],
    *,
    clicks: Iterable[Mark] = (),
    colour: Colour = AZURE,
    opacity: float = 0.4,
) -> Picture:
    """Draw a mask and clicks over a photo.

    The inside of the mask is tinted and its edge drawn as a white line with a dark rim; a click is a disc around its
    pixel, green with a plus where positive and red with a minus where negative. Line and discs are sized relative to
    the picture.

    Args:
        photo: (H, W, 3) uint8; not changed.
        mask: (H, W) bool.
        clicks: drawn on top, in order; in pixels, x to the right and y down. Parts outside the photo are cut off.
        colour: of the tint, three values in 0..255.
        opacity: of the tint, from 0 (outline only) to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OptionError: shapes or dtypes don't fit, or `opacity` is outside [0, 1].

    >>> photo = np.full((60, 80, 3), 200, np.uint8)
    >>> mask = np.zeros((60, 80), bool)
    >>> mask[20:40, 20:60] = True
    >>> overlay(photo, mask).shape, bool((overlay(photo, mask)[30, 40] == 200).all())
    ((60, 80, 3), False)
    """
    photo = plain_array(photo, "the photo")
    _check_picture(photo, "photo")
    mask = checked_mask(mask)
    if mask.shape != photo.shape[:2]:
        raise OptionError(
            f"Expected a mask as (H, W) bool array of the photo's {_size(photo)}, got {_described(mask)}."
        )
    if not 0 <= opacity <= 1:
        raise OptionError(f"Expected an opacity from 0 to 1, got {opacity!r}. Try 0.4.")
    drawn = photo.astype(np.float32)
    tint = (mask * np.float32(opacity))[..., None]
    drawn += (np.asarray(colour, np.float32) - drawn) * tint
    if mask.any() and not mask.all():
        width = max(2.0, 0.0046 * _scale(photo))
        reach = math.ceil(width * 1.25) + 2
        near = _surroundings(mask, reach)
        distance = _distance_to_edge(mask[near], reach)
        drawn_near = drawn[near]
        # A white line within a rim of the mask's colour, darkened, is visible on snow and at night.
        rim = np.clip(width * 1.25 + 0.5 - distance, 0, 1) * 0.55
        line = np.clip(width / 2 + 0.5 - distance, 0, 1)
        dark = np.asarray(colour, np.float32) * 0.35
        drawn_near += (dark - drawn_near) * _softened(rim)[..., None]
        drawn_near += (np.asarray(WHITE, np.float32) - drawn_near) * _softened(line)[..., None]
    canvas = Image.fromarray(np.clip(np.rint(drawn), 0, 255).astype(np.uint8))
    radius = max(5.0, 0.025 * _scale(photo))
    for click in clicks:
        _draw_click(canvas, click, radius)
    return np.array(canvas)


def contact_sheet(
    panels: Sequence[tuple[str, Picture]],
    *,
    columns: int | None = None,
    width: int = 1680,
    title: str | None = None,
) -> Picture:
    """Arrange captioned pictures on one sheet, all panels equally large.

    Args:
        panels: pairs of caption and (H, W, 3) uint8 picture. A caption's first line is dark, further lines are grey;
            a line too long for its panel ends in an ellipsis. Pictures of another shape than the first one are fitted
            into a panel of the same size, whole and centred.
        columns: number of panels side by side; by default up to four.
        width: of the sheet, in pixels.
        title: one line above the panels.

    Returns:
        (H', W', 3) uint8 with W' = `width`.

    Raises:
        OptionError: no panels, an invalid picture, or a width too small for them.

    >>> grey = np.full((30, 40, 3), 90, np.uint8)
    >>> contact_sheet([("photo", grey), ("before", grey)], width=400).shape[1]
    400
    """
    if not panels:
        raise OptionError("Expected at least one panel for a contact sheet, got none. Try one.")
    for caption, picture in panels:
        _check_picture(picture, f"picture of panel {caption!r}")
    columns = _columns(len(panels)) if columns is None else columns
    if columns < 1:
        raise OptionError(f"Expected at least one column, got {columns}. Try columns=None.")
    gap = max(8, round(width * 0.016))
    margin = round(gap * 1.5)
    panel_width = (width - 2 * margin - (columns - 1) * gap) // columns
    if panel_width < 48:
        raise OptionError(
            f"Expected a sheet wide enough for {columns} columns, got no room in {width} pixels. "
            f"Try width={columns * 160}."
        )
    first = panels[0][1]
    panel_height = max(24, round(panel_width * min(first.shape[0] / first.shape[1], 1.6)))

    text = max(11, round(panel_width * 0.042))
    font, small = ImageFont.load_default(size=text), ImageFont.load_default(size=max(10, round(text * 0.86)))
    lines = max(caption.count("\n") + 1 for caption, _ in panels)
    caption_height = round(text * (1.75 + 1.25 * (lines - 1)))
    heading = ImageFont.load_default(size=round(text * 1.5))
    top = margin + (round(text * 2.6) if title else 0)
    rows = math.ceil(len(panels) / columns)
    row_height = panel_height + caption_height + gap
    sheet = Image.new("RGB", (width, top + rows * row_height - gap + margin - round(text * 0.3)), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((margin, margin), _cut(title, heading, width - 2 * margin), INK, heading, anchor="lt")
    corners = _rounded((panel_width, panel_height), max(3, round(panel_width * 0.014)))
    for index, (caption, picture) in enumerate(panels):
        x = margin + index % columns * (panel_width + gap)
        y = top + index // columns * row_height
        sheet.paste(_fitted(picture, (panel_width, panel_height)), (x, y), corners)
        y += panel_height + round(text * 0.6)
        for number, line in enumerate(caption.split("\n")):
            face, ink = (small, FADED) if number else (font, INK)
            pen.text((x, y), _cut(line, face, panel_width), ink, face, anchor="la")
            y += round(text * 1.25)
    return np.array(sheet)


def _scale(photo: Picture) -> float:
    """The side of a square of the photo's area, in pixels: line widths and discs are relative to it."""
    return math.sqrt(photo.shape[0] * photo.shape[1])


def _surroundings(mask: NDArray[np.bool_], reach: int) -> tuple[slice, slice]:
    """The mask's bounding box, enlarged by `reach` pixels: no line is drawn outside it."""
    spans = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, int(inside[0]) - reach), int(inside[-1]) + reach + 1))
    return spans[0], spans[1]


def _distance_to_edge(mask: NDArray[np.bool_], reach: int) -> NDArray[np.float32]:
    """Euclidean distance in pixels from each pixel's centre to the mask's edge, (H, W), cut off beyond `reach`."""
    # Each pixel is outside one of the two regions, where its distance is 0. On one core this takes 20 to 50 ms more
    # than shifted minima up to `reach` on 500 x 400 pixels, and 0.5 to 0.9 s less on an ellipse of 3000 x 2000.
    distance = distance_transform_edt(mask)
    distance += distance_transform_edt(~mask)
    return np.minimum(distance, reach + 1).astype(np.float32) - np.float32(0.5)


def _softened(coverage: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the pixel stairs off a line's coverage in [0, 1]."""
    grey = Image.fromarray(np.rint(coverage * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(grey, np.float32) / np.float32(255)


def _draw_click(canvas: Image.Image, click: Mark, radius: float) -> None:
    """Draw one click: soft shadow, white rim, coloured disc, white sign."""
    # The window around the disc starts at a whole pixel; the disc's centre keeps its position within the pixel.
    left, top = math.floor(click.x + 0.5 - radius * 1.6), math.floor(click.y + 0.5 - radius * 1.6)
    side = math.ceil(radius * 3.2) + 1
    centre = ((click.x + 0.5 - left) * SUPERSAMPLING, (click.y + 0.5 - top) * SUPERSAMPLING)

    def layer(*shapes: tuple[str, float, float]) -> Image.Image:
        fine = Image.new("L", (side * SUPERSAMPLING, side * SUPERSAMPLING), 0)
        pen = ImageDraw.Draw(fine)
        for kind, across, down in shapes:
            box = [
                centre[0] - across * radius * SUPERSAMPLING,
                centre[1] - down * radius * SUPERSAMPLING,
                centre[0] + across * radius * SUPERSAMPLING - 1,
                centre[1] + down * radius * SUPERSAMPLING - 1,
            ]
            if kind == "disc":
                pen.ellipse(box, fill=255)
            else:
                pen.rounded_rectangle(box, radius=0.08 * radius * SUPERSAMPLING, fill=255)
        return fine.resize((side, side), Image.Resampling.BOX)

    shadow = layer(("disc", 1.12, 1.12)).filter(ImageFilter.GaussianBlur(radius * 0.16))
    shadow = shadow.point(lambda value: round(value * 0.55))
    bars = [("bar", 0.5, 0.13)] + ([("bar", 0.13, 0.5)] if click.positive else [])
    canvas.paste((0, 0, 0), (left, top), shadow)
    canvas.paste(WHITE, (left, top), layer(("disc", 1.0, 1.0)))
    canvas.paste(GREEN if click.positive else RED, (left, top), layer(("disc", 0.8, 0.8)))
    canvas.paste(WHITE, (left, top), layer(*bars))


def _columns(count: int) -> int:
    """Up to four panels are in one row; more are arranged so that the last row is as full as possible."""
    if count <= 4:
        return count
    return min((4, 3), key=lambda columns: (-count % columns, -columns))


def _fitted(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """The whole picture in a panel of `size` (width, height), centred on a light ground where shapes differ."""
    image = Image.fromarray(picture)
    factor = min(size[0] / image.width, size[1] / image.height)
    width, height = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    # Half a pixel of rounding must not leave a hairline where the picture fills the panel.
    fitted = (size[0] if abs(width - size[0]) <= 2 else width, size[1] if abs(height - size[1]) <= 2 else height)
    panel = Image.new("RGB", size, (234, 234, 231))
    corner = ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2)
    panel.paste(image.resize(fitted, Image.Resampling.LANCZOS), corner)
    return panel


def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask of a panel with rounded corners, anti-aliased."""
    fine = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(fine).rounded_rectangle([0, 0, size[0] * 4 - 1, size[1] * 4 - 1], radius * 4, fill=255)
    return fine.resize(size, Image.Resampling.BOX)


def _cut(line: str, font: Any, width: int) -> str:
    """The line itself where it fits into `width` pixels, else its start and an ellipsis."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line.rstrip() + "..."


def _check_picture(picture: Any, name: str) -> None:
    good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if not good or not picture.size:
        raise OptionError(f"Expected the {name} as (H, W, 3) uint8 array with pixels in it, got {_described(picture)}.")


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _size(photo: Picture) -> str:
    return f"{photo.shape[0]} x {photo.shape[1]} (H x W)"
