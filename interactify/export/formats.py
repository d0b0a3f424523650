"""The formats in which `interactify segment` writes a result: their names, their contents and their files' names.

The command line's help lists them, so importing this loads neither torch nor NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from interactify import export
from interactify.errors import OptionError

if TYPE_CHECKING:  # the help has no use for NumPy
    import numpy as np
    from numpy.typing import NDArray


MOST_BYTES: Final = 255  # of a file's name, on every usual file system


class Segmented(Protocol):
    """What the formats need of a result: `interactify.Result` has both."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool."""

    @property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]."""


@dataclass(frozen=True)
class Exported:
    """What is written: a result, its photo, its object's category, and the tolerance of outlines in pixels."""

    result: Segmented
    photo: Path
    category: str
    tolerance: float


class Format(NamedTuple):
    """A format: the ending of its file's name, its content, and the function that writes it."""

    ending: str
    holds: str
    write: Callable[[Path, Exported], Path]


def formats_named(texts: Sequence[str]) -> list[str]:
    """Split names of formats at commas; each is returned once, in the given order.

    Raises:
        OptionError: one of them is unknown.

    >>> formats_named(["png,yolo", "coco", "png"])
    ['png', 'yolo', 'coco']
    """
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"Expected formats out of {', '.join(FORMATS)}; got {name!r}. Try png.")
    return list(dict.fromkeys(names))


def checked_tolerance(tolerance: float) -> float:
    """Return a tolerance in pixels unchanged.

    Raises:
        OptionError: it is negative or not finite.
    """
    if not 0 <= tolerance < float("inf"):
        raise OptionError(f"Expected a tolerance of 0 pixels or more, got {tolerance}. Try 1.")
    return tolerance


def file_names(names: Sequence[str], photo: Path, *others: str) -> list[str]:
    """The names of the files that are written for a photo: one for each format, then with each other ending.

    Raises:
        OptionError: one of them is longer than file systems take; nothing is written yet.

    >>> file_names(["png", "coco"], Path("photos/cup.jpg"), "-overlay.png")
    ['cup-mask.png', 'cup-coco.json', 'cup-overlay.png']
    """
    found = [f"{photo.stem}{ending}" for ending in (*(FORMATS[name].ending for name in names), *others)]
    for name in found:
        if len(os.fsencode(name)) > MOST_BYTES:
            raise OptionError(
                f"Expected a photo whose results have names of at most {MOST_BYTES} bytes, got {photo.name[:40]}…, "
                f"whose …{name[-20:]} would have {len(os.fsencode(name))}. Try a shorter name for the photo."
            )
    return found


def write_formats(names: Sequence[str], folder: Path, exported: Exported) -> list[Path]:
    """Write a file for each format, named after the photo.

    Returns:
        The files' paths, in the formats' order.

    Raises:
        OptionError: a file can't be written.
    """
    files = file_names(names, exported.photo)
    return [FORMATS[name].write(folder / file, exported) for name, file in zip(names, files, strict=True)]


def _png(path: Path, exported: Exported) -> Path:
    return export.write_mask(path, exported.result.mask)


def _labels(path: Path, exported: Exported) -> Path:
    return export.write_labels(path, export.label_map(exported.result.mask))


def _npy(path: Path, exported: Exported) -> Path:
    return export.write_probability_npy(path, exported.result.probability)


def _prob16(path: Path, exported: Exported) -> Path:
    return export.write_probability_png(path, exported.result.probability)


def _coco(path: Path, exported: Exported) -> Path:
    photo = export.CocoPhoto(exported.photo.name, [exported.result.mask])
    return export.write_coco(path, [photo], [exported.category], tolerance=exported.tolerance)


def _rle(path: Path, exported: Exported) -> Path:
    return export.write_rle(path, exported.result.mask)


def _geojson(path: Path, exported: Exported) -> Path:
    properties = [{"category": exported.category}]
    return export.write_geojson(path, exported.result.mask, properties, tolerance=exported.tolerance)


def _yolo(path: Path, exported: Exported) -> Path:
    return export.write_yolo(path, exported.result.mask, tolerance=exported.tolerance)


FORMATS = {
    "png": Format("-mask.png", "the mask, 8-bit grey: 255 object, 0 elsewhere", _png),
    "labels": Format("-labels.png", "labels, 8-bit with VOC's palette: 1 object, 0 elsewhere", _labels),
    "npy": Format("-probability.npy", "probabilities, float32 from 0 to 1, for numpy.load", _npy),
    "prob16": Format("-probability.png", "probabilities, 16-bit grey: 65535 is 1", _prob16),
    "coco": Format("-coco.json", "COCO's JSON with exact polygons; category 1", _coco),
    "rle": Format("-rle.json", "COCO's run lengths, compressed", _rle),
    "geojson": Format(".geojson", "polygons with holes, in pixels", _geojson),
    "yolo": Format(".txt", "YOLO's segmentation text, parts of width and height; class 0", _yolo),
}

FORMAT_HELP = f"""the files to write, png by default; repeat it, or separate names by commas:
{"; ".join(f"{name} (PHOTO{form.ending}: {form.holds})" for name, form in FORMATS.items())}"""
