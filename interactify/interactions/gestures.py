"""Gestures beyond the click: scribbles, boxes, lassos, a mask to begin from, and strokes that erase and restore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, OptionError, shown
from interactify.interactions.click import Click, Interaction, checked_label, keys_of
from interactify.interactions.validation import number, place, polarity
from interactify.masks.run_lengths import mask_of_rle, run_lengths

Points = tuple[tuple[float, float], ...]
MAX_POINTS: Final = 100_000  # points of a stroke or outline: more is a mistake, and would take minutes


@dataclass(frozen=True)
class Scribble(Interaction):
    """A stroke along which all belongs to the object (`positive`), or does not.

    It counts as much as `weight` clicks together, however long it is, so that it does not drown them.

    Args:
        points: (x, y) of a polyline, in photo pixels, at least one.
        positive: False for "not this".
        width: of the stroke, in photo pixels.
        weight: in clicks, above 0.
        label: a class, as for `Click`.

    >>> Scribble([(10, 20), (40, 25)]).within((60, 80)).points
    ((10, 20), (40, 25))
    """

    points: Sequence[tuple[float, float]]
    positive: bool = True
    width: float = 1.0
    weight: float = 1.0
    label: int | str | None = None

    def within(self, photo_size: tuple[int, int]) -> Scribble:
        what = "A scribble's"
        return Scribble(
            _points(self.points, photo_size, "scribble", 1),
            polarity(self.positive, what),
            _above_zero("width", self.width, what),
            _above_zero("weight", self.weight, what, "number of clicks"),
            checked_label(self.label, what),
        )

    def to_json(self) -> dict[str, Any]:
        what = "A scribble's"
        weight = float(number("weight", self.weight, what, "number of clicks"))
        stored = {"kind": "scribble", **_stroke(self.points, self.positive, self.width, "scribble"), "weight": weight}
        return stored if self.label is None else {**stored, "label": checked_label(self.label, what)}


@dataclass(frozen=True)
class Paint(Interaction):
    """A stroke that sets pixels of the mask itself: restored (`positive`) or erased. The network is not asked.

    Args:
        points: (x, y) of a polyline, in photo pixels, at least one.
        width: of the stroke, in photo pixels: all pixels whose centres are at most half of it away are set.
        positive: True to restore, False to erase.
    """

    points: Sequence[tuple[float, float]]
    width: float = 9.0
    positive: bool = False

    def within(self, photo_size: tuple[int, int]) -> Paint:
        points = _points(self.points, photo_size, "stroke", 1)
        return Paint(points, _above_zero("width", self.width, "A stroke's"), polarity(self.positive, "A stroke's"))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "paint", **_stroke(self.points, self.positive, self.width, "stroke")}


@dataclass(frozen=True)
class Box(Interaction):
    """The object lies inside, all of it: outside is background, inside is not said.

    Args:
        left, top, right, bottom: photo pixels, all of them inside the box.

    >>> Box(10, 10, 29, 19).within((60, 80))
    Box(left=10, top=10, right=29, bottom=19)
    """

    left: float
    top: float
    right: float
    bottom: float

    def within(self, photo_size: tuple[int, int]) -> Box:
        left, top = place(self.left, self.top, photo_size, "box's corner")
        right, bottom = place(self.right, self.bottom, photo_size, "box's corner")
        if right < left or bottom < top:
            raise InteractionError(
                f"Expected a box as left, top, right, bottom; {self} has its right or bottom before its left or top."
            )
        return Box(left, top, right, bottom)

    def to_json(self) -> dict[str, Any]:
        sides = {name: number(name, getattr(self, name), "A box's") for name in ("left", "top", "right", "bottom")}
        return {"kind": "box", **sides}


@dataclass(frozen=True)
class Lasso(Interaction):
    """The object lies inside a closed outline, all of it: outside is background, inside is not said.

    Args:
        points: (x, y) of the outline's corners, in photo pixels, at least three; the last is joined to the first. What
            the outline passes through is inside; where it crosses itself the even-odd rule says what is.
    """

    points: Sequence[tuple[float, float]]

    def within(self, photo_size: tuple[int, int]) -> Lasso:
        return Lasso(_points(self.points, photo_size, "lasso", 3))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "lasso", "points": _written(self.points, "lasso")}


@dataclass(frozen=True, eq=False)
class Mask(Interaction):
    """A mask to begin from: "refine this".

    The network is pulled towards it as far as it goes, and the mask itself is shown. Clicks that come after change
    those pieces of it that they contradict, where the network has come to say otherwise; the rest stands.

    Args:
        mask: (H, W) bool, of the photo's size; other arrays are taken where they hold 0 and 1, or 0 and 255, alone.
    """

    mask: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash(np.asarray(self.mask, bool).tobytes())  # of equal masks the same, whatever their dtype

    def within(self, photo_size: tuple[int, int]) -> Mask:
        try:
            array = np.asarray(self.mask)
        except Exception as cause:  # whatever an object does when it is asked for an array
            raise InteractionError(f"A mask (H, W) of bool was expected, {shown(self.mask)} came.") from cause
        if array.shape != tuple(photo_size):
            height, width = photo_size
            raise InteractionError(
                f"A mask of the photo's size was expected, ({height}, {width}); one of shape {array.shape} came."
            )
        if array.dtype != bool:
            two = array.dtype.kind in "iuf" and bool(np.isin(array, (0, 1)).all() or np.isin(array, (0, 255)).all())
            if not two:
                raise InteractionError(
                    f"A mask of bool was expected, or of 0 and 1; {array.dtype} with other values came. Try mask > 0."
                )
        own = array.astype(bool)  # a copy: what the caller draws on later is not meant
        own.setflags(write=False)
        return Mask(own)

    def to_json(self) -> dict[str, Any]:
        try:
            return {"kind": "mask", "rle": run_lengths(np.asarray(self.mask))}
        except OptionError as cause:
            raise InteractionError(f"{cause} It is one once it has been checked.") from cause


def interaction_from_json(stored: Mapping[str, Any]) -> Interaction:
    """The interaction that its `to_json` wrote, unchecked as one made by hand.

    Raises:
        InteractionError: anything else: no dict, another kind, a key missing or unknown, a value of another type.

    >>> interaction_from_json({"kind": "box", "left": 3, "top": 4, "right": 20, "bottom": 30})
    Box(left=3, top=4, right=20, bottom=30)
    """
    if not isinstance(stored, Mapping):
        raise InteractionError(f"Expected an interaction as a dict with its kind, a {type(stored).__name__} came.")
    kind = stored.get("kind", "click")
    if isinstance(kind, str) and kind == "click":
        return Click.from_json(stored)
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(("click", *_KINDS))
        raise InteractionError(f"Expected an interaction of one of the kinds {known}; {shown(kind)} came.")
    needed, allowed, make = _KINDS[kind]
    keys_of(stored, needed, ("kind", *allowed), f"Expected a {kind} with {', '.join(needed)}")
    return make(**{key: value for key, value in stored.items() if key != "kind"})


def _mask_of(rle: Any) -> Mask:
    try:
        return Mask(mask_of_rle(rle))
    except (OptionError, MemoryError) as cause:
        raise InteractionError(f"Expected a mask as run lengths: {cause}") from cause


_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Interaction]]] = {
    "scribble": (("points",), ("positive", "width", "weight", "label"), Scribble),
    "paint": (("points",), ("width", "positive"), Paint),
    "box": (("left", "top", "right", "bottom"), (), Box),
    "lasso": (("points",), (), Lasso),
    "mask": (("rle",), (), lambda rle: _mask_of(rle)),
}


def _points(points: Any, photo_size: tuple[int, int], what: str, least: int) -> Points:
    return tuple(place(x, y, photo_size, f"{what}'s point") for x, y in _pairs(points, what, least))


def _pairs(points: Any, what: str, least: int = 1) -> list[tuple[Any, Any]]:
    try:
        given = list(islice(points, MAX_POINTS + 1))  # some have no end
        pairs = [(each[0], each[1]) for each in given if len(each) == 2]
    except Exception:  # no sequence, or one of things that are no pairs
        given, pairs = [None], []
    if len(pairs) != len(given) or not least <= len(pairs) <= MAX_POINTS:
        raise InteractionError(f"A {what} of {least} to {MAX_POINTS} points (x, y) was expected, {shown(points)} came.")
    return pairs


def _above_zero(name: str, value: Any, what: str, of: str = "number of pixels") -> float:
    found = number(name, value, what, of)
    if not 0 < found < 1e9:
        raise InteractionError(f"{what} {name} has to be a {of} above 0, {shown(value)} came.")
    return float(found)


def _stroke(points: Any, positive: bool, width: float, what: str) -> dict[str, Any]:
    own = f"A {what}'s"
    width = float(number("width", width, own))
    return {"points": _written(points, what), "positive": polarity(positive, own), "width": width}


def _written(points: Any, what: str) -> list[list[float]]:
    own = f"A {what}'s"
    return [[number("x", x, own), number("y", y, own)] for x, y in _pairs(points, what)]
