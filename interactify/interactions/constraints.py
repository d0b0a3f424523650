"""What all interactions of an object say together: labels of pixels, a region, strokes, and what no longer holds.

Later ones win: so they are heard from the newest to the oldest, and each keeps what none of the newer ones that hold
contradicts. An interaction of which nothing is left is overruled, and the person is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.interactions.rasterise import points_inside, points_under
from interactify.interactions.sampling import scribble_points, background_points, deepest_pixel, mask_points, traced_pixels
from interactify.pictures.window import Pixels

TARGET: Final = -1  # the label of what is combine of the session's own target
FINEST: Final = 2**0.5  # pixels: a finer scribble speaks of every pixel it passes through
MASK_WEIGHT: Final = 8.0  # in clicks: the weight of all points together by which the network is told a mask


@dataclass(frozen=True, eq=False)
class Constraints:
    """What holds of a tuple of interactions.

    Attributes:
        interactions: all of them, as they were combine.
        in_effect: those that still say something.
        overruled: those that later ones contradict.
        places: (n, 2) int64 photo pixels that have a label, x then y.
        positive: (n,) bool, whether each is of the class that is spoken of, or is not.
        labels: (n,) int64, that class; -1 for the target.
        weights: (n,) float64, in clicks.
        required: (n,) bool, False for those that pull and are not waited for.
        owners: (n,) int64, by which of `interactions` each was combine.
        region: outside of which nothing is the object; None where none was combine.
        strokes: that erase and restore.
        mask: to begin from; None where none was combine.
        assume_centre: whether the middle of a region was taken for combine.
    """

    interactions: tuple[Interaction, ...]
    in_effect: tuple[Interaction, ...] = ()
    overruled: tuple[Interaction, ...] = ()
    places: Pixels = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    required: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    region: Box | Lasso | None = None
    strokes: tuple[Paint, ...] = ()
    mask: Mask | None = None
    assume_centre: bool = False

    @property
    def region_only(self) -> bool:
        """Whether a region is all that says where the object is."""
        own = self.required & self.positive & (self.labels == TARGET)
        return self.region is not None and not own.any() and self.mask is None

    def same_labels(self, other: Constraints) -> bool:
        """Whether the same labels of the same places hold."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("places", "positive", "labels", "weights", "required")
        )


def combine(
    interactions: Sequence[Interaction],
    photo_size: tuple[int, int],
    assume_centre: bool = False,
    *,
    own: int | None = None,
    exclusive: bool = True,
) -> Constraints:
    """What interactions, checked, say together of a photo (H, W), the later over the earlier.

    With `assume_centre`, a region whose inside nobody has spoken of says that the pixel deepest inside is the object.

    Args:
        own: the class of the object, where it is known: what is combine of it by its index is combine of the object.
        exclusive: whether a pixel that is of one class is of no other.
    """
    heard = _Combination(photo_size, own, exclusive)
    for index in reversed(range(len(interactions))):
        heard.hear(index, interactions[index])
    if assume_centre:
        heard.suppose_centre()
    told = sorted(((index, p) for index, points in heard.points.items() for p in points), key=lambda each: each[0])
    return Constraints(
        tuple(interactions),
        tuple(each for i, each in enumerate(interactions) if i not in heard.overruled),
        tuple(each for i, each in enumerate(interactions) if i in heard.overruled),
        np.array([(p.x, p.y) for _, p in told], np.int64).reshape(-1, 2),
        np.array([p.positive for _, p in told], bool),
        np.array([p.label for _, p in told], np.int64),
        np.array([p.weight for _, p in told], float),
        np.array([p.required for _, p in told], bool),
        np.array([index for index, _ in told], np.int64),
        heard.region,
        tuple(reversed(heard.strokes)),
        heard.mask,
        assume_centre,
    )


@dataclass(frozen=True)
class _Point:
    x: int
    y: int
    positive: bool
    label: int = TARGET
    weight: float = 1.0
    required: bool = True


class _Combination:
    """What holds of the interactions heard so far, from the newest to the oldest: the older gives way.

    An interaction that is overruled contradicts nothing: what it had overruled holds again.
    """

    def __init__(self, photo_size: tuple[int, int], own: int | None, exclusive: bool) -> None:
        self.size, self.own, self.exclusive = photo_size, own, exclusive
        self.points: dict[int, list[_Point]] = {}  # of each interaction, what is left of it
        self.overruled: set[int] = set()
        self.region: Box | Lasso | None = None
        self.strokes: list[Paint] = []  # the newest first
        self.mask: Mask | None = None
        self._at: dict[tuple[int, int], list[_Point]] = {}  # what holds of a pixel
        self._marked: list[_Point] = []  # what clicks and scribbles say
        self._scribbles: list[tuple[Scribble, _Point]] = []  # and one of its points, to compare labels with
        self._region_index = -1

    def hear(self, index: int, each: Interaction) -> None:
        """The next older interaction."""
        if isinstance(each, (Click, Scribble)):
            holds = self._mark(index, each)
        elif isinstance(each, (Box, Lasso)):
            holds = self._enclose(index, each)
        elif isinstance(each, Paint):
            holds = self._paint(each)
        else:
            assert isinstance(each, Mask)
            holds = self._begin_from(index, each)
        if not holds:
            self.overruled.add(index)

    def suppose_centre(self) -> None:
        """Take the middle of the region for the object, unless someone has combine otherwise."""
        if self.region is not None:
            centre_of = _Point(*deepest_pixel(self.region), True)
            if self._standing([centre_of]):
                self.points[self._region_index].insert(0, centre_of)

    def _mark(self, index: int, each: Click | Scribble) -> bool:
        label = TARGET if each.label is None or each.label == self.own else int(each.label)
        if isinstance(each, Click):
            self._marked += self._keep(index, [_Point(int(each.x), int(each.y), each.positive, label)])
            return bool(self.points[index])
        # All along it speaks, and not only where the network is told.
        self._marked += self._standing([_Point(x, y, each.positive, label) for x, y in traced_pixels(each).tolist()])
        places = scribble_points(each, self.size).tolist()
        kept = self._keep(index, [_Point(x, y, each.positive, label, each.weight / len(places)) for x, y in places])
        if kept:
            self._scribbles.append((each, kept[0]))
        return bool(kept)

    def _enclose(self, index: int, region: Box | Lasso) -> bool:
        if self.region is not None or self.mask is not None:
            return False
        if not points_inside(region, _places(p for p in self._marked if p.positive and p.label == TARGET)).all():
            return False
        self.region, self._region_index = region, index
        self._keep(index, [_Point(x, y, False) for x, y in background_points(region, self.size).tolist()])
        return True

    def _paint(self, stroke: Paint) -> bool:
        if self.mask is not None:
            return False
        if points_under(stroke, _places(p for p in self._marked if self._is_object(p) is (not stroke.positive))).any():
            return False
        if stroke.positive and self.region is not None and not points_inside(self.region, np.array(stroke.points, int)).all():
            return False
        self.strokes.append(stroke)
        return True

    def _begin_from(self, index: int, mask: Mask) -> bool:
        if self.mask is not None:
            return False
        places, labels = mask_points(mask)
        weight = MASK_WEIGHT / max(1, len(places))
        told = zip(places.tolist(), labels.tolist(), strict=True)
        self._keep(index, [_Point(x, y, positive, TARGET, weight, required=False) for (x, y), positive in told])
        self.mask = mask
        return True

    def _keep(self, index: int, points: Sequence[_Point]) -> list[_Point]:
        """Of what an interaction says, what nothing newer contradicts."""
        self.points[index] = self._standing(points)
        for p in self.points[index]:
            self._at.setdefault((p.x, p.y), []).append(p)
        return self.points[index]

    def _standing(self, points: Sequence[_Point]) -> list[_Point]:
        says: list[bool | None] = [None] * len(points)  # what is shown there by mask, region and strokes
        places = _places(points)
        if self.mask is not None:
            says = self.mask.mask[places[:, 1], places[:, 0]].tolist()
        if self.region is not None:
            says = [each if within else False for each, within in zip(says, points_inside(self.region, places), strict=True)]
        for stroke in reversed(self.strokes):
            covered = points_under(stroke, places)
            says = [stroke.positive if over else each for each, over in zip(says, covered, strict=True)]
        crossed = np.zeros(len(points), bool)
        for scribble, like in self._scribbles:
            crossed |= points_under(scribble, places, FINEST) & [self._contradict(p, like) for p in points]
        return [
            p
            for p, shown, gone in zip(points, says, crossed, strict=True)
            if self._agreed(p)
            or (not gone and (shown is None or self._is_object(p) in (None, shown)) and not self._denied(p))
        ]

    def _agreed(self, p: _Point) -> bool:
        """Whether something newer that holds says the same."""
        return any((q.label, q.positive) == (p.label, p.positive) for q in self._at.get((p.x, p.y), ()))

    def _denied(self, p: _Point) -> bool:
        return any(self._contradict(p, newer) for newer in self._at.get((p.x, p.y), ()))

    def _is_object(self, p: _Point) -> bool | None:
        """What a label says of the object itself; None for nothing."""
        if p.label == TARGET:
            return p.positive
        return False if p.positive and self.exclusive and self.own is not None else None

    def _contradict(self, p: _Point, q: _Point) -> bool:
        if p.label == q.label:
            return p.positive != q.positive
        known = self.own is not None or TARGET not in (p.label, q.label)
        return p.positive and q.positive and self.exclusive and known


def _places(points: Iterable[_Point]) -> Pixels:
    return np.array([(p.x, p.y) for p in points], np.int64).reshape(-1, 2)
