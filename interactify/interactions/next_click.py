"""The next click of the user of the literature: at the centre of the largest error.

Xu et al., "Deep Interactive Object Selection", CVPR 2016, section 4, in the form that papers use since Jang & Kim
(2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from interactify.interactions.click import Click

Truth = NDArray[np.int8]
Mask = NDArray[np.bool_]


def next_click(truth: Truth, mask: Mask, clicked: Mask) -> Click | None:
    """The pixel deepest inside the larger error, or None where every wrong pixel is already clicked.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown (never clicked).
        mask: (H, W) bool, the prediction.
        clicked: (H, W) bool, pixels clicked before, which are not clicked again.

    Returns:
        The click: positive in a false-negative region, negative in a false-positive one. Depth is the Euclidean
        distance to the region's border, the picture's border included; ties go to the negative click.

    >>> truth = np.zeros((5, 7), np.int8); truth[1:4, 2:5] = 1
    >>> next_click(truth, np.zeros((5, 7), bool), np.zeros((5, 7), bool))
    Click(x=3, y=2, positive=True)
    """
    missed = depth_in((truth == 1) & ~mask) * ~clicked
    added = depth_in((truth == 0) & mask) * ~clicked
    positive = bool(missed.max() > added.max())
    depth = missed if positive else added
    if depth.max() == 0:
        return None
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Click(int(x), int(y), positive)


def depth_in(region: Mask) -> NDArray[np.float64]:
    """(H, W): each pixel's distance to the border of its region, the picture's border included; 0 outside of it."""
    depth: NDArray[np.float64] = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    return depth
