"""Boxes and lassos in a volume: which voxels they exclude from the object, and the voxels that tell a network so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.rasterise import bounds, points_inside, region_mask
from interactify.interactions.sampling import OUTSIDE, deepest_pixel
from interactify.interactions.voxel_gestures import VoxelBox, VoxelLasso
from interactify.pictures.window import Window
from interactify.volumes.block import Block, Voxels

Region: TypeAlias = "VoxelBox | VoxelLasso"

SAMPLED = 8  # voxels along each side of a region, by which its share of object is told


def excluded(region: Region, voxels: Voxels) -> NDArray[np.bool_]:
    """(n,) bool: which voxels are background by a checked region.

    >>> excluded(VoxelBox(1, 1, 3, 3, z=2), np.array([[0, 0, 2], [1, 1, 2], [0, 0, 3]])).tolist()
    [True, False, False]
    """
    first, last = region.slices
    between = (first <= voxels[:, 2]) & (voxels[:, 2] <= last)
    inside = between & points_inside(region.on_slice, voxels[:, :2])
    spoken_of = between if region.scope is not None else np.ones(len(voxels), bool)
    return np.asarray(spoken_of & (inside != region.positive), bool)


def excluded_in(region: Region, block: Block) -> NDArray[np.bool_] | None:
    """(d, h, w) bool: the same for all voxels of a block; None where there are none."""
    (z, top, left), (depth, height, width) = block.start, block.size
    first, last = region.slices
    low, high = max(0, first - z), min(depth, last + 1 - z)
    positive_in_space = region.positive and region.scope is None
    if low >= high and not positive_in_space:
        return None
    found = np.full(block.size, positive_in_space)
    if low < high:
        found[low:high] = region_mask(region.on_slice, Window(top, left, height, width)) != region.positive
    return found


def background_voxels(region: Region, size: Sequence[int]) -> Voxels:
    """(n, 3) voxels that a region makes background: around it, or of a negative one inside."""
    depth, height, width = size
    flat, (first, last) = bounds(region.on_slice), region.slices
    sides = [(flat.left, flat.width, width), (flat.top, flat.height, height)]
    if region.scope is None:
        sides.append((first, last + 1 - first, depth))
    axes = []
    for start, length, end in sides:
        if region.positive:
            away = max(1, round(OUTSIDE * length))
            axes.append([max(0, start - away), start + (length - 1) // 2, min(end - 1, start + length - 1 + away)])
        else:
            axes.append([start + length // 4, start + (length - 1) // 2, start + (length - 1) - length // 4])
    if region.scope is not None:
        axes.append([region.scope])
    voxels = np.array(list(dict.fromkeys(product(*axes))), np.int64)
    return voxels[excluded(region, voxels)]


def deepest_voxel(region: Region) -> tuple[int, int, int]:
    """The voxel deepest inside a region, x, y, z."""
    first, last = region.slices
    return (*deepest_pixel(region.on_slice), (first + last) // 2)


def sampled_voxels(region: Region) -> Voxels:
    """(n, 3) voxels inside a region, evenly spread."""
    flat, (first, last) = bounds(region.on_slice), region.slices
    sides = (flat.left, flat.width), (flat.top, flat.height), (first, last + 1 - first)
    axes = [np.unique(np.linspace(start, start + length - 1, SAMPLED).round()) for start, length in sides]
    voxels = np.stack(np.meshgrid(*axes), -1).reshape(-1, 3).astype(np.int64)
    return voxels[points_inside(region.on_slice, voxels[:, :2])]
