"""Hand-drawn strokes in a picture of labels, turned into clicks along them; and a user who starts with strokes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, find_objects, label

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Mask, Sample
from interactify.evaluation.simulated_user import Gesture, SimulatedUser, user_named
from interactify.interactions.click import Click

EIGHT = np.ones((3, 3), bool)
POLARITIES: Mapping[int, bool] = {1: True, 2: False}  # as in the strokes that come with GrabCut


def strokes(
    labels: NDArray[np.integer], *, spacing: float = 20, polarities: Mapping[int, bool] = POLARITIES
) -> tuple[Gesture, ...]:
    """Turn drawn strokes into clicks: one gesture for each connected stroke, clicks along it at equal distances.

    Args:
        labels: (H, W) of whole numbers: 0 where nothing was drawn, else a stroke's label.
        spacing: pixels along the stroke from one click to the next; a short stroke has one click.
        polarities: the meaning of each label: True for the object, False for the background.

    Returns:
        Gestures, first those of the object; each has its clicks from one end of the stroke to the other. Every click
        is on its stroke.

    Raises:
        OptionError: `labels` is no (H, W) array of whole numbers, a label has no polarity, or the spacing is under one
            pixel.

    >>> drawn = np.zeros((5, 50), np.uint8); drawn[2, 4:46] = 1; drawn[4, 0] = 2
    >>> [[(c.x, c.positive) for c in gesture] for gesture in strokes(drawn)]
    [[(45, True), (25, True), (5, True)], [(0, False)]]
    """
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise OptionError(
            f"Expected strokes as (H, W) array of whole numbers, got {getattr(labels, 'shape', labels)}. Try uint8."
        )
    if not spacing >= 1:
        raise OptionError(
            f"Expected a spacing of at least one pixel between a stroke's clicks, got {spacing!r}. Try 20."
        )
    unknown = sorted({int(value) for value in np.unique(labels)} - {0} - set(polarities))
    if unknown:
        raise OptionError(f"Expected strokes labelled {sorted(polarities)}, got {unknown}. Try polarities={{…}}.")
    gestures = []
    for value in sorted(polarities, key=lambda value: not polarities[value]):
        pieces, _ = label(labels == value, EIGHT)
        for number, (rows, columns) in enumerate(find_objects(pieces), start=1):
            along = _along(pieces[rows, columns] == number, spacing)
            gestures.append(tuple(Click(columns.start + x, rows.start + y, polarities[value]) for y, x in along))
    return tuple(gestures)


@dataclass(frozen=True)
class Strokes:
    """A user who draws prepared strokes, all before the first prediction, and continues as another user.

    Each stroke counts as one click.

    Args:
        root: folder of pictures of labels, `NAME.png` or `NAME-anno.png` for the photo NAME: 0 nothing, 1 object, 2
            background.
        spacing: see `strokes`.
        then: the user who corrects the remaining errors, or its name.
        polarities: see `strokes`.

    Raises:
        OptionError: the folder doesn't exist; or, from `turn`, a photo has no strokes or strokes of another size.
    """

    root: Path
    spacing: float = 20
    then: str | SimulatedUser = "centre"
    polarities: Mapping[int, bool] = field(default_factory=lambda: dict(POLARITIES))

    def __post_init__(self) -> None:
        if not Path(self.root).is_dir():
            raise OptionError(f"Expected a folder of strokes, got no folder {self.root}. Try its whole path.")

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        if clicked.any():
            return user_named(self.then).turn(sample, mask, clicked, left)
        found = [path for end in ("", "-anno") if (path := Path(self.root) / f"{sample.name}{end}.png").exists()]
        if not found:
            raise OptionError(
                f"Expected strokes {sample.name}.png in {self.root}, got no such file. Try another folder of strokes."
            )
        with Image.open(found[0]) as image:
            labels = np.array(image)
        if labels.shape != mask.shape:
            raise OptionError(
                f"Expected strokes of the photo's size {mask.shape} (H, W), got {labels.shape} in {found[0]}. "
                "Try the strokes that belong to this photo."
            )
        drawn = strokes(labels, spacing=self.spacing, polarities=self.polarities)
        if not drawn:
            return user_named(self.then).turn(sample, mask, clicked, left)
        return drawn[:left]


def _along(stroke: Mask, spacing: float) -> list[tuple[int, int]]:
    """Pixels (y, x) of a connected stroke, from one end, at equal distances along it; one for each branch."""
    # From any pixel, the last pixel to be reached is an end.
    start = np.argwhere(stroke)[0]
    steps = _steps(stroke, (int(start[0]), int(start[1])))
    end = np.unravel_index(int(steps.argmax()), steps.shape)
    steps = _steps(stroke, (int(end[0]), int(end[1])))
    pixels = []
    for distance in np.arange(0, steps.max() + 1, spacing):
        branches, count = label(steps == int(distance), EIGHT)
        for branch in range(1, count + 1):
            across = np.argwhere(branches == branch)
            y, x = across[len(across) // 2]
            pixels.append((int(y), int(x)))
    return pixels


def _steps(stroke: Mask, start: tuple[int, int]) -> NDArray[np.int64]:
    """The number of steps from a start to each pixel of its stroke; -1 outside."""
    steps = np.full(stroke.shape, -1)
    front = np.zeros(stroke.shape, bool)
    front[start] = True
    distance = 0
    while front.any():
        steps[front] = distance
        distance += 1
        front = binary_dilation(front, EIGHT) & stroke & (steps < 0)
    return steps
