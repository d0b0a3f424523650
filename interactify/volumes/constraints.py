"""What all interactions with a volume together ask of its voxels, by the rules of `interactions/constraints.py`.

Later interactions win. So they are combined from the newest to the oldest, and each keeps the voxels that no newer one
in effect contradicts. A box or lasso speaks of its slice, or of the whole volume; the newest one of each counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Interaction
from interactify.interactions.constraints import FINEST, MASK_WEIGHT
from interactify.interactions.in_space import VoxelClick
from interactify.interactions.rasterise import points_near
from interactify.interactions.sampling import (
    SCRIBBLE_POINTS,
    SPACING,
    evenly,
    mask_points,
    nearest,
    scribble_points,
    traced,
)
from interactify.interactions.voxel_gestures import VoxelBox, VoxelLasso, VoxelMask, VoxelScribble
from interactify.volumes.block import Voxels
from interactify.volumes.regions import Region, background_voxels, deepest_voxel, excluded

MASK_GRID: Final = 8  # voxels of a mask along the longer side of their grid


@dataclass(frozen=True, eq=False)
class VoxelConstraints:
    """Labels of voxels, and what holds beside them.

    Attributes:
        interactions: all of them, in their order.
        overruled: those that later ones contradict.
        voxels: (n, 3), x, y, z; each voxel once.
        positive: (n,) bool, the label of each.
        owners: (n,) the index of the interaction that asks for it.
        required: (n,) bool: whether the result has to have the label; the others only pull.
        weights: (n,) in the energy, 1 for a click.
        regions: boxes and lassos: what they exclude is background.
        mask: (D, H, W) bool, that the object began with; None without one.
        assume_centre: whether the newest region's deepest voxel is taken for the object.
    """

    interactions: tuple[Interaction, ...] = ()
    overruled: tuple[Interaction, ...] = ()
    voxels: Voxels = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    required: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    regions: tuple[Region, ...] = ()
    mask: NDArray[np.bool_] | None = None
    assume_centre: bool = False

    @property
    def region_only(self) -> Region | None:
        """The newest region that may hold the object, where nothing else tells where that is."""
        around = [region for region in self.regions if region.positive]
        known = (self.required & self.positive).any() or self.mask is not None
        return around[-1] if around and not known else None


def combine(interactions: Sequence[Interaction], size: Sequence[int], assume_centre: bool = False) -> VoxelConstraints:
    """The constraints of interactions that are checked against a volume (D, H, W).

    With `assume_centre`, the deepest voxel of the newest region is taken for the object, where nothing contradicts it.

    >>> two = combine([VoxelClick(1, 2, z=3), VoxelClick(0, 0, z=0), VoxelClick(1, 2, False, z=3)], (4, 5, 6))
    >>> two.voxels.tolist(), two.positive.tolist(), two.overruled
    ([[0, 0, 0], [1, 2, 3]], [True, False], (VoxelClick(x=1, y=2, z=3, positive=True),))
    """
    combination = _Combination(size)
    for index in reversed(range(len(interactions))):
        if not combination.add_older(index, interactions[index]):
            combination.overruled.add(index)
    if assume_centre:
        combination.add_centre()
    labels = sorted(combination.labels.items(), key=lambda label: label[1].owner)
    return VoxelConstraints(
        tuple(interactions),
        tuple(each for index, each in enumerate(interactions) if index in combination.overruled),
        np.array([voxel for voxel, _ in labels], np.int64).reshape(-1, 3),
        np.array([label.positive for _, label in labels], bool),
        np.array([label.owner for _, label in labels], np.int64),
        np.array([label.required for _, label in labels], bool),
        np.array([label.weight for _, label in labels], np.float64),
        tuple(reversed([region for _, region in combination.regions])),
        combination.mask,
        assume_centre,
    )


@dataclass(frozen=True)
class _Label:
    positive: bool
    owner: int
    weight: float = 1.0
    required: bool = True


class _Combination:
    """The constraints of the interactions added so far, from the newest to the oldest: the older one yields."""

    def __init__(self, size: Sequence[int]) -> None:
        self.size = size
        self.labels: dict[tuple[int, int, int], _Label] = {}
        self.overruled: set[int] = set()
        self.regions: list[tuple[int, Region]] = []  # with their indices, the newest first
        self.mask: NDArray[np.bool_] | None = None
        self._object: list[Voxels] = []  # of positive clicks, and all under positive scribbles
        self._scribbles: list[VoxelScribble] = []

    def add_older(self, index: int, each: Interaction) -> bool:
        """Add the next older interaction; False where newer ones overrule it."""
        if isinstance(each, VoxelClick):
            voxel = np.array([[each.x, each.y, each.z]], np.int64)
            kept = self._keep(index, voxel, each.positive)
            if kept and each.positive:
                self._object.append(voxel)
            return kept
        if isinstance(each, VoxelScribble):
            return self._add_scribble(index, each)
        if isinstance(each, VoxelMask):
            return self._add_mask(index, each.mask)
        assert isinstance(each, (VoxelBox, VoxelLasso))
        return self._add_region(index, each)

    def add_centre(self) -> None:
        """Take the deepest voxel of the newest region for the object, unless a constraint contradicts it."""
        for index, region in self.regions:
            if region.positive:
                self._keep(index, np.array([deepest_voxel(region)], np.int64), True)
                return

    def _add_scribble(self, index: int, scribble: VoxelScribble) -> bool:
        # A scribble labels all voxels along its line, not only those that the network is given.
        line = _in_space(scribble, traced(scribble.points))
        if scribble.positive:
            self._object.append(line[self._in_effect(line, True)])
        if scribble.z is not None:
            _, height, width = self.size
            voxels = _in_space(scribble, scribble_points(scribble.on_slice, (height, width)))
        else:
            apart = max(1.0, max(self.size) * SPACING)
            voxels = np.unique(nearest(evenly(scribble.points, apart, SCRIBBLE_POINTS)), axis=0)
        kept = self._keep(index, voxels, scribble.positive, scribble.weight / len(voxels))
        if kept:
            self._scribbles.append(scribble)
        return kept

    def _add_region(self, index: int, region: Region) -> bool:
        newer = any(other.scope == region.scope and other.positive for _, other in self.regions)
        if self.mask is not None or (newer and region.positive):
            return False
        if any(excluded(region, voxels).any() for voxels in self._object):
            return False
        self.regions.append((index, region))
        self._keep(index, background_voxels(region, self.size), False)
        return True

    def _add_mask(self, index: int, mask: NDArray[np.bool_]) -> bool:
        if self.mask is not None:
            return False
        voxels, positive = mask_points(mask, MASK_GRID)
        weight = MASK_WEIGHT / max(1, len(voxels))
        for label in (True, False):
            self._keep(index, voxels[positive == label], label, weight, required=False)
        self.mask = mask
        return True

    def _keep(self, index: int, voxels: Voxels, positive: bool, weight: float = 1.0, required: bool = True) -> bool:
        """Keep the voxels of an interaction that no newer constraint contradicts; whether there are any."""
        kept = voxels[self._in_effect(voxels, positive)]
        for x, y, z in kept.tolist():
            self.labels.setdefault((x, y, z), _Label(positive, index, weight, required))
        return len(kept) > 0

    def _in_effect(self, voxels: Voxels, positive: bool) -> NDArray[np.bool_]:
        """(n,) bool: which voxels no newer constraint in effect gives the other label."""
        newer = [self.labels.get((x, y, z)) for x, y, z in voxels.tolist()]
        confirmed = np.array([label is not None and label.positive == positive for label in newer], bool)
        contradicted = np.array([label is not None and label.positive != positive for label in newer], bool)
        if self.mask is not None:
            contradicted |= self.mask[tuple(voxels.T[::-1])] != positive
        for _, region in self.regions if positive else ():
            contradicted |= excluded(region, voxels)
        for scribble in self._scribbles:
            if scribble.positive != positive:
                contradicted |= _under(scribble, voxels)
        return confirmed | ~contradicted


def _in_space(scribble: VoxelScribble, points: NDArray[np.int64]) -> Voxels:
    """(n, 3) of points on the scribble's slice; those in space as they are."""
    if scribble.z is None:
        return points
    return np.concatenate([points, np.full((len(points), 1), int(scribble.z))], 1)


def _under(scribble: VoxelScribble, voxels: Voxels) -> NDArray[np.bool_]:
    """(n,) bool: which voxels lie under a scribble."""
    reach = max(scribble.width, FINEST) / 2
    if scribble.z is None:
        return points_near(scribble.points, reach, voxels)
    return points_near(scribble.points, reach, voxels[:, :2]) & (voxels[:, 2] == int(scribble.z))
