"""Data sets: photos with the truths of their objects, opened one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import OptionError
from interactify.volumes.volume import Volume

Truth = NDArray[np.int8]
"""(H, W), or (D, H, W) of a volume: 1 object, 0 background, -1 unknown."""
Mask = NDArray[np.bool_]
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Sample:
    """A photo or a volume, and the true mask of one object in it.

    Attributes:
        name: unique in its data set.
        photo: any photo that `Interactive.session` opens; for a network of volumes, any volume.
        truth: (H, W), or (D, H, W) of a volume, int8: 1 object, 0 background, -1 unknown.
        target: the class of positive clicks, for a network of several classes; None for the class that the network
            was wrapped with.
    """

    name: str
    photo: Path | NDArray[Any] | Volume
    truth: Truth
    target: int | str | None = None

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Of a `Volume`'s slices, rows and columns; None of anything else, whose pixels or voxels are 1 apart."""
        return self.photo.spacing if isinstance(self.photo, Volume) else None


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo whose truths are read during iteration, which yields a `Sample` for each object.

    Attributes:
        name: unique in its data set.
        photo: its file.
        read: returns the truths, (H, W) int8 each, by the object's name; "" where a photo has only one object.
        by_class: whether the objects' names are indices of classes, which positive clicks on them then mean.
    """

    name: str
    photo: Path
    read: Callable[[], Mapping[str, Truth]]
    by_class: bool = False

    def __iter__(self) -> Iterator[Sample]:
        for key, truth in self.read().items():
            target = int(key) if self.by_class else None
            yield Sample(f"{self.name}#{key}" if key else self.name, self.photo, truth, target)


@dataclass(frozen=True)
class Dataset:
    """Photos in a fixed order; iteration yields a `Sample` for each object, and opens one photo at a time."""

    name: str
    photos: tuple[AnnotatedPhoto, ...]

    def __post_init__(self) -> None:
        counts = Counter(photo.name for photo in self.photos)
        duplicates = [name for name, count in counts.items() if count > 1]
        if duplicates:  # their records would have the same name
            raise OptionError(
                f"Expected photos of different names in the data set {self.name}, got two photos called "
                f"{duplicates[0]}. Try to rename one, or to list it once."
            )

    def __iter__(self) -> Iterator[Sample]:
        for photo in self.photos:
            yield from photo

    def every(self, n: int) -> Dataset:
        """Every n-th photo, the first one included.

        Raises:
            OptionError: n is no whole number from 1 up.
        """
        if not isinstance(n, int) or n < 1:
            raise OptionError(f"Expected to take every n-th photo with n from 1 up, got {n!r}. Try 1.")
        return Dataset(self.name, self.photos[::n])


def pictures(folder: Path) -> list[Path]:
    """The picture files in a folder, by name; none where there is no such folder.

    Hidden ones are left out: macOS writes a ._NAME.jpg beside NAME.jpg on disks of other systems, which is no picture.
    """
    return sorted(path for path in visible(folder, "*") if path.suffix.lower() in PICTURES and path.is_file())


def visible(folder: Path, pattern: str) -> list[Path]:
    """The paths in a folder that match a pattern and whose names don't begin with a full stop, by name."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def read_labels(path: Path) -> NDArray[np.integer]:
    """A picture of labels as (H, W) whole numbers: grey values, or a palette's indices.

    Raises:
        OptionError: the file is no picture, or it has colours.
    """
    image = _opened(path)
    if image.mode == "1":
        return np.array(image.convert("L"))
    values = np.array(image)
    if values.ndim == 3:
        colours = read_colours(path)
        if (colours != colours[..., :1]).any():
            raise OptionError(
                f"Expected the mask {path} as a picture of labels, got one in colour. Try a grey one or a palette."
            )
        values = colours[..., 0]
    return values


def read_colours(path: Path) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) red, green and blue, whatever its mode.

    Raises:
        OptionError: the file is no picture.
    """
    return np.array(_opened(path).convert("RGB"))


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except OSError as cause:
        raise OptionError(f"Expected a mask in {path}, got a file that can't be read ({cause}). Try a PNG.") from cause


def truth_of(object_: NDArray[np.bool_], unknown: NDArray[np.bool_] | None = None) -> Truth:
    """Combine two masks into a truth (H, W) int8: -1 where unknown, 1 for the object, 0 elsewhere.

    >>> truth_of(np.array([[True, False]]), np.array([[False, True]]))
    array([[ 1, -1]], dtype=int8)
    """
    truth = object_.astype(np.int8)
    if unknown is not None:
        truth[unknown] = -1
    return truth
