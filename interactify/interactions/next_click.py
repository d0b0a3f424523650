"""The next click of the user of the literature: at the centre of the largest error.

Xu et al., "Deep Interactive Object Selection", CVPR 2016, section 4, in the form that papers use since Jang & Kim
(2019). In a volume it is the same, with distances in space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from interactify.interactions.click import Click
from interactify.interactions.in_space import VoxelClick

Truth = NDArray[np.int8]
Mask = NDArray[np.bool_]


def next_click(truth: Truth, mask: Mask, clicked: Mask, spacing: Sequence[float] | None = None) -> Click | None:
    """The pixel deepest inside the larger error, or None where every wrong pixel is already clicked.

    Args:
        truth: (H, W), or (D, H, W) of a volume, int8: 1 object, 0 background, -1 unknown (never clicked).
        mask: of the same shape, bool, the prediction.
        clicked: of the same shape, bool, pixels clicked before, which are not clicked again.
        spacing: of slices, rows and columns, in which depth is measured; 1 each by default.

    Returns:
        The click, in a volume a `VoxelClick`: positive in a false-negative region, negative in a false-positive one.
        Depth is the Euclidean distance to the region's border, the picture's border included; ties go to the negative
        click.

    >>> truth = np.zeros((5, 7), np.int8); truth[1:4, 2:5] = 1
    >>> next_click(truth, np.zeros((5, 7), bool), np.zeros((5, 7), bool))
    Click(x=3, y=2, positive=True)
    >>> next_click(truth[None].repeat(3, 0), np.zeros((3, 5, 7), bool), np.zeros((3, 5, 7), bool))
    VoxelClick(x=3, y=2, z=1, positive=True)
    """
    missed = depth_in((truth == 1) & ~mask, spacing) * ~clicked
    added = depth_in((truth == 0) & mask, spacing) * ~clicked
    positive = bool(missed.max() > added.max())
    depth = missed if positive else added
    if depth.max() == 0:
        return None
    *before, y, x = (int(each) for each in np.unravel_index(int(depth.argmax()), depth.shape))
    return VoxelClick(x, y, positive, z=before[0]) if before else Click(x, y, positive)


def depth_in(region: Mask, spacing: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Each pixel's or voxel's distance to the border of its region, the picture's border included; 0 outside of it."""
    depth: NDArray[np.float64] = distance_transform_edt(np.pad(region, 1), sampling=spacing)
    return depth[(slice(1, -1),) * region.ndim]


def index_of(clicks: Sequence[Click]) -> tuple[list[int], ...]:
    """Whole clicks, all in photos or all in volumes, as an index of an array (H, W) or (D, H, W).

    >>> index_of([Click(3, 2), Click(5, 0)])
    ([2, 0], [3, 5])
    """
    names = ("z", "y", "x") if any(isinstance(click, VoxelClick) for click in clicks) else ("y", "x")
    return tuple([int(getattr(click, name)) for click in clicks] for name in names)
