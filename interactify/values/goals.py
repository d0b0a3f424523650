"""What value interactions ask of a map of numbers together, and the energy that measures how far it is from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.sampling import scribble_points
from interactify.pictures.window import Pixels
from interactify.values.interactions import HigherValue, SameValue, ValueClick, ValueInteraction, ValueScribble

ORDER: Final = 2.0  # tolerances: by how much the higher of two values should be above the other one
STOP: Final = 0.5  # tolerances: the minimisation ends where everything is that near to its goal


@dataclass(frozen=True, eq=False)
class Goals:
    """Goals of single pixels, and of differences between two pixels.

    Goal k is about d = v[first[k]] - v[second[k]], or d = v[first[k]] where second[k] is -1. d should be wanted[k], or
    with at_least[k] not less than ORDER tolerances.

    Attributes:
        points: (n, 2) int64, pixels of the photo, x then y, each once.
        first, second: (m,) int64, indices of points.
        wanted: (m,) float64, in the user's units.
        at_least: (m,) bool.
        weights: (m,) float64, in clicks.
        owners: (m,) int64, the index of the interaction that each goal comes from.
        overruled: indices of interactions that later ones contradict.
    """

    points: Pixels
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    wanted: NDArray[np.float64]
    at_least: NDArray[np.bool_]
    weights: NDArray[np.float64]
    owners: NDArray[np.int64]
    overruled: tuple[int, ...]

    @property
    def single(self) -> NDArray[np.bool_]:
        """(m,) bool: goals of one pixel."""
        return self.second < 0

    def residuals(self, values: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
        """(m,) how far the goals are from reached, in tolerances, from values (n,) in the user's units.

        >>> goals = combined([ValueClick(3, 4, 1.5), HigherValue(3, 4, 0, 0)], (10, 10))
        >>> goals.residuals(np.array([1.6, 1.6]), 0.1).round(6).tolist()
        [1.0, 2.0]
        """
        difference = values[self.first] - np.where(self.single, 0.0, values[self.second])
        away = (difference - self.wanted) / tolerance
        return np.where(self.at_least, np.maximum(0.0, ORDER - away), away)


def combined(interactions: Sequence[ValueInteraction], photo_size: tuple[int, int]) -> Goals:
    """The goals of checked interactions together. Where two are about the same pixels, the later one counts.

    >>> goals = combined([ValueClick(3, 4, 0.2), ValueClick(3, 4, 0.8)], (10, 10))
    >>> goals.wanted.tolist(), goals.overruled
    ([0.8], (0,))
    """
    taken: set[frozenset[tuple[int, int]]] = set()  # what goals are about: a pixel, or two
    found: list[tuple[int, tuple[int, int], tuple[int, int] | None, float, bool, float]] = []
    overruled = []
    for owner in range(len(interactions) - 1, -1, -1):
        asked = _asked(interactions[owner], photo_size)
        about = [frozenset([one] if other is None else [one, other]) for one, other, *_ in asked]
        kept = [goal for goal, pixels in zip(asked, about, strict=True) if pixels not in taken]
        taken.update(about)
        found += [(owner, *goal) for goal in kept]
        if not kept:
            overruled.append(owner)
    found.sort(key=lambda goal: goal[0])
    indices: dict[tuple[int, int], int] = {}
    for _, one, other, *_ in found:
        indices.setdefault(one, len(indices))
        if other is not None:
            indices.setdefault(other, len(indices))
    return Goals(
        np.array(list(indices), np.int64).reshape(-1, 2),
        np.array([indices[one] for _, one, *_ in found], np.int64),
        np.array([-1 if other is None else indices[other] for _, _, other, *_ in found], np.int64),
        np.array([goal[3] for goal in found], float),
        np.array([goal[4] for goal in found], bool),
        np.array([goal[5] for goal in found], float),
        np.array([goal[0] for goal in found], np.int64),
        tuple(reversed(overruled)),
    )


def _asked(
    each: ValueInteraction, photo_size: tuple[int, int]
) -> list[tuple[tuple[int, int], tuple[int, int] | None, float, bool, float]]:
    """Of each goal: its pixel, the one to compare it with, the wanted value, whether at least, and its weight."""
    if isinstance(each, ValueClick):
        return [((int(each.x), int(each.y)), None, each.value, False, 1.0)]
    if isinstance(each, ValueScribble):
        points = [(int(x), int(y)) for x, y in scribble_points(each.stroke, photo_size).tolist()]
        return [(point, None, each.value, False, each.weight / len(points)) for point in points]
    if isinstance(each, SameValue):
        return [((int(each.x), int(each.y)), (int(each.as_x), int(each.as_y)), 0.0, False, 1.0)]
    assert isinstance(each, HigherValue)
    return [((int(each.x), int(each.y)), (int(each.than_x), int(each.than_y)), 0.0, True, 1.0)]


@dataclass(frozen=True)
class Alignment:
    """The user's units, from the network's: scale · v + shift.

    >>> Alignment(2.0, 1.0).to_user(np.array([0.5]))
    array([2.])
    """

    scale: float = 1.0
    shift: float = 0.0

    def to_user(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values in the user's units, in the same type."""
        if self == Alignment():
            return values
        return (values * values.dtype.type(self.scale) + values.dtype.type(self.shift)).astype(values.dtype)


ALIGNMENTS: Final = ("none", "shift", "scale", "scale_shift")


def aligned(kind: str, goals: Goals, plain: NDArray[np.float64]) -> Alignment:
    """The alignment that brings the network's own values nearest to those that a user gave, by least squares.

    Where the given values don't tell a scale (fewer than two different ones, or they would turn the map over), only the
    shift is found; a scale alone is found from one value, where both have the same sign.

    Args:
        kind: one of `ALIGNMENTS`.
        goals: of the interactions so far.
        plain: (n,) the network's own values at the goals' points.
    """
    at, wanted, weights = plain[goals.first[goals.single]], goals.wanted[goals.single], goals.weights[goals.single]
    if kind == "none" or not len(at):
        return Alignment()
    if kind == "scale":
        square = float((weights * at * at).sum())
        scale = float((weights * at * wanted).sum()) / square if square > 0 else 0.0
        return Alignment(scale) if scale > 0 and np.isfinite(scale) else Alignment()
    total = weights.sum()
    mean, goal = float((weights * at).sum() / total), float((weights * wanted).sum() / total)
    scale = 1.0
    if kind == "scale_shift":
        spread = float((weights * (at - mean) ** 2).sum())
        slope = float((weights * (at - mean) * (wanted - goal)).sum())
        scale = slope / spread if spread > 0 and slope > 0 and np.isfinite(slope / spread) else 1.0
    return Alignment(scale, goal - scale * mean)


@dataclass(frozen=True, eq=False)
class ValueEnergy:
    """E_C = Σ weight · r², with r how far a goal is from reached, in tolerances; an `interactify.brs.Energy`.

    The goals are its own: labels are not read. Reached where every |r| is at most STOP.

    Attributes:
        goals: with `wanted` in the network's units.
        tolerance: in the network's units.
    """

    goals: Goals
    tolerance: float
    name: str = "value"
    square: int = 0
    inertia: float = 1e-3
    lower_bound: float | None = 0.0

    @classmethod
    def of(cls, goals: Goals, tolerance: float, alignment: Alignment) -> ValueEnergy:
        """The energy of goals and a tolerance in the user's units."""
        wanted = (goals.wanted - np.where(goals.single, alignment.shift, 0.0)) / alignment.scale
        return cls(replace(goals, wanted=wanted), tolerance / alignment.scale)

    def residuals(self, values: Tensor) -> Tensor:
        """(m,) in float64 where the device has it, differentiable, from the map's values (n, 1) at the points."""
        goals, device = self.goals, values.device
        read = values[:, 0].to(_precise(device))
        first, second, at_least = (
            torch.from_numpy(each).to(device) for each in (goals.first, goals.second, goals.at_least)
        )
        wanted = torch.from_numpy(goals.wanted).to(read.dtype).to(device)
        difference = read[first] - torch.where(second < 0, torch.zeros_like(wanted), read[second.clamp(min=0)])
        away = (difference - wanted) / self.tolerance
        return torch.where(at_least, torch.relu(ORDER - away), away)

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """E_C, 0-d, differentiable, from the map's values (n, 1) at the goals' points."""
        own = torch.from_numpy(self.goals.weights).to(_precise(logits.device)).to(logits.device)
        return (own * self.residuals(logits).square()).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """0-d bool."""
        return (self.residuals(logits).abs() <= STOP).all()


def _precise(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
