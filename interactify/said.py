"""What all interactions of an object say together: labels of pixels, a region, strokes, and what no longer holds.

Later ones win. A pixel that is said again with the other label speaks for the later one alone; an interaction of which
nothing is left is overruled, and the person is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.interactions import Click, Interaction
from interactify.regions import Places, along, beside, centre, grid, holds, strewn
from interactify.window import Window

OWN: Final = -1  # the label of what is said of the session's own target
PULL: Final = 8.0  # in clicks: the weight of all points together by which the network is told a mask


@dataclass(frozen=True, eq=False)
class Said:
    """What holds of a tuple of interactions.

    Attributes:
        interactions: all of them, as they were said.
        holding: those that still say something.
        overruled: those that later ones contradict.
        places: (n, 2) int64 photo pixels that have a label, x then y.
        positive: (n,) bool, whether each is of the class that is spoken of, or is not.
        labels: (n,) int64, that class; -1 for the target.
        weights: (n,) float64, in clicks.
        required: (n,) bool, False for those that pull and are not waited for.
        owners: (n,) int64, by which of `interactions` each was said.
        region: outside of which nothing is the object; None where none was said.
        strokes: that erase and restore.
        mask: to begin from; None where none was said.
        in_centre: whether the middle of a region was taken for said.
    """

    interactions: tuple[Interaction, ...]
    holding: tuple[Interaction, ...] = ()
    overruled: tuple[Interaction, ...] = ()
    places: Places = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    required: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    region: Box | Lasso | None = None
    strokes: tuple[Paint, ...] = ()
    mask: Mask | None = None
    in_centre: bool = False

    @property
    def found_by_region(self) -> bool:
        """Whether a region is all that says where the object is."""
        own = self.required & self.positive & (self.labels == OWN)
        return self.region is not None and not own.any() and self.mask is None


@dataclass(frozen=True)
class _Point:
    x: int
    y: int
    positive: bool
    label: int = OWN
    weight: float = 1.0
    required: bool = True


def said(interactions: Sequence[Interaction], photo_size: tuple[int, int], in_centre: bool = False) -> Said:
    """What interactions, checked, say together of a photo (H, W), the later over the earlier.

    With `in_centre`, a region whose inside nobody has spoken of says that the pixel deepest inside is the object.
    """
    points: list[list[_Point]] = []  # of each interaction, what is left of it
    overruled: set[int] = set()
    region: int | None = None
    strokes: list[int] = []
    mask: int | None = None
    for index, each in enumerate(interactions):
        own = _points(each, photo_size)
        points.append(own)
        if isinstance(each, (Click, Scribble)):
            speaks = {(p.x, p.y): p.positive for p in own if p.label == OWN}
            contradicted = [i for i in strokes if _crossed(interactions[i], speaks)]
            overruled.update(contradicted)
            strokes = [i for i in strokes if i not in contradicted]
            if region is not None and _left(interactions[region], [p for p, yes in speaks.items() if yes]):
                points[region] = []
                overruled.add(region)
                region = None
        elif isinstance(each, (Box, Lasso)):
            if region is not None:
                points[region] = []
                overruled.add(region)
            region = index
            for earlier in points[:index]:
                earlier[:] = [p for p in earlier if not (p.positive and p.label == OWN and _left(each, [(p.x, p.y)]))]
            outside = [i for i in strokes if interactions[i].positive and _left(each, interactions[i].points)]  # type: ignore[attr-defined]
            overruled.update(outside)
            strokes = [i for i in strokes if i not in outside]
        elif isinstance(each, Paint):
            strokes.append(index)
            for earlier in points[:index]:
                earlier[:] = [p for p in earlier if p.positive == each.positive or not _under(each, p)]
        elif isinstance(each, Mask):
            mask = index
            for i, earlier in enumerate(points[:index]):
                earlier[:] = [p for p in earlier if bool(each.mask[p.y, p.x]) == p.positive or p.label != OWN]
                if isinstance(interactions[i], (Box, Lasso, Mask)):
                    earlier.clear()
                    overruled.add(i)
            region = None
            overruled.update(strokes)
            strokes = []
    _later_wins(points)
    if region is not None and in_centre:
        x, y = centre(interactions[region])  # type: ignore[arg-type]
        points[region] = [_Point(x, y, True, weight=1.0), *points[region]]
    lost = {i for i, each in enumerate(interactions) if isinstance(each, (Click, Scribble)) and not points[i]}
    overruled |= lost
    told = [(index, p) for index, own in enumerate(points) for p in own]
    return Said(
        tuple(interactions),
        tuple(each for i, each in enumerate(interactions) if i not in overruled),
        tuple(each for i, each in enumerate(interactions) if i in overruled),
        np.array([(p.x, p.y) for _, p in told], np.int64).reshape(-1, 2),
        np.array([p.positive for _, p in told], bool),
        np.array([p.label for _, p in told], np.int64),
        np.array([p.weight for _, p in told], float),
        np.array([p.required for _, p in told], bool),
        np.array([index for index, _ in told], np.int64),
        None if region is None else interactions[region],  # type: ignore[arg-type]
        tuple(interactions[i] for i in strokes),  # type: ignore[misc]
        None if mask is None else interactions[mask],  # type: ignore[arg-type]
        in_centre,
    )


def _points(each: Interaction, photo_size: tuple[int, int]) -> list[_Point]:
    """The pixels that an interaction speaks of."""
    if isinstance(each, Click):
        return [_Point(int(each.x), int(each.y), each.positive, _label(each.label))]
    if isinstance(each, Scribble):
        places, label = along(each, photo_size).tolist(), _label(each.label)
        return [_Point(x, y, each.positive, label, each.weight / len(places)) for x, y in places]
    if isinstance(each, (Box, Lasso)):
        return [_Point(x, y, False) for x, y in beside(each, photo_size).tolist()]
    if isinstance(each, Mask):
        places, labels = grid(each)
        weight = PULL / max(1, len(places))
        return [
            _Point(x, y, bool(positive), OWN, weight, required=False)
            for (x, y), positive in zip(places.tolist(), labels, strict=True)
        ]
    return []


def _label(label: int | str | None) -> int:
    """A class's index; names have become indices where an interaction is taken."""
    return OWN if label is None else int(label)


def _later_wins(points: list[list[_Point]]) -> None:
    """Take back what contradicts the last that was said of the same pixel."""
    last = {(p.x, p.y): p for own in points for p in own}
    for own in points:
        own[:] = [p for p in own if not _contradicts(last[p.x, p.y], p)]


def _contradicts(newer: _Point, older: _Point) -> bool:
    if newer.label == older.label:
        return newer.positive != older.positive
    return newer.positive and older.positive and OWN not in (newer.label, older.label)  # two classes at one pixel


def _left(region: Interaction, places: Sequence[tuple[float, float]]) -> bool:
    """Whether a place lies outside of a region."""
    return any(not holds(region, int(x), int(y)) for x, y in places)  # type: ignore[arg-type]


def _under(stroke: Paint, point: _Point) -> bool:
    under = strewn(stroke, Window(point.y, point.x, 1, 1))
    return under is not None and bool(under[0, 0])


def _crossed(stroke: Interaction, speaks: dict[tuple[int, int], bool]) -> bool:
    assert isinstance(stroke, Paint)
    return any(yes != stroke.positive and _under(stroke, _Point(x, y, yes)) for (x, y), yes in speaks.items())
