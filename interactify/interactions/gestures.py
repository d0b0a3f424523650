"""Interactions beyond the click: scribbles, boxes, lassos, strokes that erase, initial masks and label maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, OptionError, with_type
from interactify.interactions.click import Click, Interaction, check_keys, checked_label
from interactify.interactions.validation import number, pixel_at, polarity
from interactify.masks.run_lengths import mask_of_rle, run_lengths
from interactify.plain_array import plain_array

Points = tuple[tuple[float, float], ...]
UNKNOWN: Final = -1  # in a checked label map: pixels whose class is not known
MOST_CLASSES: Final = 2**15  # a label map is kept as int16
MAX_POINTS: Final = 100_000  # of a stroke or outline: more is a mistake, and would take minutes


@dataclass(frozen=True)
class Scribble(Interaction):
    """A stroke whose pixels all belong to the object (`positive`), or do not.

    Whatever its length, it counts as much as `weight` clicks, so that it does not outweigh them.

    Args:
        points: (x, y) of a polyline, in photo pixels, at least one.
        positive: False for pixels that are not the object.
        width: of the stroke, in photo pixels.
        weight: in clicks, above 0.
        label: a class, as in `Click`.

    >>> Scribble([(10, 20), (40, 25)]).within((60, 80)).points
    ((10, 20), (40, 25))
    """

    points: Sequence[tuple[float, float]]
    positive: bool = True
    width: float = 1.0
    weight: float = 1.0
    label: int | str | None = None

    def within(self, photo_size: tuple[int, int]) -> Scribble:
        what = "a scribble's"
        return Scribble(
            _points(self.points, photo_size, "scribble", 1),
            polarity(self.positive, what),
            above_zero("width", self.width, what),
            above_zero("weight", self.weight, what, "number of clicks"),
            checked_label(self.label, what),
        )

    def to_json(self) -> dict[str, Any]:
        what = "a scribble's"
        weight = float(number("weight", self.weight, what, "number of clicks"))
        entry = {"kind": "scribble", **_stroke(self.points, self.positive, self.width, "scribble"), "weight": weight}
        return entry if self.label is None else {**entry, "label": checked_label(self.label, what)}


@dataclass(frozen=True)
class Paint(Interaction):
    """A stroke that restores (`positive`) or erases pixels of the mask itself, without the network.

    Args:
        points: (x, y) of a polyline, in photo pixels, at least one.
        width: of the stroke, in photo pixels: it sets all pixels whose centres are at most half of it away.
        positive: True to restore, False to erase.
    """

    points: Sequence[tuple[float, float]]
    width: float = 9.0
    positive: bool = False

    def within(self, photo_size: tuple[int, int]) -> Paint:
        points = _points(self.points, photo_size, "stroke", 1)
        return Paint(points, above_zero("width", self.width, "a stroke's"), polarity(self.positive, "a stroke's"))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "paint", **_stroke(self.points, self.positive, self.width, "stroke")}


@dataclass(frozen=True)
class Box(Interaction):
    """The whole object is inside: all pixels outside are background, those inside are open.

    Args:
        left, top, right, bottom: photo pixels, inclusive.

    >>> Box(10, 10, 29, 19).within((60, 80))
    Box(left=10, top=10, right=29, bottom=19)
    """

    left: float
    top: float
    right: float
    bottom: float

    def within(self, photo_size: tuple[int, int]) -> Box:
        left, top = pixel_at(self.left, self.top, photo_size, "box's corner")
        right, bottom = pixel_at(self.right, self.bottom, photo_size, "box's corner")
        if right < left or bottom < top:
            raise InteractionError(
                f"Expected left, top, right, bottom; got {self}, with its right or bottom before its left or top."
            )
        return Box(left, top, right, bottom)

    def to_json(self) -> dict[str, Any]:
        sides = {name: number(name, getattr(self, name), "a box's") for name in ("left", "top", "right", "bottom")}
        return {"kind": "box", **sides}


@dataclass(frozen=True)
class Lasso(Interaction):
    """The whole object is inside a closed outline: all pixels outside are background, those inside are open.

    Args:
        points: (x, y) of the outline's corners, in photo pixels, at least three; the last is joined to the first.
            Pixels on the outline are inside; where it crosses itself, the even-odd rule decides.
    """

    points: Sequence[tuple[float, float]]

    def within(self, photo_size: tuple[int, int]) -> Lasso:
        return Lasso(_points(self.points, photo_size, "lasso", 3))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "lasso", "points": written(self.points, "lasso")}


@dataclass(frozen=True, eq=False)
class Mask(Interaction):
    """An initial mask to refine.

    The network is pulled towards it as far as possible, and the mask itself is the result. Later clicks change those
    pieces of it that they contradict, where the network then predicts otherwise; the rest stays.

    Args:
        mask: (H, W) bool, of the photo's size; or an array of only 0 and 1, or only 0 and 255.
    """

    mask: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash(np.asarray(self.mask, bool).tobytes())  # equal masks of any dtype have the same hash

    def within(self, photo_size: tuple[int, int]) -> Mask:
        return Mask(checked_mask(self.mask, tuple(photo_size)))

    def to_json(self) -> dict[str, Any]:
        try:
            return {"kind": "mask", "rle": run_lengths(np.asarray(plain_array(self.mask, "a mask")))}
        except OptionError as cause:
            raise InteractionError(f"{cause} Try `checked` on it first.") from cause


@dataclass(frozen=True, eq=False)
class Labels(Interaction):
    """An initial label map to refine: the class of every pixel, as a network or a person gave it.

    It is what `Session.class_map` returns. Later clicks change those pieces of it that they contradict, where the
    network then predicts otherwise; the rest stays. Where the network itself predicts another class than the map, it is
    pulled towards the map as far as possible. For networks of two or more classes that exclude each other.

    Args:
        labels: (H, W) whole numbers, of the photo's size: the index of each pixel's class.
        ignore: the value of pixels whose class is not known, as are masked ones of a masked array: there the network's
            own prediction counts. None where every value is a class.

    >>> Labels(np.array([[0, 2], [255, 1]])).within((2, 2)).labels
    array([[ 0,  2],
           [-1,  1]], dtype=int16)
    """

    labels: NDArray[np.int16]
    ignore: int | None = 255

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.ignore == other.ignore and np.array_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash(np.asarray(self.labels, np.int64).tobytes())  # equal maps of any dtype have the same hash

    def within(self, photo_size: tuple[int, int]) -> Labels:
        """The same, checked: int16, with -1 where the class is not known."""
        try:
            array = np.asarray(self.labels)
            known = ~np.ma.getmaskarray(self.labels)
        except Exception as cause:  # the object's own code decides what it raises
            raise InteractionError(f"Expected a label map as (H, W) array, got {with_type(self.labels)}.") from cause
        if array.shape != tuple(photo_size):
            height, width = photo_size
            raise InteractionError(
                f"Expected a label map of the photo's size, ({height}, {width}), got one of shape {array.shape}."
            )
        if array.dtype.kind not in "iu":
            hint = "Mask(mask) for one object" if array.dtype.kind == "b" else "labels.astype(int)"
            raise InteractionError(f"Expected a label map of whole numbers, got {array.dtype}. Try {hint}.")
        if self.ignore is not None:
            ignore = number("ignore", self.ignore, "a label map's", "whole number")
            known &= array != ignore
        if not known.any():
            raise InteractionError("Expected a label map with the class of at least one pixel, got none. Try a click.")
        lowest, highest = int(array[known].min()), int(array[known].max())
        if lowest < 0 or highest >= MOST_CLASSES:
            wrong = lowest if lowest < 0 else highest
            raise InteractionError(
                f"Expected classes from 0 to {MOST_CLASSES - 1} in a label map, got {wrong}. Try ignore={wrong} where "
                "it stands for pixels of no known class."
            )
        own = np.full(array.shape, UNKNOWN, np.int16)  # a copy: the caller may change the array later
        own[known] = array[known]
        own.setflags(write=False)
        return Labels(own, UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        own = self.within(np.asarray(self.labels).shape).labels
        if own.ndim != 2:
            raise InteractionError(f"Expected a label map as (H, W) array, got one of shape {own.shape}.")
        found = np.unique(own[own != UNKNOWN]).tolist()
        return {"kind": "labels", "classes": {str(index): run_lengths(own == index) for index in found}}


def interaction_from_json(entry: Mapping[str, Any]) -> Interaction:
    """The interaction that its `to_json` wrote; not checked against any photo.

    Raises:
        InteractionError: for anything else: no dict, another kind, a missing or unknown key, a value of another type.

    >>> interaction_from_json({"kind": "box", "left": 3, "top": 4, "right": 20, "bottom": 30})
    Box(left=3, top=4, right=20, bottom=30)
    """
    if not isinstance(entry, Mapping):
        raise InteractionError(f"Expected an interaction as a dict with its kind, got a {type(entry).__name__}.")
    kind = entry.get("kind", "click")
    if isinstance(kind, str) and kind == "click":
        return Click.from_json(entry)
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(("click", *_KINDS))
        raise InteractionError(f"Expected an interaction of one of the kinds {known}; got {with_type(kind)}.")
    needed, allowed, make = _KINDS[kind]
    check_keys(entry, needed, ("kind", *allowed), f"Expected a {kind} with {', '.join(needed)}")
    return make(**{key: value for key, value in entry.items() if key != "kind"})


def _mask_of(rle: Any) -> Mask:
    try:
        return Mask(mask_of_rle(rle))
    except (OptionError, MemoryError) as cause:
        raise InteractionError(f"Expected a mask as run lengths: {cause}") from cause


def _labels_of(classes: Any) -> Labels:
    try:
        masks = {int(index): mask_of_rle(rle) for index, rle in classes.items()}
        labels = np.full(next(iter(masks.values())).shape, UNKNOWN, np.int16)
        for index, mask in masks.items():
            if index not in range(MOST_CLASSES) or (labels[mask] != UNKNOWN).any():
                raise ValueError(f"class {index} is none, or has pixels of another one")
            labels[mask] = index
    except (AttributeError, IndexError, OptionError, MemoryError, StopIteration, TypeError, ValueError) as cause:
        raise InteractionError(
            f"Expected a label map as run lengths of each class: {type(cause).__name__}, {cause}"
        ) from cause
    return Labels(labels, UNKNOWN)


_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Interaction]]] = {
    "scribble": (("points",), ("positive", "width", "weight", "label"), Scribble),
    "paint": (("points",), ("width", "positive"), Paint),
    "box": (("left", "top", "right", "bottom"), (), Box),
    "lasso": (("points",), (), Lasso),
    "mask": (("rle",), (), lambda rle: _mask_of(rle)),
    "labels": (("classes",), (), lambda classes: _labels_of(classes)),
}


def _points(points: Any, photo_size: tuple[int, int], what: str, least: int) -> Points:
    return tuple(pixel_at(x, y, photo_size, f"{what}'s point") for x, y in pairs(points, what, least))


def checked_mask(mask: Any, size: tuple[int, ...], of: str = "photo") -> NDArray[np.bool_]:
    """A copy of a mask of a photo's, or a volume's, size: bool, read-only. Raises InteractionError."""
    sides = "(H, W)" if len(size) == 2 else "(D, H, W)"
    try:
        array = np.asarray(plain_array(mask, "a mask"))
    except OptionError as cause:
        raise InteractionError(str(cause)) from cause
    except Exception as cause:  # the object's own code decides what it raises
        raise InteractionError(f"Expected a mask as {sides} bool array, got {with_type(mask)}.") from cause
    if array.shape != size:
        raise InteractionError(f"Expected a mask of the {of}'s size, {size}, got one of shape {array.shape}.")
    if array.dtype != bool:
        two = array.dtype.kind in "iuf" and bool(np.isin(array, (0, 1)).all() or np.isin(array, (0, 255)).all())
        if not two:
            raise InteractionError(
                f"Expected a mask of bool, or of 0 and 1; got {array.dtype} with other values. Try mask > 0."
            )
    own = array.astype(bool)  # a copy: the caller may change the array later
    own.setflags(write=False)
    return own


def pairs(points: Any, what: str, least: int = 1, axes: Sequence[str] = ("x", "y")) -> list[tuple[Any, ...]]:
    """The points of a stroke or outline, one number for each axis. Raises InteractionError for anything else."""
    try:
        given = list(islice(points, MAX_POINTS + 1))  # an iterator may be endless
        places = [tuple(each[k] for k in range(len(axes))) for each in given if len(each) == len(axes)]
    except Exception:  # not a sequence, or not one of points
        given, places = [None], []
    if len(places) != len(given) or not least <= len(places) <= MAX_POINTS:
        expected = f"points ({', '.join(axes)})"
        raise InteractionError(f"Expected a {what} of {least} to {MAX_POINTS} {expected}, got {with_type(points)}.")
    return places


def above_zero(name: str, value: Any, what: str, of: str = "number of pixels") -> float:
    """A number above 0. Raises InteractionError for anything else."""
    found = number(name, value, what, of)
    if not 0 < found < 1e9:
        raise InteractionError(f"Expected {what} {name} to be a {of} above 0, got {with_type(value)}.")
    return float(found)


def _stroke(points: Any, positive: bool, width: float, what: str) -> dict[str, Any]:
    own = f"a {what}'s"
    width = float(number("width", width, own))
    return {"points": written(points, what), "positive": polarity(positive, own), "width": width}


def written(points: Any, what: str, axes: Sequence[str] = ("x", "y")) -> list[list[float]]:
    """The points of a stroke or outline, for JSON. Raises InteractionError."""
    places = pairs(points, what, axes=axes)
    return [[number(axis, at, f"a {what}'s") for axis, at in zip(axes, each, strict=True)] for each in places]
