"""What a user says of a map of numbers: the value of a pixel, that two are equal, or that one is higher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interactify.errors import InteractionError, with_type
from interactify.interactions.click import check_keys
from interactify.interactions.gestures import Scribble
from interactify.interactions.validation import number, pixel_at


class ValueInteraction(ABC):
    """One interaction with a map of numbers, in photo pixels: x to the right, y down, pixel centres at whole numbers.

    The constructor checks nothing; `within` does, against a given photo.
    """

    @abstractmethod
    def within(self, photo_size: tuple[int, int]) -> ValueInteraction:
        """The same interaction, checked, in whole pixels; `photo_size` is (H, W). Raises InteractionError."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`, with its "kind"; `value_interaction_from_json` reads it."""


@dataclass(frozen=True)
class ValueClick(ValueInteraction):
    """The value of one pixel.

    Args:
        x, y: the pixel.
        value: what the map should be there, in the network's units, or in the user's with an alignment.

    >>> ValueClick(3.4, 5, 0.4).within((60, 80))
    ValueClick(x=3, y=5, value=0.4)
    """

    x: float
    y: float
    value: float

    def within(self, photo_size: tuple[int, int]) -> ValueClick:
        return ValueClick(*pixel_at(self.x, self.y, photo_size), _value(self.value, "a click's"))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "value",
            "x": number("x", self.x),
            "y": number("y", self.y),
            "value": _value(self.value, "a click's"),
        }


@dataclass(frozen=True)
class ValueScribble(ValueInteraction):
    """One value for all pixels under a stroke.

    Args:
        points: (x, y) of a polyline, in photo pixels, at least one.
        value: as for `ValueClick`.
        width: of the stroke, in photo pixels.
        weight: of the whole scribble in the energy, in clicks.

    >>> ValueScribble([(3, 5), (20, 5)], 1.5).within((60, 80)).points
    ((3, 5), (20, 5))
    """

    points: Sequence[tuple[float, float]]
    value: float
    width: float = 1.0
    weight: float = 1.0

    @property
    def stroke(self) -> Scribble:
        """The line alone."""
        return Scribble(self.points, True, self.width, self.weight)

    def within(self, photo_size: tuple[int, int]) -> ValueScribble:
        line = self.stroke.within(photo_size)
        return ValueScribble(line.points, _value(self.value, "a scribble's"), line.width, line.weight)

    def to_json(self) -> dict[str, Any]:
        line = self.stroke.to_json()
        kept = {key: line[key] for key in ("points", "width", "weight")}
        return {"kind": "value_scribble", **kept, "value": _value(self.value, "a scribble's")}


@dataclass(frozen=True)
class SameValue(ValueInteraction):
    """Two pixels have the same value, whatever it is.

    Args:
        x, y: one pixel.
        as_x, as_y: the other one.
    """

    x: float
    y: float
    as_x: float
    as_y: float

    def within(self, photo_size: tuple[int, int]) -> SameValue:
        return SameValue(*_two_pixels((self.x, self.y), (self.as_x, self.as_y), photo_size))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "same_value", **_numbers(self, ("x", "y", "as_x", "as_y"))}


@dataclass(frozen=True)
class HigherValue(ValueInteraction):
    """One pixel has a higher value than another one: farther in a map of depth, nearer in one of disparity.

    Args:
        x, y: the pixel of the higher value.
        than_x, than_y: the one of the lower value.
    """

    x: float
    y: float
    than_x: float
    than_y: float

    def within(self, photo_size: tuple[int, int]) -> HigherValue:
        return HigherValue(*_two_pixels((self.x, self.y), (self.than_x, self.than_y), photo_size))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "higher_value", **_numbers(self, ("x", "y", "than_x", "than_y"))}


def value_interaction_from_json(entry: Mapping[str, Any]) -> ValueInteraction:
    """The interaction that `to_json` wrote. Raises InteractionError for anything else.

    >>> value_interaction_from_json({"kind": "value", "x": 3, "y": 4, "value": 0.5})
    ValueClick(x=3, y=4, value=0.5)
    """
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise InteractionError(
            f'Expected an interaction with a "kind" of {", ".join(_FIELDS)}, got {with_type(kind)}. Try '
            '{"kind": "value", "x": 3, "y": 4, "value": 0.5}.'
        )
    made, names = _FIELDS[kind]
    check_keys(entry, ("kind", *names), (), f"Expected an interaction of kind {kind!r} with {', '.join(names)}")
    plain = {name: entry[name] for name in names if name != "points"}
    for name, value in plain.items():
        number(name, value, f"an interaction's (kind {kind!r})", "number")
    if "points" in names:
        plain["points"] = entry["points"]
    interaction: ValueInteraction = made(**plain)
    interaction.to_json()  # which checks what it writes: points are numbers
    return interaction


_FIELDS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "value": (ValueClick, ("x", "y", "value")),
    "value_scribble": (ValueScribble, ("points", "value", "width", "weight")),
    "same_value": (SameValue, ("x", "y", "as_x", "as_y")),
    "higher_value": (HigherValue, ("x", "y", "than_x", "than_y")),
}


def _value(value: Any, what: str) -> float:
    found = float(number("value", value, what, "number"))
    if abs(found) > 1e30:
        raise InteractionError(f"Expected {what} value to be a number up to 1e30, got {with_type(value)}.")
    return found


def _two_pixels(
    first: tuple[Any, Any], second: tuple[Any, Any], photo_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    one, other = pixel_at(*first, photo_size, "first pixel"), pixel_at(*second, photo_size, "second pixel")
    if one == other:
        raise InteractionError(f"Expected two different pixels to compare, got {one} twice. Try another one.")
    return (*one, *other)


def _numbers(interaction: object, names: Sequence[str]) -> dict[str, int | float]:
    return {name: number(name, getattr(interaction, name), "a pixel's") for name in names}
