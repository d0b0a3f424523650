"""YOLO's text for segmentation: a line for each component, its class and its outline in parts of the photo's sides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactify.export.files import write_whole
from interactify.masks.arrays import Mask, checked_masks, checked_numbers
from interactify.masks.polygons import polygons, single_ring


def yolo_lines(
    masks: Sequence[Mask] | NDArray[np.bool_],
    classes: Sequence[int] | None = None,
    *,
    tolerance: float = 0.0,
) -> list[str]:
    """Outline objects the way YOLO's segmentation labels are written: ``class x1 y1 x2 y2 …``.

    The format knows neither objects of several parts nor holes. Each component has a line of its own, so an object in
    three parts is three to whoever reads it; a hole is joined to its outline by a bridge of no width, there and back,
    which fills to the same mask.

    Args:
        masks: (H, W) bool, one or several of one size.
        classes: of each mask, from 0 on; 0 for all by default.
        tolerance: in pixels, by which outlines are simplified (see `polygons`); exact outlines are long.

    Returns:
        The lines. x is divided by the width, y by the height of the photo, so 0 and 1 are its borders; eight decimals,
        which is exact to a thousandth of a pixel for any photo up to 50,000 pixels wide. None for empty masks.

    Raises:
        OptionError: these are no masks, or `classes` is not as long or no indices.

    >>> yolo_lines(np.array([[True, True, False, False]]), [7])
    ['7 0 0 0.5 0 0.5 1 0 1']
    """
    found = checked_masks(masks)
    lines = []
    for mask, number in zip(found, checked_numbers(classes, len(found), "class", 0), strict=True):
        sides = np.array(mask.shape[::-1])
        for polygon in polygons(mask, tolerance):
            parts = (single_ring(polygon) / sides).ravel().tolist()
            lines.append(" ".join([str(number), *map(_decimal, parts)]))
    return lines


def write_yolo(
    path: str | os.PathLike[str],
    masks: Sequence[Mask] | NDArray[np.bool_],
    classes: Sequence[int] | None = None,
    *,
    tolerance: float = 0.0,
) -> Path:
    r"""Write what `yolo_lines` gives as a file, to be named as the photo is, with .txt.

    Args:
        path: of the file, which is replaced where it exists.
        masks: (H, W) bool, one or several of one size. Where all are empty, so is the file: a photo of background.
        classes: of each mask, from 0 on; 0 for all by default.
        tolerance: in pixels, by which outlines are simplified.

    Returns:
        The file's path.

    Raises:
        OptionError: as `yolo_lines` says, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_yolo(Path(folder, "cup.txt"), np.ones((2, 3), bool)).read_text()
    '0 0 0 1 0 1 1 0 1\n'
    """
    lines = yolo_lines(masks, classes, tolerance=tolerance)
    return write_whole(Path(path), "".join(f"{line}\n" for line in lines).encode("ascii"))


def _decimal(value: float) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")
