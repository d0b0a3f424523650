"""Masks, label maps and probabilities as arrays: checked before any file is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError, text_of
from interactify.plain_array import plain_array

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8] | NDArray[np.uint16]

MOST_LABELS = 2**16 - 1  # what 16 bits hold


def checked_mask(mask: Any) -> Mask:
    """Return a mask (H, W) bool as it is; one of uint8 with only 0 and 1, or only 0 and 255, as bool.

    Raises:
        OptionError: it is something else, has no pixels, or has masked ones.

    >>> checked_mask(np.array([[0, 255]], np.uint8))
    array([[False,  True]])
    """
    mask = plain_array(mask, "a mask")
    flat = isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.size
    if flat and mask.dtype == np.bool_:
        return mask
    if flat and mask.dtype == np.uint8:
        highest = mask.max()
        if highest in (0, 1, 255) and ((mask == 0) | (mask == highest)).all():
            return mask > 0
        hint = " with other values than 0 and 1, or 0 and 255. Try mask > 127, or mask == label"
    elif flat and mask.dtype.kind in "iuf":
        hint = f". Try mask > {'0.5' if mask.dtype.kind == 'f' else '0'}"
    else:
        hint = ". Try mask.toarray()" if hasattr(mask, "toarray") else ""
    raise OptionError(f"Expected a mask as (H, W) bool array with pixels in it, got {described(mask)}{hint}.")


def checked_masks(masks: Any) -> list[Mask]:
    """Return one mask, several, or an array (K, H, W) bool, as a list of masks of one size; there may be none.

    Raises:
        OptionError: one of them is not a mask, or their sizes differ.

    >>> len(checked_masks(np.ones((4, 6), bool))), len(checked_masks(np.ones((3, 4, 6), bool)))
    (1, 3)
    """
    masks = plain_array(masks, "masks")
    if isinstance(masks, np.ndarray) and masks.ndim == 2:
        return [checked_mask(masks)]
    if not isinstance(masks, Iterable):
        raise OptionError(f"Expected masks as (H, W) bool arrays, got {described(masks)}.")
    found = [checked_mask(mask) for mask in masks]
    for mask in found:
        if mask.shape != found[0].shape:
            raise OptionError(f"Expected masks of one size (H, W), got {found[0].shape} and {mask.shape}.")
    return found


def checked_size(size: Any) -> tuple[int, int]:
    """Return (H, W) in pixels as two integers.

    Raises:
        OptionError: it is something else, or less than a pixel.
    """
    try:
        height, width = (int(side) for side in size)
    except Exception as cause:  # any object may come, and its own code decides what it raises
        raise OptionError(f"Expected a size as (H, W) in pixels, got {text_of(size)}.") from cause
    if height < 1 or width < 1:
        raise OptionError(f"Expected a size (H, W) of at least one pixel, got {text_of(size)}.")
    return height, width


def checked_labels(labels: Any) -> Labels:
    """Return a label map as (H, W) uint8 where no label is above 255, else as uint16.

    Raises:
        OptionError: it is not an (H, W) array of integers, or a label is outside 0..65535.

    >>> checked_labels(np.array([[0, 255]])).dtype, checked_labels(np.array([[0, 256]])).dtype
    (dtype('uint8'), dtype('uint16'))
    """
    labels = plain_array(labels, "labels")
    good = isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and labels.ndim == 2
    if not good or not labels.size:
        raise OptionError(f"Expected labels as (H, W) array of integers with pixels in it, got {described(labels)}.")
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most > MOST_LABELS:
        raise OptionError(f"Expected labels from 0 to {MOST_LABELS}, which a PNG holds; got {least} to {most}.")
    return labels.astype(np.uint8 if most < 256 else np.uint16)


def checked_probability(probability: Any) -> NDArray[np.floating]:
    """Return probabilities (H, W) of any floating type as they are.

    Raises:
        OptionError: they are something else, not finite, or outside [0, 1].
    """
    probability = plain_array(probability, "probabilities")
    good = isinstance(probability, np.ndarray) and probability.dtype.kind == "f" and probability.ndim == 2
    if not good or not probability.size:
        raise OptionError(
            f"Expected probabilities as (H, W) array of floats with pixels in it, got {described(probability)}."
        )
    if not ((probability >= 0) & (probability <= 1)).all():  # NaN fails this too
        raise OptionError("Expected probabilities from 0 to 1, got others, or NaN. Try a sigmoid if these are logits.")
    return probability


def label_map(masks: Sequence[Mask] | NDArray[np.bool_]) -> Labels:
    """Combine masks of objects into a label map: 0 for background, 1 for the first mask, 2 for the second, and so on.

    Args:
        masks: (H, W) bool each, at least one; where they overlap, the later one wins.

    Returns:
        (H, W) uint8 for up to 255 objects, else uint16.

    Raises:
        OptionError: they are not masks of one size, there are none, or more than 65535.

    >>> label_map([np.array([[True, True, False, False]]), np.array([[False, True, True, False]])])
    array([[1, 2, 2, 0]], dtype=uint8)
    """
    found = checked_masks(masks)
    if not 1 <= len(found) <= MOST_LABELS:
        raise OptionError(f"Expected 1 to {MOST_LABELS} masks for a label map, got {len(found)}.")
    labels = np.zeros(found[0].shape, np.uint8 if len(found) < 256 else np.uint16)
    for number, mask in enumerate(found, start=1):
        labels[mask] = number
    return labels


def checked_numbers(numbers: Sequence[int] | None, count: int, what_for: str, default: int) -> list[int]:
    """Return one whole number of 0 or more for each of `count` masks: those given, or `default` for all.

    Raises:
        OptionError: they are something else, or not one for each mask.
    """
    if numbers is None:
        return [default] * count
    found = list(numbers)
    if len(found) != count:
        raise OptionError(f"Expected one {what_for} for each of {count} masks, got {len(found)}.")
    for number in found:
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < 0:
            raise OptionError(f"Expected each {what_for} as a whole number of 0 or more, got {number!r}.")
    return [int(number) for number in found]


def described(value: object) -> str:
    """A value for an error: dtype and shape of an array, the type of anything else."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
