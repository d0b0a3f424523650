"""The click, and what all interactions with a photo have in common.

The others are in `gestures.py`: scribbles, boxes, lassos, initial masks, and strokes that erase and restore.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from interactify.errors import InteractionError, text_of, with_type
from interactify.interactions.validation import number, pixel_at, polarity

Kind = TypeVar("Kind", bound="Interaction")


class Interaction(ABC):
    """One interaction with a photo, in its pixels: x to the right, y down, pixel centres at whole numbers.

    The constructor checks nothing; `checked` does, against a given photo.
    """

    @abstractmethod
    def within(self: Kind, photo_size: tuple[int, int]) -> Kind:
        """The same interaction, checked, in whole pixels; `photo_size` is (H, W). Raises InteractionError."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`, with its "kind"; `gestures.interaction_from_json` reads it."""


@dataclass(frozen=True, repr=False)
class Click(Interaction):
    """One click: a pixel that belongs to the object (`positive`), or does not.

    With a `label`, the index or name of one of the network's classes, the pixel belongs to that class, or does not.

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
        return Click(*pixel_at(self.x, self.y, photo_size), positive, checked_label(self.label))

    def to_json(self) -> dict[str, Any]:
        """Return the click as a dict for `json.dumps`; `Click.from_json` reads it.

        Raises InteractionError where x or y is not a finite number or positive is not a bool.

        >>> Click(3, 4.5, False).to_json()
        {'kind': 'click', 'x': 3, 'y': 4.5, 'positive': False}
        """
        entry = {
            "kind": "click",
            "x": number("x", self.x),
            "y": number("y", self.y),
            "positive": polarity(self.positive),
        }
        return entry if self.label is None else {**entry, "label": checked_label(self.label)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Click:
        """Return the click that `to_json` wrote; "kind" and "label" may be missing.

        Raises InteractionError for anything else: not a dict, another kind, a missing or unknown key, a value of
        another type.

        >>> Click.from_json({"kind": "click", "x": 3, "y": 4.5, "positive": False})
        Click(x=3, y=4.5, positive=False)
        """
        expected = 'Expected {"kind": "click", "x": number, "y": number, "positive": true or false}'
        if not isinstance(entry, Mapping):
            raise InteractionError(f"{expected}, got a {type(entry).__name__}.")
        kind = entry.get("kind", "click")
        if not isinstance(kind, str) or kind != "click":
            raise InteractionError(f"{expected}, got an interaction of kind {with_type(kind)}.")
        check_keys(entry, ("x", "y", "positive"), ("kind", "label"), expected)
        x, y, label = number("x", entry["x"]), number("y", entry["y"]), checked_label(entry.get("label"))
        return cls(x, y, polarity(entry["positive"]), label)


def checked(interaction: Kind, photo_size: tuple[int, int]) -> Kind:
    """Return the interaction in whole pixels, with x and y of type int; `photo_size` is (H, W).

    Coordinates may be ints, floats, NumPy scalars or 0-d tensors. They are rounded to the nearest pixel, halves up:
    every point of the photo's area, from -0.5 to just below W - 0.5, is in one pixel.

    Raises InteractionError for anything but an interaction, for points outside the photo, NaN, infinity, what is not a
    number (a bool is not one), and where positive is not a bool.

    >>> checked(Click(9.6, 0), (20, 30))
    Click(x=10, y=0, positive=True)
    """
    if not isinstance(interaction, Interaction):
        raise InteractionError(
            f"Expected an interaction, got {type(interaction).__name__}. Try Click(x=..., y=...), or another one."
        )
    return interaction.within(photo_size)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether something is a sequence of things, and not one thing that happens to be a sequence, such as a text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview, Interaction))


def check_keys(entry: Mapping[str, Any], needed: Sequence[str], allowed: Sequence[str], expected: str) -> None:
    """Raise InteractionError for an interaction in JSON with a missing or an unknown key."""
    missing = [key for key in needed if key not in entry]
    unknown = [text_of(key) for key in entry if not isinstance(key, str) or key not in (*needed, *allowed)]
    if missing or unknown:
        both = ("without", missing), ("with unknown", unknown)
        faults = [f"{word} {', '.join(keys)}" for word, keys in both if keys]
        raise InteractionError(f"{expected}, got one {' and '.join(faults)}.")


def checked_label(label: Any, what: str = "a click's") -> int | str | None:
    """A class's index or name, or None. Whether the network has that class is checked later."""
    if label is None or isinstance(label, str):
        return label
    try:
        index = number("label", label, what)
    except InteractionError:
        index = math.nan
    if not isinstance(index, int):
        raise InteractionError(f"Expected {what} label to be a class's index or name, got {with_type(label)}.")
    return index
