"""Squares around single objects of photos, as a network that is trained for clicks sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.learning.labelled_photos import UNKNOWN, LabelledPhoto

TRIES = 4  # objects of a photo that are looked at before the photo is given up


@dataclass(frozen=True)
class ObjectCrops:
    """Cuts a square with one object out of a photo, and resizes it.

    Attributes:
        side: of the square, in network pixels.
        margin: how much longer the cut is than the object's longer side, at least and at most.
        whole: the share of samples that show the whole photo.
        smallest: the least area of an object in the square, in network pixels.
    """

    side: int = 224
    margin: tuple[float, float] = (1.1, 2.6)
    whole: float = 0.25
    smallest: int = 80

    def cut(
        self, photo: LabelledPhoto, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int8]] | None:
        """A square (side, side, 3) uint8 and the truth in it (side, side) int8: 1 object, 0 background, -1 unknown.

        Other objects of the photo are background. None where the photo shows no object that is large enough.
        """
        image, labels = photo.read()
        known = np.unique(labels)
        objects = known[(known > 0) & (known < UNKNOWN)]
        for label in random.permutation(objects)[:TRIES]:
            left, top, width, height = self._window(labels == label, random)
            truth = np.where(labels == label, 1, 0).astype(np.int8)
            truth[labels == UNKNOWN] = -1
            box = (left, top, left + width, top + height)
            small = np.asarray(
                Image.fromarray(truth.astype(np.uint8)).resize((self.side, self.side), Image.Resampling.NEAREST, box)
            ).astype(np.int8)
            if (small == 1).sum() < self.smallest or not (small == 0).any():
                continue
            square = Image.fromarray(image).resize((self.side, self.side), Image.Resampling.BILINEAR, box)
            flipped = random.random() < 0.5
            pixels = np.asarray(square)
            return (pixels[:, ::-1], small[:, ::-1]) if flipped else (pixels, small)
        return None

    def _window(self, mask: NDArray[np.bool_], random: np.random.Generator) -> tuple[int, int, int, int]:
        """Left, top, width and height of the cut: around the object, within the photo."""
        height, width = mask.shape
        if random.random() < self.whole:
            return 0, 0, width, height
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        longer = max(bottom - top, right - left) * random.uniform(*self.margin)
        side = (min(width, max(16, round(longer))), min(height, max(16, round(longer))))
        at = []
        for low, high, length, full in ((left, right, side[0], width), (top, bottom, side[1], height)):
            first, last = max(0, min(high - length, low)), min(full - length, max(low, high - length))
            at.append(int(random.integers(min(first, last), max(first, last) + 1)))
        return at[0], at[1], side[0], side[1]
