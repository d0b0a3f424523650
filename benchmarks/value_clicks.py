"""A simulated user of maps of numbers, and the ways to answer it that are compared.

The user looks for the largest region that is too high, or too low, by more than a tolerance, weighed by its error, and
says the true value of the pixel of it that lies deepest inside. A user of orders says instead which of two pixels has
the higher value. What answers is a session of the library, or the simplest that one could think of: the corrected
difference added around the click as a Gaussian, or a scale and a shift of the whole map by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from benchmarks.value_networks import Scene
from interactify.values import HigherValue, ValueClick, ValueInteraction, ValueNetwork
from interactify.values.goals import aligned, combined

Map = NDArray[np.float32]
GRID: Final = 6  # pixels between those that a user of orders compares with
TELLING: Final = 0.15  # of the nearer depth: by how much two pixels differ whose order a user sees


class Answer(Protocol):
    """What follows clicks on one picture."""

    @property
    def values(self) -> Map:
        """(H, W) the map now."""

    def add(self, said: ValueInteraction) -> int:
        """Answer one more interaction; how many evaluations of the network it took."""


class Refined:
    """A session of the library."""

    def __init__(self, net: ValueNetwork, scene: Scene, own: Map) -> None:
        self.session = net.session(scene.picture)

    @property
    def values(self) -> Map:
        return self.session.result.values

    def add(self, said: ValueInteraction) -> int:
        return self.session.add([said]).evaluations


@dataclass
class Blobs:
    """The difference at each click, added around it.

    Attributes:
        values: the map now.
        width: the standard deviation of the Gaussian, as a share of the picture's longer side.
    """

    values: Map
    width: float

    def add(self, said: ValueInteraction) -> int:
        assert isinstance(said, ValueClick)
        x, y = int(said.x), int(said.y)
        rows, columns = np.mgrid[: self.values.shape[0], : self.values.shape[1]]
        width = self.width * max(self.values.shape)
        bell = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
        self.values = (self.values + (said.value - self.values[y, x]) * bell).astype(np.float32)
        return 0


@dataclass
class Fitted:
    """The whole map, with the scale and the shift that bring it nearest to all values given so far."""

    own: Map
    said: list[ValueInteraction] = field(default_factory=list)

    @property
    def values(self) -> Map:
        goals = combined(self.said, (self.own.shape[0], self.own.shape[1]))
        plain = self.own[goals.points[:, 1], goals.points[:, 0]].astype(float)
        found: Map = aligned("scale_shift", goals, plain).to_user(self.own).astype(np.float32)
        return found

    def add(self, said: ValueInteraction) -> int:
        self.said.append(said)
        return 0


def value_click(truth: Map, values: Map, tolerance: float, clicked: NDArray[np.bool_]) -> ValueClick | None:
    """The true value in the worst region that is not clicked yet; None where nothing is wrong.

    >>> truth, values = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    >>> values[2:5, 2:5] = 1
    >>> value_click(truth, values, 0.1, np.zeros((8, 8), bool))
    ValueClick(x=3, y=3, value=0.0)
    """
    error = values - truth
    best, place = 0.0, None
    for wrong in ((error > tolerance) & ~clicked, (error < -tolerance) & ~clicked):
        regions, count = label(wrong)
        if not count:
            continue
        weights = np.bincount(regions.ravel(), np.abs(error).ravel())
        weights[0] = 0
        if weights.max() > best:
            best = float(weights.max())
            depth = distance_transform_edt(np.pad(regions == weights.argmax(), 1))[1:-1, 1:-1]
            deepest = np.where(depth == depth.max(), np.abs(error), -1)
            y, x = (int(at) for at in np.unravel_index(int(deepest.argmax()), truth.shape))
            place = ValueClick(x, y, float(truth[y, x]))
    return place


def order_click(truth: Map, values: Map, told: set[tuple[int, ...]]) -> HigherValue | None:
    """The order of the two pixels of a grid that the map has most wrong; None where all visible orders are right."""
    rows, columns = (
        grid.ravel() for grid in np.mgrid[GRID // 2 : truth.shape[0] : GRID, GRID // 2 : truth.shape[1] : GRID]
    )
    true, own = truth[rows, columns], values[rows, columns]
    telling = true[:, None] - true[None] > TELLING * np.minimum(true[:, None], true[None])
    wrong = np.where(telling, own[None] - own[:, None], -1)  # i is farther, and the map has j above it by that
    for each in np.argsort(-wrong, axis=None)[: len(told) + 1].tolist():
        i, j = divmod(each, len(true))
        if wrong[i, j] < 0:
            return None
        pair = (int(columns[i]), int(rows[i]), int(columns[j]), int(rows[j]))
        if pair not in told:
            return HigherValue(*pair)
    return None
