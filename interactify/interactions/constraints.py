"""What the interactions of an object together ask of pixels: labelled points, a region, strokes, an initial mask.

Later interactions win. So they are combined from the newest to the oldest, and each keeps the points that no newer one
in effect contradicts. An interaction that keeps none is overruled, and this is reported to the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import UNKNOWN, Box, Labels, Lasso, Mask, Paint, Scribble
from interactify.interactions.rasterise import points_inside, points_under
from interactify.interactions.sampling import (
    background_points,
    deepest_pixel,
    label_points,
    mask_points,
    scribble_points,
    traced_pixels,
)
from interactify.pictures.window import Pixels

TARGET: Final = -1  # stands for the session's own target among the labels
FINEST: Final = 2**0.5  # pixels: the least width of a scribble, so that it covers every pixel it passes through
MASK_WEIGHT: Final = 8.0  # in clicks: of all points together that stand for an initial mask or label map


@dataclass(frozen=True, eq=False)
class Constraints:
    """What a tuple of interactions asks of pixels.

    Attributes:
        interactions: all of them, in the order they were given.
        in_effect: those that are not overruled.
        overruled: those that later ones contradict.
        points: (n, 2) int64 photo pixels with a label, x then y.
        positive: (n,) bool, whether each pixel belongs to the class of its label, or does not.
        labels: (n,) int64, that class; -1 for the target.
        weights: (n,) float64, in clicks.
        required: (n,) bool, False for points that pull but need not be satisfied.
        owners: (n,) int64, the index in `interactions` of the one that gave each point.
        region: everything outside it is background; None without one.
        strokes: those that erase and restore.
        mask: the initial mask or label map; None without one.
        assume_centre: whether the region's deepest pixel may be taken for the object.
    """

    interactions: tuple[Interaction, ...]
    in_effect: tuple[Interaction, ...] = ()
    overruled: tuple[Interaction, ...] = ()
    points: Pixels = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    required: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    region: Box | Lasso | None = None
    strokes: tuple[Paint, ...] = ()
    mask: Mask | Labels | None = None
    assume_centre: bool = False

    @property
    def region_only(self) -> bool:
        """Whether a region alone tells where the object is: no click, scribble or mask does."""
        own = self.required & self.positive & (self.labels == TARGET)
        return self.region is not None and not own.any() and not isinstance(self.mask, Mask)

    def only(self, these: NDArray[np.bool_], weights: NDArray[np.float64]) -> Constraints:
        """With some of the points only, and with other weights, (n,) for all points."""
        names = "points", "positive", "labels", "required", "owners"
        return replace(self, weights=weights[these], **{name: getattr(self, name)[these] for name in names})

    def same_labels(self, other: Constraints) -> bool:
        """Whether the same points have the same labels and weights."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("points", "positive", "labels", "weights", "required")
        )


def combine(
    interactions: Sequence[Interaction],
    photo_size: tuple[int, int],
    assume_centre: bool = False,
    *,
    own: int | None = None,
    exclusive: bool = True,
) -> Constraints:
    """What checked interactions on a photo (H, W) together ask of its pixels, the later ones before the earlier.

    Args:
        interactions: in the order they were given.
        photo_size: (H, W).
        assume_centre: without any point inside the region, take its deepest pixel for the object.
        own: the class of the object, where it is known: labels with its index are labels of the object.
        exclusive: whether a pixel of one class belongs to no other.
    """
    combination = _Combination(photo_size, own, exclusive)
    for index in reversed(range(len(interactions))):
        combination.add_older(index, interactions[index])
    if assume_centre:
        combination.add_centre()
    owned = [(index, p) for index, points in sorted(combination.points.items()) for p in points]
    return Constraints(
        tuple(interactions),
        tuple(each for i, each in enumerate(interactions) if i not in combination.overruled),
        tuple(each for i, each in enumerate(interactions) if i in combination.overruled),
        np.array([(p.x, p.y) for _, p in owned], np.int64).reshape(-1, 2),
        np.array([p.positive for _, p in owned], bool),
        np.array([p.label for _, p in owned], np.int64),
        np.array([p.weight for _, p in owned], float),
        np.array([p.required for _, p in owned], bool),
        np.array([index for index, _ in owned], np.int64),
        combination.region,
        tuple(reversed(combination.strokes)),
        combination.mask,
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
    """The constraints of the interactions added so far, from the newest to the oldest: the older one yields.

    An overruled interaction overrules nothing itself.
    """

    def __init__(self, photo_size: tuple[int, int], own: int | None, exclusive: bool) -> None:
        self.size, self.own, self.exclusive = photo_size, own, exclusive
        self.points: dict[int, list[_Point]] = {}  # by interaction: its points in effect
        self.overruled: set[int] = set()
        self.region: Box | Lasso | None = None
        self.strokes: list[Paint] = []  # the newest first
        self.mask: Mask | Labels | None = None
        self._at: dict[tuple[int, int], list[_Point]] = {}  # by pixel: its labels in effect
        self._marked: list[_Point] = []  # labels of clicks, and of all pixels under scribbles
        self._scribbles: list[tuple[Scribble, _Point]] = []  # and one of its points, to compare labels with
        self._region_index = -1

    def add_older(self, index: int, each: Interaction) -> None:
        """Add the next older interaction."""
        if isinstance(each, (Click, Scribble)):
            in_effect = self._add_labels(index, each)
        elif isinstance(each, (Box, Lasso)):
            in_effect = self._add_region(index, each)
        elif isinstance(each, Paint):
            in_effect = self._add_stroke(each)
        else:
            assert isinstance(each, (Mask, Labels))
            in_effect = self._add_mask(index, each)
        if not in_effect:
            self.overruled.add(index)

    def add_centre(self) -> None:
        """Take the deepest pixel of the region for the object, unless a constraint contradicts it."""
        if self.region is not None:
            centre = _Point(*deepest_pixel(self.region), True)
            if self._in_effect([centre]):
                self.points[self._region_index].insert(0, centre)

    def _add_labels(self, index: int, each: Click | Scribble) -> bool:
        label = TARGET if each.label is None or each.label == self.own else int(each.label)
        if isinstance(each, Click):
            self._marked += self._keep(index, [_Point(int(each.x), int(each.y), each.positive, label)])
            return bool(self.points[index])
        # A scribble labels all pixels along its line, not only the points that the network is given.
        self._marked += self._in_effect([_Point(x, y, each.positive, label) for x, y in traced_pixels(each).tolist()])
        points = scribble_points(each, self.size).tolist()
        left = self._keep(index, [_Point(x, y, each.positive, label, each.weight / len(points)) for x, y in points])
        if left:
            self._scribbles.append((each, left[0]))
        return bool(left)

    def _add_region(self, index: int, region: Box | Lasso) -> bool:
        if self.region is not None or self.mask is not None:
            return False
        if not points_inside(region, _pixels(p for p in self._marked if p.positive and p.label == TARGET)).all():
            return False
        self.region, self._region_index = region, index
        self._keep(index, [_Point(x, y, False) for x, y in background_points(region, self.size).tolist()])
        return True

    def _add_stroke(self, stroke: Paint) -> bool:
        if self.mask is not None:
            return False
        against = _pixels(p for p in self._marked if self._is_object(p) is (not stroke.positive))
        if points_under(stroke, against).any():
            return False
        ends = np.array(stroke.points, int)
        if stroke.positive and self.region is not None and not points_inside(self.region, ends).all():
            return False
        self.strokes.append(stroke)
        return True

    def _add_mask(self, index: int, mask: Mask | Labels) -> bool:
        if self.mask is not None:
            return False
        if isinstance(mask, Mask):
            points, positive = mask_points(mask.mask)
            labels = [TARGET] * len(points)
        else:
            points, classes = label_points(mask)
            positive = np.ones(len(points), bool)
            labels = [TARGET if label == self.own else label for label in classes.tolist()]
        weight = MASK_WEIGHT / max(1, len(points))
        labelled = zip(points.tolist(), positive.tolist(), labels, strict=True)
        self._keep(index, [_Point(x, y, yes, label, weight, required=False) for (x, y), yes, label in labelled])
        self.mask = mask
        return True

    def _keep(self, index: int, points: Sequence[_Point]) -> list[_Point]:
        """Keep the points of an interaction that no newer constraint contradicts."""
        self.points[index] = self._in_effect(points)
        for p in self.points[index]:
            self._at.setdefault((p.x, p.y), []).append(p)
        return self.points[index]

    def _in_effect(self, points: Sequence[_Point]) -> list[_Point]:
        """Those of the points that no newer constraint contradicts."""
        inside: list[bool | None] = [None] * len(points)  # the object's mask there, by initial mask, region and strokes
        pixels = _pixels(points)
        excluded = np.zeros(len(points), bool)  # labels of other classes that a label map contradicts
        if isinstance(self.mask, Mask):
            inside = self.mask.mask[pixels[:, 1], pixels[:, 0]].tolist()
        elif self.mask is not None:
            classes = self.mask.labels[pixels[:, 1], pixels[:, 0]]
            if self.own is not None:
                inside = [None if each == UNKNOWN else bool(each == self.own) for each in classes]
            same = np.array([p.positive == (p.label == each) for p, each in zip(points, classes, strict=True)], bool)
            excluded = ~same & (classes != UNKNOWN) & [p.label != TARGET for p in points]
        if self.region is not None:
            within = points_inside(self.region, pixels)
            inside = [each if in_region else False for each, in_region in zip(inside, within, strict=True)]
        for stroke in reversed(self.strokes):
            covered = points_under(stroke, pixels)
            inside = [stroke.positive if over else each for each, over in zip(inside, covered, strict=True)]
        crossed = np.zeros(len(points), bool)
        for scribble, like in self._scribbles:
            crossed |= points_under(scribble, pixels, FINEST) & [self._contradict(p, like) for p in points]
        return [
            p
            for p, is_inside, is_crossed in zip(points, inside, crossed | excluded, strict=True)
            if self._confirmed(p)
            or (
                not is_crossed
                and (is_inside is None or self._is_object(p) in (None, is_inside))
                and not self._contradicted(p)
            )
        ]

    def _confirmed(self, p: _Point) -> bool:
        """Whether a newer point in effect gives the pixel the same label."""
        return any((q.label, q.positive) == (p.label, p.positive) for q in self._at.get((p.x, p.y), ()))

    def _contradicted(self, p: _Point) -> bool:
        return any(self._contradict(p, newer) for newer in self._at.get((p.x, p.y), ()))

    def _is_object(self, p: _Point) -> bool | None:
        """Whether a label puts its pixel in the object; None where it leaves that open."""
        if p.label == TARGET:
            return p.positive
        return False if p.positive and self.exclusive and self.own is not None else None

    def _contradict(self, p: _Point, q: _Point) -> bool:
        if p.label == q.label:
            return p.positive != q.positive
        known = self.own is not None or TARGET not in (p.label, q.label)
        return p.positive and q.positive and self.exclusive and known


def _pixels(points: Iterable[_Point]) -> Pixels:
    return np.array([(p.x, p.y) for p in points], np.int64).reshape(-1, 2)
