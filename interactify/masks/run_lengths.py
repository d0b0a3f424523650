"""COCO's run lengths: numbers of pixels outside, inside, outside, … down the columns; as numbers or as text.

The text equals that of COCO's own tools, character for character. Those tools are not needed to write or read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError, text_of
from interactify.masks.arrays import Mask, checked_mask, checked_size

MOST_PIXELS = 2**32  # of a decoded mask: a few characters of text can stand for more than any memory holds


def run_lengths(mask: Mask, *, compressed: bool = True) -> dict[str, Any]:
    """Encode a mask as COCO's run lengths.

    Args:
        mask: (H, W) bool, or uint8 of only 0 and 1, or 0 and 255.
        compressed: as text, the way COCO's tools and Segment Anything's do; else as a list of numbers, the way COCO's
            own JSON does for crowds.

    Returns:
        {"size": [H, W], "counts": a string or a list of integers}, ready for JSON. The first number counts pixels
        *outside* the mask, so it is 0 where the upper left pixel is inside; pixels are counted down the first column,
        then down the second.

    Raises:
        OptionError: `mask` is something else.

    >>> run_lengths(np.array([[False, True], [True, False]]))
    {'size': [2, 2], 'counts': '121'}
    >>> run_lengths(np.array([[True, True], [True, False]]), compressed=False)
    {'size': [2, 2], 'counts': [0, 3, 1]}
    """
    mask = checked_mask(mask)
    height, width = mask.shape
    pixels = mask.ravel(order="F")
    turns = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate(([0], turns, [pixels.size]))).tolist()
    if pixels[0]:
        runs.insert(0, 0)
    return {"size": [height, width], "counts": packed(runs) if compressed else runs}


def mask_of_rle(rle: Mapping[str, Any]) -> Mask:
    """Decode what `run_lengths` or COCO's own tools wrote.

    Args:
        rle: {"size": [H, W], "counts": numbers, or COCO's text as str or bytes}.

    Returns:
        (H, W) bool.

    Raises:
        OptionError: it is something else, or its numbers don't add up to H · W.

    >>> mask_of_rle({"size": [2, 2], "counts": "121"}).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= set(rle):
        raise OptionError(f"Expected run lengths as a dict with size and counts, got {text_of(rle)}.")
    return mask_of_run_lengths(rle["counts"], rle["size"])


def mask_of_run_lengths(counts: Any, size: Sequence[int]) -> Mask:
    """Decode run lengths: numbers of pixels outside, inside, outside, … down the columns, from left to right.

    Args:
        counts: a sequence of numbers, or COCO's compressed text.
        size: (H, W).

    Returns:
        (H, W) bool.

    Raises:
        OptionError: they are not run lengths, or don't add up to H · W.

    >>> mask_of_run_lengths([1, 2, 1], (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    >>> mask_of_run_lengths("121", (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    runs = check_run_lengths(counts, size)
    height, width = checked_size(size)
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T.copy()


def check_run_lengths(counts: Any, size: Sequence[int]) -> NDArray[np.int64]:
    """Run lengths as numbers; raises OptionError where `mask_of_run_lengths` would. No mask is made.

    >>> check_run_lengths("121", (2, 2))
    array([1, 2, 1])
    """
    height, width = checked_size(size)
    if height * width > MOST_PIXELS:
        raise OptionError(f"Expected the run lengths of a mask of at most {MOST_PIXELS} pixels, got {text_of(size)}.")
    try:
        runs = np.array(unpacked(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64)
    except Exception as cause:  # any object may come, and its own code decides what it raises
        raise OptionError(f"Expected run lengths as numbers or COCO's text, got {text_of(counts)}.") from cause
    # Check each one first: their sum may overflow.
    if runs.ndim != 1 or ((runs < 0) | (runs > height * width)).any() or runs.sum() != height * width:
        raise OptionError(f"Expected run lengths that add up to {height} x {width} pixels, got {text_of(counts)}.")
    return runs


def packed(runs: Sequence[int]) -> str:
    """Encode run lengths as COCO's text, the inverse of `unpacked`.

    >>> packed([1, 2, 1, 3]), packed([1536])
    ('1211', 'P`1')
    """
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            bits = value & 31
            value >>= 5
            # The last character: what remains is only the sign, which the highest of its five bits carries.
            more = value != (-1 if bits & 16 else 0)
            text.append(48 + (bits | 32 if more else bits))
    return text.decode("ascii")


def unpacked(text: str | bytes) -> list[int]:
    """Decode COCO's compressed run lengths.

    Each character carries five bits of a number, lowest first, and whether more follow; the last one's highest bit is
    the sign. From the fourth number on, it is the difference from the number two before.

    Raises:
        OptionError: the text ends within a number, or has a character that is none of COCO's.

    >>> unpacked("1211"), unpacked("P`1")
    ([1, 2, 1, 3], [1536])
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode() if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise OptionError(f"Expected COCO's compressed run lengths, got {text_of(text)}.")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise OptionError(
            f"Expected compressed run lengths that end with a number, got {text_of(text)}. It may be cut short."
        )
    return runs
