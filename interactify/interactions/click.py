"""What a person says about a photo: an interaction, checked against the photo it is meant for. The first is the click.

The others are in `gestures.py`: scribbles, boxes, lassos, masks to begin from, and strokes that erase and restore.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from interactify.errors import InteractionError, shown, text_of
from interactify.interactions.validation import number, place, polarity

Any_ = TypeVar("Any_", bound="Interaction")


class Interaction(ABC):
    """One thing that is said about a photo, in its pixels: x to the right, y down, pixel centres at whole numbers.

    Made by hand it is unchecked; `checked` says whether it is one for a given photo.
    """

    @abstractmethod
    def within(self: Any_, photo_size: tuple[int, int]) -> Any_:
        """The same, checked, in plain numbers of whole pixels; `photo_size` is (H, W). Raises InteractionError."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dumps` takes, with its "kind"; `gestures.interaction_from_json` takes it back."""


@dataclass(frozen=True, repr=False)
class Click(Interaction):
    """One click: a pixel that belongs to the object (`positive`), or does not.

    With a `label`, an index or a name of one of the network's classes, it speaks of that class instead: the pixel is of
    it, or is not.

    >>> Click(120, 80)
    Click(x=120, y=80, positive=True)
    """

    x: float
    y: float
    positive: bool = True
    label: int | str | None = None

    def __repr__(self) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return f"Click(x={self.x!r}, y={self.y!r}, positive={self.positive!r}{label})"

    def within(self, photo_size: tuple[int, int]) -> Click:
        positive = polarity(self.positive)
        return Click(*place(self.x, self.y, photo_size), positive, checked_label(self.label))

    def to_json(self) -> dict[str, Any]:
        """Return the click as a dict that `json.dumps` takes, and `Click.from_json` takes back.

        Raises InteractionError where x or y is not a finite number or positive is not a bool.

        >>> Click(3, 4.5, False).to_json()
        {'kind': 'click', 'x': 3, 'y': 4.5, 'positive': False}
        """
        stored = {
            "kind": "click",
            "x": number("x", self.x),
            "y": number("y", self.y),
            "positive": polarity(self.positive),
        }
        return stored if self.label is None else {**stored, "label": checked_label(self.label)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Click:
        """Return the click that `to_json` wrote; "kind" and "label" may be left out.

        Raises InteractionError for anything else: no dict, another kind, a key missing or unknown, a value of another
        type.

        >>> Click.from_json({"kind": "click", "x": 3, "y": 4.5, "positive": False})
        Click(x=3, y=4.5, positive=False)
        """
        expected = 'Expected {"kind": "click", "x": number, "y": number, "positive": true or false}'
        if not isinstance(stored, Mapping):
            raise InteractionError(f"{expected}, a {type(stored).__name__} came.")
        kind = stored.get("kind", "click")
        if not isinstance(kind, str) or kind != "click":
            raise InteractionError(f"{expected}, an interaction of kind {shown(kind)} came.")
        keys_of(stored, ("x", "y", "positive"), ("kind", "label"), expected)
        x, y, label = number("x", stored["x"]), number("y", stored["y"]), checked_label(stored.get("label"))
        return cls(x, y, polarity(stored["positive"]), label)


def checked(interaction: Any_, photo_size: tuple[int, int]) -> Any_:
    """Return the interaction at its pixels, with x and y of type int, or raise; `photo_size` is (H, W).

    Coordinates may be ints, floats, NumPy scalars or 0-d tensors and are rounded to the nearest pixel, halves up: every
    point of the photo's area, from -0.5 up to and without W - 0.5, has its pixel.

    Raises InteractionError for what is no interaction, what lies outside the photo, NaN, infinity, anything that is not
    a number (a bool is not), and where positive is not a bool.

    >>> checked(Click(9.6, 0), (20, 30))
    Click(x=10, y=0, positive=True)
    """
    if not isinstance(interaction, Interaction):
        raise InteractionError(
            f"A Click was expected, {type(interaction).__name__} came. Try Click(x=..., y=...), or another interaction."
        )
    return interaction.within(photo_size)


def keys_of(stored: Mapping[str, Any], needed: tuple[str, ...], allowed: tuple[str, ...], expected: str) -> None:
    """Raise InteractionError for a stored interaction with a key too few or too many."""
    missing = [key for key in needed if key not in stored]
    unknown = [text_of(key) for key in stored if not isinstance(key, str) or key not in (*needed, *allowed)]
    if missing or unknown:
        both = ("without", missing), ("with unknown", unknown)
        faults = [f"{word} {', '.join(keys)}" for word, keys in both if keys]
        raise InteractionError(f"{expected}, one came {' and '.join(faults)}.")


def checked_label(label: Any, what: str = "A click's") -> int | str | None:
    """A class's index or name, or None; whether the network has it is seen when it is said."""
    if label is None or isinstance(label, str):
        return label
    try:
        index = number("label", label, what)
    except InteractionError:
        index = math.nan
    if not isinstance(index, int):
        raise InteractionError(f"{what} label has to be a class's index or name, {shown(label)} came.")
    return index
