"""Photos with masks on disk: which file belongs to which, what a mask's values mean, and how often each is drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from interactify.errors import OptionError, PhotoError, reason_of

Values = Literal["object", "instances", "classes"]
"""What the values of a mask file mean.

"object": 0 background, 255 (or 1, where nothing is above it) one object, anything between is unknown.
"instances": 0 background, 1 to 254 an object each, 255 unknown.
"classes": the class of each pixel, 255 unknown.
"""

UNKNOWN = 255
_LOOKED_AT = 20  # masks, to find out what their values mean
_PHOTOS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo with its mask.

    Attributes:
        image, mask: their files.
        values: what the values of the mask mean.
        weight: how often it is drawn, relative to others.
    """

    image: Path
    mask: Path
    values: Values = "object"
    weight: float = 1.0

    def read(self, longest: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The photo (H, W, 3) and its labels (H, W), both uint8: 0 background, 1 to 254 objects, 255 unknown.

        Args:
            longest: the longest side in pixels; a larger photo is shrunk while it is read.

        Raises:
            PhotoError: a file can't be read, or photo and mask are of different sizes.
        """
        try:
            with Image.open(self.image) as opened:
                size = opened.size
                if longest is not None and max(size) > longest:
                    opened.draft("RGB", (longest, longest))
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, ValueError, SyntaxError) as cause:
            raise self._unreadable(cause) from cause
        labels = self.read_labels()
        height, width = labels.shape
        if (width, height) not in (size, size[::-1]):
            raise PhotoError(
                f"Expected a mask of the photo's size, {size[0]} wide and {size[1]} high, got {self.mask}, {width} "
                f"wide and {height} high. Try the mask that belongs to this photo."
            )
        if longest is not None and max(width, height) > longest:
            scale = longest / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
            labels = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image), labels

    def read_labels(self) -> NDArray[np.uint8]:
        """The labels alone, as `read` gives them, at their own size; raises as `read`."""
        try:
            with Image.open(self.mask) as opened:
                mask = opened if opened.mode in ("L", "P", "1", "I", "I;16") else opened.convert("L")
                labels = np.asarray(mask.convert("L") if mask.mode == "1" else mask)
        except (OSError, ValueError, SyntaxError) as cause:
            raise self._unreadable(cause) from cause
        return _labels(labels, self.values)

    def _unreadable(self, cause: Exception) -> PhotoError:
        return PhotoError(
            f"Expected a readable photo and mask, got {self.image} and {self.mask} ({reason_of(cause, 160)}). Try "
            "without this photo."
        )


def _labels(values: NDArray[np.integer], meaning: Values) -> NDArray[np.uint8]:
    if meaning == "object":
        highest = 255 if values.max(initial=0) > 1 else 1
        labels = np.where(values == highest, 1, np.where(values == 0, 0, UNKNOWN))
    else:
        labels = np.where((values < 0) | (values > UNKNOWN), UNKNOWN, values)
    return labels.astype(np.uint8)


def photos_in(
    folder: str | os.PathLike[str],
    values: Values | None = None,
    *,
    stems: Iterable[str] | None = None,
    share: float | None = None,
) -> list[LabelledPhoto]:
    """The photos of a folder with `images/` and `masks/`, whose files have the same names up to the ending.

    Args:
        folder: the folder.
        values: what the values of its masks mean; by default "object" where they are 0, 128 and 255 only, else
            "instances".
        stems: the names, without ending, of those to take; all by default.
        share: how often one of them is drawn, together, relative to other folders; by default each counts 1.

    Raises:
        OptionError: there are no such folders, or no photo with a mask in them.
    """
    root = Path(folder)
    images, masks = root / "images", root / "masks"
    if not images.is_dir() or not masks.is_dir():
        raise OptionError(f"Expected a folder with images/ and masks/, got {root}. Try the folder above them.")
    wanted = None if stems is None else set(stems)
    pairs = [
        (image, masks / f"{image.stem}.png")
        for image in sorted(images.iterdir())
        if image.suffix.lower() in _PHOTOS and (wanted is None or image.stem in wanted)
    ]
    pairs = [(image, mask) for image, mask in pairs if mask.is_file()]
    if not pairs:
        raise OptionError(f"Expected photos in {images} with masks (PNG, the same names) in {masks}, got none.")
    meaning = values or _meaning_of([mask for _, mask in pairs])
    found = [LabelledPhoto(image, mask, meaning) for image, mask in pairs]
    return found if share is None else [replace(photo, weight=share / len(found)) for photo in found]


def _meaning_of(masks: Sequence[Path]) -> Values:
    """What the values of masks mean, from the first of them that show an object."""
    for path in masks[:_LOOKED_AT]:
        try:
            with Image.open(path) as opened:
                seen = set(np.unique(np.asarray(opened)).tolist())
        except (OSError, ValueError, SyntaxError):  # reading it says what is wrong with it
            continue
        if seen & {255} and seen <= {0, 128, 255}:
            return "object"
        if seen - {0, 255}:
            return "instances"
    return "object"


@dataclass(frozen=True)
class Drawing:
    """Draws photos at random, each as often as its weight says."""

    photos: Sequence[LabelledPhoto]

    def __post_init__(self) -> None:
        if not self.photos:
            raise OptionError("Expected photos to draw from, got none.")

    def draw(self, count: int, generator: torch.Generator) -> Iterator[LabelledPhoto]:
        """Draw `count` photos, with repetition."""
        weights = torch.tensor([photo.weight for photo in self.photos], dtype=torch.float64)
        for index in torch.multinomial(weights, count, replacement=True, generator=generator).tolist():
            yield self.photos[index]


def as_square(image: NDArray[np.uint8], labels: NDArray[np.uint8], side: int) -> tuple[Tensor, Tensor]:
    """A photo and its labels resized to (3, side, side) and (1, side, side), both uint8; the aspect ratio changes."""
    square = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small = Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1), torch.from_numpy(np.array(small))[None]
