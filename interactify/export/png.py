"""PNG: masks, maps of labels with their palette, probabilities in 16 bits, and pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import OptionError
from interactify.export.files import write_whole
from interactify.masks.arrays import Mask, checked_labels, checked_mask, checked_probability, described


def write_mask(path: str | os.PathLike[str], mask: Mask) -> Path:
    """Write a mask as an 8-bit greyscale PNG: 255 where the object is, 0 elsewhere.

    Args:
        path: of the file, which is replaced where it exists.
        mask: (H, W) bool.

    Returns:
        The file's path.

    Raises:
        OptionError: where `mask` is something else, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_mask(Path(folder, "mask.png"), np.eye(2, dtype=bool))) as written:
    ...         np.asarray(written).tolist()
    [[255, 0], [0, 255]]
    """
    return _write_png(Path(path), Image.fromarray(checked_mask(mask).astype(np.uint8) * 255))


def write_labels(path: str | os.PathLike[str], labels: NDArray[Any]) -> Path:
    """Write a map of labels as a PNG whose values are the labels, 0 for the background.

    Up to label 255 the file has 8 bits and the palette of PASCAL VOC, so that it can be looked at (`voc_palette`);
    readers that know palettes give the labels back, as `np.asarray(PIL.Image.open(path))` does. With a label above 255
    it has 16 bits, greyscale, and no palette, since PNG allows none there. VOC leaves pixels labelled 255 out of
    account ("void"): where such a tool comes next, don't use 255 for an object.

    Args:
        path: of the file, which is replaced where it exists.
        labels: (H, W) integers from 0 to 65535; `label_map` makes them of masks.

    Returns:
        The file's path.

    Raises:
        OptionError: where `labels` is something else, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_labels(Path(folder, "labels.png"), np.array([[0, 1], [15, 255]]))) as written:
    ...         written.mode, np.asarray(written).tolist(), written.convert("RGB").getpixel((1, 0))
    ('P', [[0, 1], [15, 255]], (128, 0, 0))
    """
    image = Image.fromarray(checked_labels(labels))
    if image.mode == "L":
        image.putpalette(voc_palette().tobytes())
    return _write_png(Path(path), image)


def write_probability_png(path: str | os.PathLike[str], probability: NDArray[np.floating]) -> Path:
    """Write probabilities as a 16-bit greyscale PNG: 0 for 0, 65535 for 1, rounded; value / 65535 gives them back.

    Args:
        path: of the file, which is replaced where it exists.
        probability: (H, W) floats in [0, 1], such as `result.probability`.

    Returns:
        The file's path.

    Raises:
        OptionError: where `probability` is something else, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_probability_png(Path(folder, "p.png"), np.array([[0, 0.25, 1]]))) as written:
    ...         np.asarray(written).tolist()
    [[0, 16384, 65535]]
    """
    steps = np.rint(checked_probability(probability).astype(np.float64) * 65535)
    return _write_png(Path(path), Image.fromarray(steps.astype(np.uint16)))


def write_probability_npy(path: str | os.PathLike[str], probability: NDArray[np.floating]) -> Path:
    """Write probabilities as a NumPy file, which `np.load` reads: (H, W) float32, to the last bit of `Result`'s.

    Args:
        path: of the file, which is replaced where it exists. Nothing is appended to its name.
        probability: (H, W) floats in [0, 1], such as `result.probability`.

    Returns:
        The file's path.

    Raises:
        OptionError: where `probability` is something else, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.load(write_probability_npy(Path(folder, "p.npy"), np.array([[0, 0.25, 1]])))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(checked_probability(probability), np.float32), allow_pickle=False)
    return write_whole(Path(path), content.getvalue())


def write_picture(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> Path:
    """Write a picture, such as an overlay or a contact sheet, as an RGB PNG.

    Args:
        path: of the file, which is replaced where it exists.
        picture: (H, W, 3) uint8.

    Returns:
        The file's path.

    Raises:
        OptionError: where `picture` is something else, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_picture(Path(folder, "grey.png"), np.full((2, 5, 3), 90, np.uint8))) as written:
    ...         written.size
    (5, 2)
    """
    good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if not good or not picture.size:
        raise OptionError(f"Expected a picture as (H, W, 3) uint8 array with pixels in it, got {described(picture)}.")
    return _write_png(Path(path), Image.fromarray(picture))


def voc_palette() -> NDArray[np.uint8]:
    """The 256 colours that PASCAL VOC's label maps are drawn in, which most labelling tools know.

    Returns:
        (256, 3) uint8, red, green and blue of each label. The label's bits are dealt out in turn to the three colours,
        the lowest becoming the highest of red: neighbouring labels are far apart.

    >>> voc_palette()[[0, 1, 2, 15, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    """
    labels = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= ((labels >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


def _write_png(path: Path, image: Image.Image) -> Path:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return write_whole(path, content.getvalue())
