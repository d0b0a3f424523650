"""How far the surfaces of two objects in a volume are from each other, in millimetres.

As Metrics Reloaded (Maier-Hein et al., Nature Methods 2024) defines them: the average symmetric surface distance, and
the 95th percentile of the Hausdorff distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Mask, Truth

PERCENTILE: Final = 95.0


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces, in the unit of the spacing; infinite where one of both objects is empty.

    Attributes:
        mean: over the surface voxels of both, to the other's nearest surface voxel.
        hausdorff95: the larger of both directions' 95th percentiles.
    """

    mean: float
    hausdorff95: float


def surface_distance(truth: Truth, mask: Mask, spacing: Sequence[float] | None = None) -> SurfaceDistance:
    """How far a mask's surface is from the truth's.

    A surface is those voxels of an object that share a face with its outside; beyond the volume is outside. Distances
    are between the voxels' centres. Unknown voxels get the mask's label, so that they count for nothing.

    Args:
        truth: (D, H, W), or (H, W), int8: 1 object, 0 background, -1 unknown.
        mask: bool, of the same shape.
        spacing: of slices, rows and columns, in mm or another unit; 1 each by default.

    Returns:
        Both 0 where both objects are empty.

    Raises:
        OptionError: a mask of another shape, or another number of spacings than sides.

    >>> truth = np.zeros((1, 3, 9), np.int8); truth[0, 1, :4] = 1
    >>> mask = np.zeros((1, 3, 9), bool); mask[0, 1, :7] = True  # three voxels too long
    >>> surface_distance(truth, mask, spacing=(1, 1, 0.5)).mean  # (0.5 + 1 + 1.5) mm over 4 + 7 voxels
    0.2727272727272727
    """
    if truth.shape != mask.shape or (spacing is not None and len(spacing) != truth.ndim):
        raise OptionError(
            f"Expected a truth, a mask of its shape, and a spacing of each side, got {truth.shape}, {mask.shape} and "
            f"{spacing}. Try surface_distance(truth, mask, (1.0, 1.0, 1.0))."
        )
    objects = [np.where(truth == -1, mask, truth == 1), mask]
    if not all(each.any() for each in objects):
        nothing = 0.0 if not any(each.any() for each in objects) else float("inf")
        return SurfaceDistance(nothing, nothing)
    (box,) = find_objects((objects[0] | objects[1]).astype(np.uint8))  # both surfaces lie in it, and so do all ways
    surfaces = [_surface(each[box]) for each in objects]
    ways = [distance_transform_edt(~there, sampling=spacing)[here] for here, there in (surfaces, surfaces[::-1])]
    return SurfaceDistance(
        float(np.concatenate(ways).mean()), max(float(np.percentile(way, PERCENTILE)) for way in ways)
    )


def _surface(own: Mask) -> NDArray[np.bool_]:
    inside: Mask = binary_erosion(own)  # over the faces; beyond the array is outside
    return own & ~inside
