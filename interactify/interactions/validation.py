"""Coordinates and other values of interactions: converted to plain numbers, or refused with an error."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from interactify.errors import InteractionError, text_of, with_type


def pixel_at(x: Any, y: Any, photo_size: tuple[int, int], what: str = "click") -> tuple[int, int]:
    """The pixel that contains a point, x then y; `photo_size` is (H, W). Raises InteractionError.

    Halves are rounded up: every point of the photo's area, from -0.5 to just below W - 0.5, is in one pixel.
    """
    height, width = photo_size
    across, down = rounded(number("x", x, f"a {what}'s")), rounded(number("y", y, f"a {what}'s"))
    if not (0 <= across < width and 0 <= down < height):
        hint = ""
        if 0 <= down < width and 0 <= across < height:
            hint = " Are x and y swapped? x runs to the right, y down."
        raise InteractionError(
            f"Expected a {what} with x from 0 to {width - 1} and y from 0 to {height - 1}, since the photo is {width} "
            f"wide and {height} high; got x={text_of(x)}, y={text_of(y)}, outside the photo.{hint}"
        )
    return across, down


def _scalar(value: Any) -> Any:
    # NumPy scalars, and 0-d arrays and tensors of any library, have ndim and item(); arrays of one element are refused.
    try:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "mM":
            return None  # dates and time spans: item() turns some of them into integers
        return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    except Exception:  # the object's own code failed: it is not a number
        return value


def number(name: str, value: Any, what: str = "a click's", of: str = "number of pixels") -> int | float:
    """A finite number as int or float. In errors, `what` and `name` tell whose value it is, `of` what was expected."""
    plain = _scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise InteractionError(f"Expected {what} {name} to be a {of}, got {with_type(value)}.")
    if isinstance(plain, numbers.Integral):
        return int(plain)
    try:
        plain = float(plain)
    except OverflowError:
        plain = math.inf
    if not math.isfinite(plain):
        raise InteractionError(f"Expected {what} {name} to be a finite {of}, got {with_type(value)}.")
    return plain


def rounded(value: int | float) -> int:
    """The nearest whole number, halves up."""
    # Integers stay unchanged: adding 0.5 would round large ones, and the error shows the value.
    return value if isinstance(value, int) else math.floor(value + 0.5)


def polarity(value: Any, what: str = "a click's") -> bool:
    """A bool from a bool of Python, NumPy or torch, or from the whole numbers 0 and 1, as labels of points are."""
    plain = _scalar(value)
    if isinstance(plain, bool):
        return plain
    if isinstance(plain, numbers.Integral) and plain in (0, 1):
        return bool(plain)
    raise InteractionError(f"Expected {what} positive to be True or False (or 1 or 0), got {with_type(value)}.")
