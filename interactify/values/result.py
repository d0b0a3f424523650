"""The result of value interactions: the map of numbers over the photo, and whether every goal is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.validation import pixel_at
from interactify.optim.status import Status
from interactify.pictures.resize_pad import View, sample
from interactify.values.goals import Alignment, Goals
from interactify.values.interactions import ValueInteraction


@dataclass(frozen=True, eq=False)
class ShownMap:
    """A network's map (1, 1, h', w') over a photo, in the user's units."""

    view: View
    network_map: Tensor
    alignment: Alignment

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """(H, W) float32."""
        whole = self.view.to_photo(self.network_map)[0, 0].float().cpu().numpy()
        return _read_only(self.alignment.to_user(whole))

    def values_at(self, pixels: Sequence[tuple[int, int]] | NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) the values at pixels (n, 2), x then y, without computing the whole map."""
        points = np.asarray(pixels, float).reshape(-1, 2)
        read = sample(self.network_map, self.view.points_to_network(points))[0, 0]
        return self.alignment.to_user(read.float().cpu().numpy()).astype(np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class ValueResult:
    """A map of numbers after some interactions. Made by a `ValueSession`.

    Attributes:
        interactions: all so far.
        goals: what they ask together.
        tolerance: how far from its goal a value may be, in the user's units.
        evaluations: how often the network ran with gradient for the newest ones.
        status: why the refinement ended, an `interactify.optim.Status`.
        seconds: how long the newest interactions took.
        shown: the map, and how it is brought to the photo and to the user's units.
        before: the map before the newest interactions; None before any.
    """

    interactions: tuple[ValueInteraction, ...]
    goals: Goals
    tolerance: float
    evaluations: int
    status: str
    seconds: float
    shown: ShownMap
    before: ShownMap | None

    @property
    def values(self) -> NDArray[np.float32]:
        """(H, W) float32, the map over the photo; before any interaction exactly the network's own."""
        return self.shown.values

    @property
    def alignment(self) -> Alignment:
        """What brings the network's values to the user's units: scale and shift."""
        return self.shown.alignment

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the newest interactions moved the map by more than the tolerance."""
        if self.before is None:
            return _read_only(np.zeros(self.shown.view.photo_size, bool))
        return _read_only(np.abs(self.values - self.before.values) > self.tolerance)

    def at(self, x: float, y: float) -> float:
        """The value at a pixel. Raises InteractionError for one outside of the photo."""
        return float(self.shown.values_at([pixel_at(x, y, self.shown.view.photo_size, "pixel")])[0])

    @cached_property
    def satisfied(self) -> bool:
        """Whether every goal is reached within the tolerance."""
        return not self.unsatisfied

    @cached_property
    def unsatisfied(self) -> tuple[ValueInteraction, ...]:
        """The interactions with a goal that is not reached; those that later ones contradict are not among them."""
        away = np.abs(self.goals.residuals(self.shown.values_at(self.goals.points), self.tolerance)) > 1
        return tuple(self.interactions[index] for index in np.unique(self.goals.owners[away]).tolist())

    def __repr__(self) -> str:
        size = "×".join(map(str, self.shown.view.photo_size))
        text = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} not satisfied"
        plain = self.status == Status.PLAIN
        return f"ValueResult({size}, {'no interactions' if plain else f'{len(self.interactions)} given, {text}'})"


def _read_only(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array
