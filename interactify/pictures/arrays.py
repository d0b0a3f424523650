"""A photo's file, PIL image or array as a checked array of its own type, and as colours to draw on: without torch."""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import OptionError, PhotoError
from interactify.pictures.image_files import array_of_file, array_of_image
from interactify.pictures.value_range import (
    ValueRange,
    check_floats,
    checked_value_range,
    integers_refused,
    mapped,
    mapped_at_once,
    range_of_type,
)
from interactify.plain_array import plain_array

LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R 601-2, what PIL's own conversion to "L" uses
_STRIP: Final = 4 * 2**20  # bytes of floats computed at a time, to fit into the processor's cache
_FORMS: Final = (
    "a path, a PIL image, an (H, W), (H, W, 3) or (H, W, 4) array of uint8, uint16, bool or float in [0, 1], "
    "or a (C, H, W) tensor of uint8 or float in [0, 1]"
)


def decoded_array(
    photo: str | os.PathLike[str] | Image.Image | np.ndarray, channels: int, value_range: ValueRange | None = None
) -> tuple[np.ndarray, ValueRange]:
    """A photo decoded and checked, (H, W, c) in its own type, and its values for black and white.

    It has 1, 3, 4 or `channels` channels c, and may share memory with `photo`.

    Raises:
        PhotoError: it is no such photo.
        OptionError: for `channels` below 1.

    >>> pixels, levels = decoded_array(np.zeros((48, 64), np.uint16), channels=3)
    >>> pixels.shape, levels
    ((48, 64, 1), (0.0, 65535.0))
    """
    check_channels(channels)
    if isinstance(photo, np.ndarray):
        return _checked_array(plain_array(photo, "a photo", PhotoError), channels, value_range)
    if not isinstance(photo, (str, os.PathLike, Image.Image)):
        raise PhotoError(
            f"Expected a photo, got {type(photo).__name__}. Try {_FORMS}; "
            "for bytes or an open file, PIL.Image.open(io.BytesIO(data)) makes a PIL image."
        )
    ranged = value_range is not None
    if isinstance(photo, Image.Image):
        return _checked_array(array_of_image(photo, channels, ranged=ranged), channels, value_range)
    array = array_of_file(photo, channels, ranged=ranged)
    try:
        return _checked_array(array, channels, value_range)
    except PhotoError as problem:
        raise PhotoError(f"{os.fspath(photo)!r}: {problem}") from problem


def drawing_of_array(
    photo: str | os.PathLike[str] | Image.Image | np.ndarray, channels: int = 3, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """A photo as (H, W, 3) uint8 to draw on; may share memory with it.

    What `interactify.pictures.picture.drawing_of` gives for any photo, to the bit.

    Raises:
        PhotoError: as `decoded_array`.
        OptionError: an invalid range, or `channels` below 1.

    >>> drawing_of_array(np.full((60, 80), 4095, np.uint16), value_range=(0, 4095))[0, 0].tolist()
    [255, 255, 255]
    """
    bands = 3 if channels == 1 else channels
    pixels, levels = decoded_array(photo, bands, checked_value_range(value_range))
    if pixels.dtype == np.uint8 and pixels.shape[2] == bands == 3 and levels == (0, 255):
        return pixels
    height, width, depth = pixels.shape
    drawn = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // (4 * max(bands, depth) * width))
    for top in range(0, height, rows):
        drawn[top : top + rows] = colours_of(pixels[top : top + rows], bands, levels)
    return drawn


def colours_of(values: np.ndarray, channels: int, levels: ValueRange) -> NDArray[np.uint8]:
    """Values (H, W, c) as (H, W, 3) uint8, as a network of so many channels sees them.

    Of one or two channels the first is used as grey; of more than three the first three are used.
    """
    low, high = levels
    own = np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    if channels in (1, 3) and own.shape[2] != channels:
        if own.shape[2] == 4:  # transparency is blended with white
            own = own[..., :3] * own[..., 3:] + (1 - own[..., 3:])
        if channels == 1 and own.shape[2] == 3:
            red, green, blue = np.moveaxis(own, 2, 0)
            own = np.clip(LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue, 0, 1)[..., None]
    colours = own[..., :3] if own.shape[2] >= 3 else np.repeat(own[..., :1], 3, axis=2)
    return np.rint(np.clip(colours, 0, 1) * np.float32(255)).astype(np.uint8)


def check_channels(channels: int) -> None:
    """Raise OptionError for anything but the number of a network's channels."""
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise OptionError(f"Expected channels as a whole number of at least 1, usually 3, got {channels!r}.")


def described(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """An array, for errors."""
    return f"an array of shape {shape} and type {dtype}"


def array_levels(
    shape: tuple[int, ...],
    dtype: np.dtype,
    channels: int,
    value_range: ValueRange | None = None,
    extremes: tuple[float, float] | None = None,
) -> ValueRange:
    """The values for black and white in an array of this shape and type; raises PhotoError where it is no photo.

    Args:
        shape, dtype: of the array.
        channels: of the network.
        value_range: the user's own; with it, whole numbers of any type are accepted.
        extremes: the least and the greatest value, for the error; None where they are not known.

    >>> array_levels((48, 64, 3), np.dtype("uint16"), channels=3)
    (0.0, 65535.0)
    """
    array, accepted = described(shape, dtype), accepted_channels(channels)
    layered = (*shape, 1) if len(shape) == 2 else shape
    if len(layered) != 3 or (0 not in shape and layered[2] not in accepted):
        hint = ""
        if len(shape) == 3 and shape[0] in accepted:
            hint = " Its channels come first: try photo.transpose(1, 2, 0), or torch.from_numpy(photo)."
        elif len(shape) == 4 and shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"Expected a photo of shape {shapes_of(channels, '(H, W, {})')}, got {array}.{hint}")
    if 0 in shape:
        raise PhotoError(f"Expected a photo with pixels, got no pixels: {array}.")
    if value_range is not None and dtype.kind in "biuf":
        return value_range
    levels = range_of_type(dtype)
    if levels is None and dtype.kind in "iu":
        low, high = extremes or (None, None)
        raise integers_refused(array, low, high, "photo.astype(np.uint8)")
    if levels is None:
        raise PhotoError(f"Expected uint8, uint16, bool, or float in [0, 1], got {array}. Try photo.astype(float).")
    return levels


def accepted_channels(channels: int) -> tuple[int, ...]:
    """How many channels a photo may have for a network of so many."""
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def shapes_of(channels: int, form: str) -> str:
    """The accepted shapes, for errors; `form` has a place for the number of channels."""
    return " or ".join(form.format(count) for count in accepted_channels(channels))


def _checked_array(array: np.ndarray, channels: int, value_range: ValueRange | None) -> tuple[np.ndarray, ValueRange]:
    given = described(array.shape, array.dtype)
    unknown = array.dtype.kind in "iu" and array.size and value_range is None and range_of_type(array.dtype) is None
    extremes = (float(array.min()), float(array.max())) if unknown else None
    levels = array_levels(array.shape, array.dtype, channels, value_range, extremes)
    if array.dtype.kind == "f":
        check_floats(float(array.min()), float(array.max()), given, value_range)
    if value_range is not None and mapped_at_once(array.dtype):
        array, levels = mapped(array, value_range), (0.0, 1.0)
    return (array[..., None] if array.ndim == 2 else array), levels
