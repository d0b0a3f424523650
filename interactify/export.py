"""Results as files: masks and pictures as PNG, each written whole or not at all."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import OptionError
from interactify.whole_file import write_whole


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that files can be written to a folder, before any work is done for them.

    Args:
        path: the folder; it and the folders above it are created where missing.

    Returns:
        The folder's path.

    Raises:
        OptionError: where it can't be created, is a file, or can't be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare_folder(Path(folder, "new", "out")).name
    'out'
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only writing tells: permission bits don't know of read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise OptionError(f"Can't write to {folder} ({reason}). Name a folder that you may write to.") from cause
    return folder


def write_mask(path: str | os.PathLike[str], mask: NDArray[np.bool_]) -> Path:
    """Write a mask as an 8-bit greyscale PNG: 255 where the object is, 0 elsewhere.

    Args:
        path: of the file, which is replaced where it exists.
        mask: (H, W) bool.

    Returns:
        The file's path.

    Raises:
        OptionError: where `mask` is something else, or the file can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_mask(Path(folder, "mask.png"), np.eye(2, dtype=bool))) as written:
    ...         np.asarray(written).tolist()
    [[255, 0], [0, 255]]
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2 or not mask.size:
        raise OptionError(f"Expected a mask as (H, W) bool array with pixels in it, got {_what(mask)}.")
    return _write_png(Path(path), Image.fromarray(mask.astype(np.uint8) * 255))


def write_picture(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> Path:
    """Write a picture, such as an overlay or a contact sheet, as an RGB PNG.

    Args:
        path: of the file, which is replaced where it exists.
        picture: (H, W, 3) uint8.

    Returns:
        The file's path.

    Raises:
        OptionError: where `picture` is something else, or the file can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_picture(Path(folder, "grey.png"), np.full((2, 5, 3), 90, np.uint8))) as written:
    ...         written.size
    (5, 2)
    """
    good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if not good or not picture.size:
        raise OptionError(f"Expected a picture as (H, W, 3) uint8 array with pixels in it, got {_what(picture)}.")
    return _write_png(Path(path), Image.fromarray(picture))


def _write_png(path: Path, image: Image.Image) -> Path:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return write_whole(path, content.getvalue())


def _what(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
