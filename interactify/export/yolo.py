"""YOLO's text for segmentation: one line a component, with its class and its outline relative to the photo's size."""

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
    """Outline objects as lines of YOLO's segmentation labels: ``class x1 y1 x2 y2 …``.

    The format has neither objects of several parts nor holes. Each component has a line of its own, so readers take an
    object in three parts for three objects. A hole is joined to its outline by a bridge of no width, there and back,
    which fills to the same mask.

    Args:
        masks: (H, W) bool, one or several of one size.
        classes: one index for each mask, from 0 on; 0 for all by default.
        tolerance: of the outlines' simplification, in pixels (see `polygons`); exact outlines are long.

    Returns:
        The lines; none for an empty mask. x is divided by the width, y by the height of the photo, so 0 and 1 are its
        borders. Eight decimals are exact to a thousandth of a pixel for any photo up to 50,000 pixels wide.

    Raises:
        OptionError: invalid masks, or `classes` of another length or with invalid indices.

    >>> yolo_lines(np.array([[True, True, False, False]]), [7])
    ['7 0 0 0.5 0 0.5 1 0 1']
    """
    found = checked_masks(masks)
    lines = []
    for mask, number in zip(found, checked_numbers(classes, len(found), "class", 0), strict=True):
        sides = np.array(mask.shape[::-1])
        for polygon in polygons(mask, tolerance):
            shares = (single_ring(polygon) / sides).ravel().tolist()
            lines.append(" ".join([str(number), *map(_decimal, shares)]))
    return lines


def write_yolo(
    path: str | os.PathLike[str],
    masks: Sequence[Mask] | NDArray[np.bool_],
    classes: Sequence[int] | None = None,
    *,
    tolerance: float = 0.0,
) -> Path:
    r"""Write the result of `yolo_lines` as a file, which YOLO expects under the photo's name with .txt.

    Args:
        path: of the file; an existing one is replaced.
        masks: (H, W) bool, one or several of one size. Where all are empty, so is the file: a photo without objects.
        classes: one index for each mask, from 0 on; 0 for all by default.
        tolerance: of the outlines' simplification, in pixels.

    Returns:
        The file's path.

    Raises:
        OptionError: as for `yolo_lines`, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_yolo(Path(folder, "cup.txt"), np.ones((2, 3), bool)).read_text()
    '0 0 0 1 0 1 1 0 1\n'
    """
    lines = yolo_lines(masks, classes, tolerance=tolerance)
    return write_whole(Path(path), "".join(f"{line}\n" for line in lines).encode("ascii"))


def _decimal(value: float) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")
