"""What all interactions with a volume together ask of its voxels; later ones overrule earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Interaction
from interactify.interactions.in_space import VoxelClick
from interactify.volumes.block import Voxels


@dataclass(frozen=True, eq=False)
class VoxelConstraints:
    """Labels of voxels.

    Attributes:
        interactions: all of them, in their order.
        voxels: (n, 3), x, y, z; each voxel once.
        positive: (n,) bool, the label of each.
        owners: (n,) the index of the interaction that asks for it.
        required: (n,) bool: whether the result has to have the label; the others only pull.
        weights: (n,) in the energy, 1 for a click.
    """

    interactions: tuple[Interaction, ...] = ()
    voxels: Voxels = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    required: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def combine(interactions: Sequence[Interaction]) -> VoxelConstraints:
    """The constraints of checked interactions.

    >>> two = combine([VoxelClick(1, 2, z=3), VoxelClick(0, 0, z=0), VoxelClick(1, 2, False, z=3)])
    >>> two.voxels.tolist(), two.positive.tolist()
    ([[0, 0, 0], [1, 2, 3]], [True, False])
    """
    labels: dict[tuple[int, int, int], tuple[bool, int]] = {}
    for index, each in enumerate(interactions):
        if isinstance(each, VoxelClick):
            voxel = (int(each.x), int(each.y), int(each.z))
            labels.pop(voxel, None)  # the newest label of a voxel comes last
            labels[voxel] = each.positive, index
    count = len(labels)
    return VoxelConstraints(
        tuple(interactions),
        np.array(list(labels), np.int64).reshape(-1, 3),
        np.array([positive for positive, _ in labels.values()], bool),
        np.array([owner for _, owner in labels.values()], np.int64),
        np.ones(count, bool),
        np.ones(count),
    )
