"""Which of a photo's values are black and which are white: those of its type, or those that the user names.

A type says how values are stored, not what they mean: detectors write 12 bits into 16, scanners write Hounsfield units.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np

from interactify.errors import OptionError, PhotoError, with_type

ValueRange: TypeAlias = tuple[float, float]
"""The values that become 0 and 1; values beyond them are clipped."""

_SLACK: Final = 1e-3  # one step of a half-precision float at 1: a rounding error, not another scale
_LITTLE: Final = 0.5  # how far interpolation, sharpening and JPEG overshoot at most
_DIM: Final = 0.25  # of white: a photo whose brightest value is darker was stored in a type too wide for it
_TRY: Final = "value_range=(low, high) in session() or wrap(), the values that are black and white"


def checked_value_range(value: Any) -> ValueRange | None:
    """A range as two floats; None as it is.

    Raises:
        OptionError: it is no pair of finite numbers, or its first is not below its second.

    >>> checked_value_range((0, 4095))
    (0.0, 4095.0)
    """
    if value is None:
        return None
    try:
        low, high = (float(each) for each in value)
        good = not isinstance(value, (str, bytes)) and math.isfinite(low) and math.isfinite(high) and low < high
    except Exception:  # any object may come, and its own code decides what it raises
        good = False
    if not good:
        raise OptionError(
            f"Expected value_range as (low, high), two finite numbers with low below high, got {with_type(value)}. "
            "Try (0, 4095) for 12 bits, or (-1000, 1000) for a window of Hounsfield units."
        )
    return low, high


def range_of_type(dtype: np.dtype) -> ValueRange | None:
    """What is black and white in a type where nobody says otherwise; None where that can't be known.

    >>> range_of_type(np.dtype("uint16")), range_of_type(np.dtype("int16"))
    ((0.0, 65535.0), None)
    """
    if dtype.kind in "fb":
        return 0.0, 1.0
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return 0.0, 255.0 if dtype.itemsize == 1 else 65535.0
    return None


def mapped_at_once(dtype: np.dtype) -> bool:
    """Whether a type is too wide to be kept, or to be mapped in float32: its values become floats in [0, 1] at once."""
    return dtype.itemsize > (4 if dtype.kind == "f" else 2)


def mapped(array: np.ndarray, levels: ValueRange) -> np.ndarray:
    """The values of a wide type as new float32 in [0, 1]; computed in float64, since float32 has 24 bits.

    >>> mapped(np.array([10**9, 10**9 + 50, 10**9 + 200]), (10**9, 10**9 + 100))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    low, high = levels
    return np.clip((array.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def check_floats(low: float, high: float, given: str, stated: ValueRange | None = None) -> None:
    """Raise PhotoError where the least or greatest of a photo's floats is not finite, or outside [0, 1].

    With a `stated` range they only have to be finite.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PhotoError(
            f"Expected every value in {'[0, 1]' if stated is None else 'a finite number'}, got NaN or infinity in "
            f"{given}. Try np.nan_to_num(photo, posinf=…, neginf=…)."
        )
    if stated is not None or (low >= -_SLACK and high <= 1 + _SLACK):
        return
    if low >= -_LITTLE and high <= 1 + _LITTLE:
        hint = "They overshoot a little, as after resizing. Try photo.clip(0, 1)."
    elif low < -_SLACK:
        hint = (
            "It may be normalised already. Try the plain photo; the network's mean and std belong to wrap(). For other "
            f"units, such as Hounsfield's, try {_TRY}."
        )
    elif high <= 255:
        hint = "Try photo / 255."
    elif high <= 65535:
        hint = f"Try value_range=(0, {_full_scale(high)}) in session() or wrap(), which is photo / {_full_scale(high)}."
    else:
        hint = f"Try to scale it to [0, 1], or {_TRY}."
    raise PhotoError(f"Expected floats in [0, 1], got {given} with values from {low:g} to {high:g}. {hint}")


def integers_refused(given: str, low: float | None, high: float | None, cast: str) -> PhotoError:
    """The error for whole numbers of a type without a usual range; `cast` is how the caller writes a conversion."""
    found = "" if low is None or high is None else f" with values from {low:g} to {high:g}"
    if low is None or high is None:
        hint = f"Try {_TRY}, such as (0, 4095) for 12 bits. For values from 0 to 255 try {cast}."
    elif low >= 0 and high <= 255:
        hint = f"If 255 is white, try {cast}."
    elif low >= 0 and high <= 65535:
        hint = f"Try value_range=(0, {_full_scale(high)}) in session() or wrap(), the values that are black and white."
    else:
        hint = f"Try {_TRY}, such as (-1000, 1000) for a window of Hounsfield units."
    return PhotoError(f"Expected uint8, uint16, bool, or float in [0, 1], got {given}{found}. {hint}")


def dim_note(highest: float | None, levels: ValueRange) -> str:
    """What to say of 16 bits of which the upper ones are empty; "" where there is nothing to say.

    >>> dim_note(3000.0, (0.0, 65535.0)).partition(" in ")[0]
    'The photo has 16 bits and no value above 4095, so it is seen nearly black. Try value_range=(0, 4095)'
    >>> dim_note(60000.0, (0.0, 65535.0))
    ''
    """
    white = levels[1]
    if highest is None or white != 65535 or not 0 < highest <= _DIM * white:
        return ""
    full = _full_scale(highest)
    return (
        f"The photo has 16 bits and no value above {full}, so it is seen nearly black. Try value_range=(0, {full}) in "
        "session() or wrap(); (0, 65535) keeps it as it is."
    )


def _full_scale(highest: float) -> int:
    """The greatest value of the fewest bits, from 8 on, that hold this one: 4095 for 3000."""
    return int(2 ** max(8, math.ceil(math.log2(max(highest, 1) + 1))) - 1)
