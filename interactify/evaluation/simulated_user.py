"""The simulated user of the literature: looks at the mask, and clicks where it is most wrong.

Xu et al., "Deep Interactive Object Selection", CVPR 2016, section 4, in the form every paper since Jang & Kim (2019)
uses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from interactify.interactions import Click

Truth = NDArray[np.int8]


def next_click(truth: Truth, mask: NDArray[np.bool_], clicked: NDArray[np.bool_]) -> Click | None:
    """The pixel deepest inside the larger error, or None where nothing is wrong that has not been clicked.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown (never clicked).
        mask: (H, W) bool, the prediction.
        clicked: (H, W) bool, pixels clicked before; none is clicked twice.

    Returns:
        The click: positive in a false-negative region, negative in a false-positive one. Depth is the Euclidean
        distance to the region's border, the picture's border included; ties go to the negative click.

    >>> truth = np.zeros((5, 7), np.int8); truth[1:4, 2:5] = 1
    >>> next_click(truth, np.zeros((5, 7), bool), np.zeros((5, 7), bool))
    Click(x=3, y=2, positive=True)
    """
    missed = _depth((truth == 1) & ~mask) * ~clicked
    added = _depth((truth == 0) & mask) * ~clicked
    positive = bool(missed.max() > added.max())
    depth = missed if positive else added
    if depth.max() == 0:
        return None
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Click(int(x), int(y), positive)


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    return distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
