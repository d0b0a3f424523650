"""Numbers that people and programs give for places in a photo: read, or refused with what came."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from interactify.errors import InteractionError, shown, text_of


def place(x: Any, y: Any, photo_size: tuple[int, int], what: str = "click") -> tuple[int, int]:
    """The pixel that a point lies in, or InteractionError; `photo_size` is (H, W).

    Halves are rounded up: every point of the photo's area, from -0.5 up to and without W - 0.5, has its pixel.
    """
    height, width = photo_size
    across, down = pixel(number("x", x, f"A {what}'s")), pixel(number("y", y, f"A {what}'s"))
    if not (0 <= across < width and 0 <= down < height):
        hint = ""
        if 0 <= down < width and 0 <= across < height:
            hint = " Are x and y swapped? x runs to the right, y down."
        raise InteractionError(
            f"The {what} x={text_of(x)}, y={text_of(y)} lies outside the photo, which is {width} wide and {height} "
            f"high: x has to be from 0 to {width - 1}, y from 0 to {height - 1}.{hint}"
        )
    return across, down


def _scalar(value: Any) -> Any:
    # NumPy scalars and 0-d arrays and tensors of any library carry ndim and item(); one-element arrays are no numbers.
    try:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "mM":
            return None  # dates and spans of time, some of which become integers
        return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    except Exception:  # whatever an object does when it is asked: it is no number then
        return value


def number(name: str, value: Any, what: str = "A click's", of: str = "number of pixels") -> int | float:
    """A finite number, as int or float, from anything that is one; `of` says what is expected."""
    plain = _scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise InteractionError(f"{what} {name} has to be a {of}, {shown(value)} came.")
    if isinstance(plain, numbers.Integral):
        return int(plain)
    try:
        plain = float(plain)
    except OverflowError:
        plain = math.inf
    if not math.isfinite(plain):
        raise InteractionError(f"{what} {name} has to be a finite {of}, {shown(value)} came.")
    return plain


def pixel(value: int | float) -> int:
    """The nearest whole number, halves up."""
    # Integers stay as they are: adding 0.5 would lose large ones, and the error has to name what came.
    return value if isinstance(value, int) else math.floor(value + 0.5)


def polarity(value: Any, what: str = "A click's") -> bool:
    """True or False, from anything that is one of them."""
    plain = _scalar(value)
    if not isinstance(plain, bool):
        raise InteractionError(f"{what} positive has to be True or False, {shown(value)} came.")
    return plain
