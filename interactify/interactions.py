"""What a person says about a photo: a click, checked against the photo it is meant for."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interactify.errors import InteractionError


@dataclass(frozen=True)
class Click:
    """One click in photo pixels: x to the right, y down, pixel centres at whole numbers; positive: "belongs to it".

    A Click made by hand is unchecked; `checked` says whether it is one for a given photo.

    >>> Click(120, 80)
    Click(x=120, y=80, positive=True)
    """

    x: float
    y: float
    positive: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the click as a dict that `json.dumps` takes, and `Click.from_json` takes back.

        Raises InteractionError where x or y is not a finite number or positive is not a bool.

        >>> Click(3, 4.5, False).to_json()
        {'kind': 'click', 'x': 3, 'y': 4.5, 'positive': False}
        """
        return {
            "kind": "click",
            "x": _number("x", self.x),
            "y": _number("y", self.y),
            "positive": _polarity(self.positive),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Click:
        """Return the click that `to_json` wrote; "kind" may be left out.

        Raises InteractionError for anything else: no dict, another kind, a key missing or unknown, a value of another
        type.

        >>> Click.from_json({"kind": "click", "x": 3, "y": 4.5, "positive": False})
        Click(x=3, y=4.5, positive=False)
        """
        expected = 'Expected {"kind": "click", "x": number, "y": number, "positive": true or false}'
        if not isinstance(stored, Mapping):
            raise InteractionError(f"{expected}, a {type(stored).__name__} came.")
        if stored.get("kind", "click") != "click":
            raise InteractionError(f"{expected}, an interaction of kind {stored['kind']!r} came.")
        missing = [key for key in ("x", "y", "positive") if key not in stored]
        unknown = [key for key in stored if key not in ("kind", "x", "y", "positive")]
        if missing or unknown:
            faults = [f"{word} {keys}" for word, keys in (("without", missing), ("with unknown", unknown)) if keys]
            raise InteractionError(f"{expected}, one came {' and '.join(faults)}.")
        return cls(_number("x", stored["x"]), _number("y", stored["y"]), _polarity(stored["positive"]))


def checked(click: Click, photo_size: tuple[int, int]) -> Click:
    """Return the click at its pixel, with x and y of type int, or raise; `photo_size` is (H, W).

    Coordinates may be ints, floats, NumPy scalars or 0-d tensors and are rounded to the nearest pixel, halves up: every
    point of the photo's area, from -0.5 up to and without W - 0.5, has its pixel.

    Raises InteractionError for a click outside the photo, NaN, infinity, anything that is not a number (a bool is not),
    and where positive is not a bool.

    >>> checked(Click(9.6, 0), (20, 30))
    Click(x=10, y=0, positive=True)
    """
    if not isinstance(click, Click):
        raise InteractionError(f"A Click was expected, {type(click).__name__} came. Try Click(x=..., y=...).")
    height, width = photo_size
    x, y = _pixel(_number("x", click.x)), _pixel(_number("y", click.y))
    positive = _polarity(click.positive)
    if not (0 <= x < width and 0 <= y < height):
        hint = ""
        if 0 <= y < width and 0 <= x < height:
            hint = " Are x and y swapped? x runs to the right, y down."
        raise InteractionError(
            f"The click x={click.x}, y={click.y} lies outside the photo, which is {width} wide and {height} high: "
            f"x has to be from 0 to {width - 1}, y from 0 to {height - 1}.{hint}"
        )
    return Click(x, y, positive)


def _scalar(value: Any) -> Any:
    # NumPy scalars and 0-d arrays and tensors of any library carry ndim and item(); one-element arrays are no numbers.
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _number(name: str, value: Any) -> int | float:
    plain = _scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise InteractionError(f"A click's {name} has to be a number of pixels, {_shown(value)} came.")
    if isinstance(plain, numbers.Integral):
        return int(plain)
    try:
        plain = float(plain)
    except OverflowError:
        plain = math.inf
    if not math.isfinite(plain):
        raise InteractionError(f"A click's {name} has to be a finite number of pixels, {_shown(value)} came.")
    return plain


def _pixel(value: int | float) -> int:
    # Integers stay as they are: adding 0.5 would lose large ones, and the error has to name what came.
    return value if isinstance(value, int) else math.floor(value + 0.5)


def _polarity(value: Any) -> bool:
    plain = _scalar(value)
    if not isinstance(plain, bool):
        raise InteractionError(f"A click's positive has to be True or False, {_shown(value)} came.")
    return plain


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
