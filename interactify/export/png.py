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
from interactify.export.files import check_ending, write_whole
from interactify.masks.arrays import Mask, checked_labels, checked_mask, checked_probability, described
from interactify.plain_array import plain_array


def write_mask(path: str | os.PathLike[str], mask: Mask) -> Path:
    """Write a mask as an 8-bit greyscale PNG: 255 where the object is, 0 elsewhere.

    Args:
        path: of the file, ending in .png; an existing one is replaced.
        mask: (H, W) bool, or uint8 of only 0 and 1, or 0 and 255.

    Returns:
        The file's path.

    Raises:
        OptionError: `mask` is no such array, the name ends as another format's, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_mask(Path(folder, "mask.png"), np.eye(2, dtype=bool))) as written:
    ...         np.asarray(written).tolist()
    [[255, 0], [0, 255]]
    """
    check_ending(path, ".png")
    return _write_png(Path(path), Image.fromarray(checked_mask(mask).astype(np.uint8) * 255))


def write_labels(path: str | os.PathLike[str], labels: NDArray[Any]) -> Path:
    """Write a map of labels as a PNG whose values are the labels, 0 for the background.

    Up to label 255 the file has 8 bits and the palette of PASCAL VOC (`voc_palette`), so that viewers show colours;
    readers that support palettes return the labels, as `np.asarray(PIL.Image.open(path))` does. With a label above 255
    the file is 16-bit greyscale without a palette, since PNG allows none there. VOC ignores pixels labelled 255
    ("void"): don't use 255 for an object where such a tool reads the file.

    Args:
        path: of the file; an existing one is replaced.
        labels: (H, W) integers from 0 to 65535; `label_map` computes them from masks.

    Returns:
        The file's path.

    Raises:
        OptionError: `labels` is no such array, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_labels(Path(folder, "labels.png"), np.array([[0, 1], [15, 255]]))) as written:
    ...         written.mode, np.asarray(written).tolist(), written.convert("RGB").getpixel((1, 0))
    ('P', [[0, 1], [15, 255]], (128, 0, 0))
    """
    check_ending(path, ".png")
    image = Image.fromarray(checked_labels(labels))
    if image.mode == "L":
        image.putpalette(voc_palette().tobytes())
    return _write_png(Path(path), image)


def write_probability_png(path: str | os.PathLike[str], probability: NDArray[np.floating]) -> Path:
    """Write probabilities as a 16-bit greyscale PNG: 0 for 0, 65535 for 1, rounded; value / 65535 is the probability.

    Args:
        path: of the file; an existing one is replaced.
        probability: (H, W) floats in [0, 1], such as `result.probability`.

    Returns:
        The file's path.

    Raises:
        OptionError: `probability` is no such array, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_probability_png(Path(folder, "p.png"), np.array([[0, 0.25, 1]]))) as written:
    ...         np.asarray(written).tolist()
    [[0, 16384, 65535]]
    """
    check_ending(path, ".png")
    steps = np.rint(checked_probability(probability).astype(np.float64) * 65535)
    return _write_png(Path(path), Image.fromarray(steps.astype(np.uint16)))


def write_probability_npy(path: str | os.PathLike[str], probability: NDArray[np.floating]) -> Path:
    """Write probabilities as a NumPy file for `np.load`: (H, W) float32, bit for bit those of a `Result`.

    Args:
        path: of the file; an existing one is replaced. No ending is appended to its name.
        probability: (H, W) floats in [0, 1], such as `result.probability`.

    Returns:
        The file's path.

    Raises:
        OptionError: `probability` is no such array, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.load(write_probability_npy(Path(folder, "p.npy"), np.array([[0, 0.25, 1]])))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """
    check_ending(path, ".npy")
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(checked_probability(probability), np.float32), allow_pickle=False)
    return write_whole(Path(path), content.getvalue())


def write_picture(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> Path:
    """Write a picture, such as an overlay or a contact sheet, as an RGB PNG.

    Args:
        path: of the file; an existing one is replaced.
        picture: (H, W, 3) uint8.

    Returns:
        The file's path.

    Raises:
        OptionError: `picture` is no such array, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Image.open(write_picture(Path(folder, "grey.png"), np.full((2, 5, 3), 90, np.uint8))) as written:
    ...         written.size
    (5, 2)
    """
    check_ending(path, ".png")
    picture = plain_array(picture, "a picture")
    good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if not good or not picture.size:
        raise OptionError(f"Expected a picture as (H, W, 3) uint8 array with pixels in it, got {described(picture)}.")
    return _write_png(Path(path), Image.fromarray(picture))


def voc_palette() -> NDArray[np.uint8]:
    """The 256 colours of PASCAL VOC's label maps, which most labelling tools use.

    Returns:
        (256, 3) uint8, red, green and blue of each label. A label's bits go to the three colours in turn, its lowest
        bit to the highest bit of red: so the colours of neighbouring labels differ much.

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
