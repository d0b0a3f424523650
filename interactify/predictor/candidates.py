"""Three masks from one map: the part, the object and the group around the clicks, nested, with a score for each.

What a click means is ambiguous, and a network's map has more than its zero crossing: how deep inside it a pixel is, and
which pieces are connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.click import Click

STEP: Final = 0.5  # the outer thresholds, as a share of the median depth of the pixels on their side


def candidates(logits: NDArray[np.float32], clicks: Sequence[Click]) -> NDArray[np.float32]:
    """Three maps of logits, part, object and group; where each is above 0 is its mask, which lies in the next one's.

    The object is the mask's pieces with a positive click in them, or all pieces where there is none. The part is what
    is left of them at a higher threshold, half as high as the median of the mask's logits. The group is everything
    above a threshold below 0, half the median outside. Both thresholds come closer to 0 where a click would change
    sides: a click that is satisfied in the mask is satisfied in all three.

    Args:
        logits: (H, W) float32.
        clicks: in its pixels; those that the mask contradicts are ignored.

    Returns:
        (3, H, W) float32, of growing extent.

    >>> maps = candidates(np.array([[4, 2, -8, 6], [-8, -8, -8, -2]], np.float32), [Click(0, 0)])
    >>> (maps > 0).astype(int).tolist()
    [[[1, 0, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 1], [0, 0, 0, 1]]]
    """
    mask = logits > 0
    depths = [(c.positive, float(logits[int(c.y), int(c.x)])) for c in clicks]
    above = _threshold(logits[mask], [depth for positive, depth in depths if positive and depth > 0])
    below = _threshold(-logits[~mask], [-depth for positive, depth in depths if not positive and depth <= 0])
    satisfied = [c for c in clicks if c.positive and mask[int(c.y), int(c.x)]]
    return np.stack([_pieces(logits - above, satisfied), _pieces(logits, satisfied), logits + below])


def expected_iou(logits: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """The IoU of a mask with the truth that the network's own probabilities predict.

    The expected intersection over the expected union, in [0, 1]; 1 for an empty mask where no pixel is likely.

    >>> expected_iou(np.array([[20.0, 0.0, -20.0]], np.float32), np.array([[True, False, False]]))
    0.666...
    """
    probability = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))
    inside, outside = probability[mask].sum(), probability[~mask].sum()
    union = mask.sum() + outside
    return float(inside / union) if union >= 0.5 else 1.0


def _threshold(depths: NDArray[np.float32], clicked: list[float]) -> np.float32:
    """Half the median depth of a side's pixels, and at most half the depth of its clicks."""
    median = float(np.median(depths)) if depths.size else 0.0
    return np.float32(STEP * max(0.0, min([median, *clicked])))


def _pieces(logits: NDArray[np.float32], satisfied: Sequence[Click]) -> NDArray[np.float32]:
    """The logits, mirrored to below 0 in every connected piece without a click; unchanged where there are no clicks."""
    if not satisfied:
        return logits
    pieces, _ = ndimage.label(logits > 0)
    clicked = np.isin(pieces, [pieces[int(c.y), int(c.x)] for c in satisfied])  # none is 0, the outside
    return np.where(clicked, logits, -np.abs(logits))
