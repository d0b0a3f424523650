"""What is sent of a photo: the bytes of its file, or an array as a PNG; and masks as they come back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import PhotoError, with_type
from interactify.masks.run_lengths import mask_of_rle
from interactify.pictures.bare_png import GREY, RGB, RGBA, bare_png
from interactify.plain_array import plain_array

COLOURS: Final = {1: GREY, 3: RGB, 4: RGBA}  # of a PNG, by the number of channels


def file_of(photo: Any) -> tuple[bytes, str]:
    """The bytes of a photo's file and its name.

    Args:
        photo: the path of a file; its bytes; or an array (H, W), (H, W, 3) or (H, W, 4) of uint8.

    Raises:
        PhotoError: it is something else, or can't be read.
    """
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return bytes(photo), "photo"
    if isinstance(photo, (str, os.PathLike)):
        path = Path(photo)
        try:
            return path.read_bytes(), path.name
        except OSError as cause:
            raise PhotoError(f"Expected a picture file, got {path}, which can't be read ({cause.strerror}).") from cause
    try:
        array = np.asarray(plain_array(photo, "a photo"))
    except Exception as cause:  # the object's own code decides what it raises
        raise PhotoError(f"Expected a path, bytes or an array of uint8, got {with_type(photo)}.") from cause
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in COLOURS or not array.size:
        raise PhotoError(
            f"Expected an array (H, W), (H, W, 3) or (H, W, 4) of uint8, got {array.shape} of {array.dtype}. Try "
            "the path of a file."
        )
    return png_of(array.reshape(*array.shape[:2], channels)), "photo.png"


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """An array (H, W, 1, 3 or 4) of uint8 as a PNG, which holds exactly these values.

    >>> png_of(np.zeros((2, 3, 3), np.uint8))[1:4]
    b'PNG'
    """
    height, width, channels = pixels.shape
    return bare_png(pixels.reshape(height, -1), width, COLOURS[channels])


def patched(before: NDArray[np.bool_] | None, change: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask (H, W) bool after a change, which names the part that differs from `before`; read-only.

    >>> change = {"base": 3, "box": [1, 0, 1, 2], "rle": {"size": [2, 1], "counts": [0, 2]}}
    >>> patched(np.zeros((2, 3), bool), change, (2, 3)).astype(int)
    array([[0, 1, 0],
           [0, 1, 0]])
    """
    if change["box"] is None and before is not None:
        return before
    mask = np.zeros(size, bool) if before is None else before.copy()
    if change["box"] is not None:
        left, top, width, height = change["box"]
        mask[top : top + height, left : left + width] = mask_of_rle(change["rle"])
    mask.setflags(write=False)
    return mask
