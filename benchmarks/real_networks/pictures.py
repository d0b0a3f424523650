"""The pictures of the gallery with their truths: drawn here, or embedded photos with outlines drawn by hand.

A truth is (H, W) int8 as in `interactify.evaluation`: 1 object, 0 background, -1 unknown, where any label is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, gaussian_filter

from interactify import zoo
from interactify.evaluation import Sample

Colour = tuple[int, int, int]
Line = tuple[int, int, str, int, Colour]
"""x and y of the left end, the words, the size in pixels, the colour."""
Outline = Sequence[tuple[int, int]]
DARK, FAINT = (38, 40, 46), (222, 218, 208)


@dataclass(frozen=True)
class Scene:
    """A picture that a network is clicked on.

    Attributes:
        sample: the picture, (H, W, 3) or (H, W) uint8, its truth, and the class that is clicked, if it has to be named.
        picture: what it shows, and who made it.
        truth: what counts as right.
        options: of `interactify.wrap`, where the gallery departs from the network's own.
        note: why it does, or what else has to be known.
        instead: other options, with which the same is played once more; only its IoU is kept.
    """

    sample: Sample
    picture: str
    truth: str
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    instead: Mapping[str, Any] = field(default_factory=dict)


def text() -> Scene:
    """A timetable."""
    lines: list[Line] = [
        (34, 26, "Harbour timetable", 40, DARK),
        (34, 104, "Ferry to the islands", 26, DARK),
        (34, 156, "daily 7:15 and 16:40", 26, DARK),
        (34, 208, "not on public holidays", 26, FAINT),
    ]
    canvas = Image.new("RGB", (480, 320), (236, 232, 222))
    pen = ImageDraw.Draw(canvas)
    for number in range(22):  # as high and as wide as letters
        pen.rectangle([34 + 14 * number, 268, 40 + 14 * number, 268 + (10, 22, 16)[number % 3]], fill=DARK)
    boxes = [box for box, _ in _written(pen, lines)]
    truth = np.zeros((320, 480), np.int8)
    for left, top, right, bottom in boxes:
        truth[top - 3 : bottom + 4, left - 3 : right + 4] = -1
    for left, top, right, bottom in boxes:
        height, middle = bottom - top, (top + bottom) // 2
        half = round(0.12 * height)
        truth[middle - half : middle + half + 1, left + height // 2 : right - height // 2] = 1
    return Scene(
        Sample("text", np.asarray(canvas), truth),
        "four lines written with Pillow's own font, one of them faint, and a row of bars",
        "the middle of each line is text (the network was trained on lines that were shrunk to it), the rest of a "
        "line's box may be either, and the bars and the paper are not text",
    )


def words() -> Scene:
    """Writing on a photo."""
    lines: list[Line] = [
        (26, 14, "Good morning", 34, (255, 246, 230)),
        (22, 336, "with milk", 40, (120, 62, 30)),
        (474, 350, "no sugar", 24, (250, 240, 220)),
    ]
    canvas = Image.fromarray(_photo("coffee"))
    pen = ImageDraw.Draw(canvas)
    written = _written(pen, lines)
    rows, columns = np.mgrid[: canvas.height, : canvas.width]
    truth = np.zeros((canvas.height, canvas.width), np.int8)
    for (left, top, right, bottom), _ in written:
        truth[top - 4 : bottom + 5, left - 4 : right + 5] = -1
    for _, characters in written:
        for left, top, right, bottom in characters:
            x, y, width, height = (left + right) / 2, (top + bottom) / 2, (right - left) / 4, (bottom - top) / 4
            truth[((columns - x) / max(width, 1)) ** 2 + ((rows - y) / max(height, 1)) ** 2 <= 1] = 1
    return Scene(
        Sample("words", np.asarray(canvas), truth),
        "the embedded photo *coffee* (Rachel Michetti, CC0), with words written on it in Pillow's own font, two in a "
        "colour like the ground's",
        "the middle of each character is a character, the rest of a line's box may be either, and nothing else is",
        note="The rim of the cup is as white as the letters. So by default a correction spreads to no colours here, "
        "which would take the rim along.",
        instead={"propagation": "colour"},
    )


def pupil() -> Scene:
    """An eye, as an infrared camera sees it."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:222, :296].astype(np.float64)

    def disc(x: float, y: float, across: float, down: float) -> NDArray[np.bool_]:
        return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1

    fur = 118 + 90 * gaussian_filter(random.standard_normal(rows.shape), (1.0, 4.0))
    drawn = np.where(disc(150, 112, 104, 84), 78.0, fur)
    inside = disc(158, 106, 36, 35)
    drawn[inside] = 44
    drawn[disc(176, 88, 7, 6)] = 240  # the lamp's reflection
    drawn[disc(96, 150, 12, 7)] = 190
    drawn = gaussian_filter(drawn, 1.6) + random.normal(0, 4, rows.shape)
    return Scene(
        Sample("pupil", np.clip(drawn, 0, 255).astype(np.uint8), _banded(inside, 2)),
        "an eye drawn in greys: fur, the eyeball, a dark pupil, two reflections of a lamp",
        "the disc of the pupil, its reflection included; two pixels around its edge may be either",
    )


def hair() -> Scene:
    """A portrait."""
    photo = _photo("astronaut")
    return Scene(
        Sample("hair", photo, _banded(_filled(photo, HAIR), 3)),
        "the embedded photo *astronaut* (NASA, public domain)",
        "her hair, outlined by hand; three pixels around the outline may be either",
        note="The package is for photos of the top of a head, and brightens dark ones first; a portrait is harder.",
    )


def background() -> Scene:
    """A portrait with a helmet."""
    photo = _photo("astronaut")
    return Scene(
        Sample("background", photo, _banded(_filled(photo, PERSON), 4)),
        "the embedded photo *astronaut* (NASA, public domain)",
        "the person without the helmet in front, outlined by hand; four pixels around the outline may be either",
        options={"resolution": 512},
        note="At 512 pixels here, which is quicker; the package uses 1024. Its weights are under the AGPL: they are "
        "measured here, and are no part of this project.",
    )


def classifier() -> Scene:
    """A cat."""
    photo = _photo("cat")
    return Scene(
        Sample("classifier", photo, _banded(_filled(photo, CAT), 4), target="Egyptian cat"),
        "the embedded photo *cat* (Stéfan van der Walt, CC0)",
        "the cat, outlined by hand; four pixels around the outline may be either",
        note="Its map has 14 × 14 positions: it was trained on what is in a picture, never on where it ends.",
    )


SCENES: dict[str, Callable[[], Scene]] = {
    "text": text,
    "background": background,
    "pupil": pupil,
    "hair": hair,
    "words": words,
    "classifier": classifier,
}
"""By the name of the network."""

# Outlines in pixels of the photo, x to the right and y down.
HEAD: Outline = (
    *((172, 120), (160, 109), (155, 97), (154, 80), (154, 68), (158, 57), (168, 46), (180, 40), (190, 36), (195, 27)),
    *((208, 21), (222, 18), (232, 15), (246, 18), (262, 23), (276, 31), (287, 42), (295, 55), (299, 72), (301, 85)),
    *((299, 100), (294, 110), (286, 118), (278, 127), (271, 130)),
)
HAIR: Outline = (
    *HEAD,
    *((271, 118), (270, 103), (268, 90), (262, 88), (252, 85), (240, 81), (228, 80), (215, 80), (200, 80), (190, 77)),
    *((187, 82), (183, 92), (180, 108), (178, 117)),
)
PERSON: Outline = (
    *((38, 511), (30, 480), (25, 452), (25, 425), (20, 405), (22, 385), (26, 345), (28, 330), (34, 310), (38, 290)),
    *((50, 268), (62, 245), (85, 228), (105, 213), (115, 207), (113, 195), (116, 185), (124, 178), (128, 165)),
    *((142, 155), (160, 149), (184, 148), (182, 132), (176, 128)),
    *HEAD,
    *((268, 137), (258, 155), (256, 173), (275, 185), (290, 200), (300, 218), (304, 235), (320, 243), (336, 258)),
    *((345, 275), (352, 290), (358, 310), (360, 330), (361, 348), (350, 355), (335, 362), (320, 372), (308, 382)),
    *((298, 395), (290, 410), (283, 430), (279, 455), (278, 480), (281, 511)),
)
CAT: Outline = (
    *((42, 0), (36, 22), (34, 45), (32, 74), (29, 106), (20, 115), (0, 125), (0, 299), (300, 299), (310, 280)),
    *((322, 258), (325, 240), (328, 220), (340, 199), (352, 179), (359, 150), (364, 124), (362, 103), (357, 72)),
    *((372, 54), (381, 34), (392, 16), (401, 0)),
)

Box = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels."""


def _written(pen: ImageDraw.ImageDraw, lines: Sequence[Line]) -> list[tuple[Box, list[Box]]]:
    """Write the lines; of each the box around its ink, and those of its characters."""
    boxes = []
    for x, y, words, size, colour in lines:
        font = ImageFont.load_default(size=size)
        pen.text((x, y), words, fill=colour, font=font)
        starts = [x + font.getlength(words[:index]) for index in range(len(words))]
        characters = [
            _whole(pen.textbbox((start, y), character, font=font))
            for start, character in zip(starts, words, strict=True)
            if character != " "
        ]
        boxes.append((_whole(pen.textbbox((x, y), words, font=font)), characters))
    return boxes


def _whole(box: Sequence[float]) -> Box:
    left, top, right, bottom = (round(side) for side in box)
    return left, top, right, bottom


def _photo(name: str) -> NDArray[np.uint8]:
    (path,) = (photo.path for photo in zoo.photos() if photo.name == name)
    return np.asarray(Image.open(path).convert("RGB"))


def _filled(photo: NDArray[np.uint8], outline: Outline) -> NDArray[np.bool_]:
    canvas = Image.new("1", (photo.shape[1], photo.shape[0]))
    ImageDraw.Draw(canvas).polygon([*outline], fill=1)
    return np.asarray(canvas)


def _banded(inside: NDArray[np.bool_], width: int) -> NDArray[np.int8]:
    """The truth of a region whose edge is known up to `width` pixels."""
    distance = np.where(inside, distance_transform_edt(inside), distance_transform_edt(~inside))
    return np.where(distance <= width, -1, inside).astype(np.int8)
