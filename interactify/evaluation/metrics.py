"""How good masks and clicks are: IoU, number of clicks, area under the curve, boundary IoU, collateral change.

A truth is (H, W) int8: 1 object, 0 background, -1 unknown, which counts in none of them. A curve is what a metric was
after 0, 1, 2, … clicks; one that ends early, since nothing was left to click at, goes on at its last value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_cdt, distance_transform_edt

from interactify.evaluation.data.dataset import Mask, Truth
from interactify.interactions.click import Click

BOUNDARY = 0.02  # of the diagonal: the width of the band that boundary IoU looks at, as its authors evaluate
FAR = 0.1  # of the diagonal: a change farther than this from every new click is collateral where it is wrong


def iou(truth: Truth, mask: Mask) -> float:
    """Intersection over union in [0, 1], unknown pixels (-1) left out; 1 where both are empty.

    >>> iou(np.array([[1, 1, 0, -1]], np.int8), np.array([[True, False, False, True]]))
    0.5
    """
    known = truth != -1
    return _overlap((truth == 1) & known, mask & known)


def boundary_iou(truth: Truth, mask: Mask, ratio: float = BOUNDARY) -> float:
    """IoU of the two inner borders only: says how well a contour is hit, where IoU says how well an area is.

    An inner border is what is nearer than `ratio` of the picture's diagonal (rounded, at least one pixel, diagonal
    neighbours counting as one) to the outside of the object; the picture's border is outside. Cheng et al., "Boundary
    IoU", CVPR 2021. Unknown pixels are taken as the mask has them and then left out, so a mask that is right wherever
    it is known scores 1.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown.
        mask: (H, W) bool.
        ratio: of the diagonal; 0.02 in the paper's evaluations.

    Returns:
        In [0, 1]; 1 where both borders are empty.

    >>> truth = np.zeros((5, 5), np.int8); truth[1:4, 1:4] = 1
    >>> mask = truth == 1; mask[2, 2] = False  # a hole inside: its rim is the ring, which is a border already
    >>> boundary_iou(truth, mask), iou(truth, mask) < 0.9
    (1.0, True)
    """
    known = truth != -1
    width = max(1, round(ratio * math.hypot(*truth.shape)))
    borders = [_inner_border(whole, width) & known for whole in (np.where(known, truth == 1, mask), mask)]
    return _overlap(*borders)


def collateral_change(truth: Truth, before: Mask, after: Mask, clicks: Sequence[Click], far: float = FAR) -> float:
    """Share of the known pixels that became wrong although they lie far from every new click.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown.
        before: (H, W) bool, the mask the clicks were given on.
        after: (H, W) bool, the mask they led to.
        clicks: those given between the two; at least one.
        far: what is far, as a share of the picture's diagonal.

    Returns:
        In [0, 1]; 0 is best.

    >>> truth = np.zeros((1, 10), np.int8); before = np.zeros((1, 10), bool); after = before.copy()
    >>> after[0, [1, 9]] = True  # one next to the click, one far from it
    >>> collateral_change(truth, before, after, [Click(0, 0)], far=0.5)
    0.1
    """
    known = truth != -1
    broken = (after != before) & (after != (truth == 1)) & known
    if not broken.any():
        return 0.0
    said = np.ones(truth.shape, bool)
    said[[int(c.y) for c in clicks], [int(c.x) for c in clicks]] = False
    broken &= distance_transform_edt(said) > far * math.hypot(*truth.shape)
    return float(broken.sum() / known.sum())


def clicks_to(curve: Sequence[float], threshold: float, most: int = 20) -> int | None:
    """After how many clicks, from 1 to `most`, a curve reaches the threshold; None where it does not.

    Reaching it at the very last click is reaching it. Where it held before any click, that is one click, as in the
    published scripts.

    >>> clicks_to([0.2, 0.8, 0.9], 0.9), clicks_to([0.95], 0.9), clicks_to([0.2, 0.8, 0.9], 0.9, most=1)
    (2, 1, None)
    """
    whole = continued(curve, most)
    return next((k for k in range(1, most + 1) if whole[k] >= threshold), None)


def number_of_clicks(curves: Sequence[Sequence[float]], threshold: float, most: int = 20) -> float:
    """NoC@threshold: the mean number of clicks until IoU ≥ threshold, `most` where it is never reached.

    Args:
        curves: for each object, IoU after 0, 1, 2, … clicks.
        threshold: in [0, 1].
        most: the number counted for a failure.

    >>> number_of_clicks([[0.2, 0.9], [1.0], [0.1, 0.5]], 0.9, most=20)
    7.333333333333333
    """
    return float(np.mean([clicks_to(curve, threshold, most) or most for curve in curves]))


def failures(curves: Sequence[Sequence[float]], threshold: float, most: int = 20) -> int:
    """How many objects never reach the threshold within `most` clicks; one that does at the last is none of them.

    >>> failures([[0.2] * 20 + [0.9], [0.2] * 21], 0.9)
    1
    """
    return sum(clicks_to(curve, threshold, most) is None for curve in curves)


def area_under_curve(curve: Sequence[float], most: int = 20) -> float:
    """Area under a curve from 0 to `most` clicks, by trapezoids, divided by `most`: in [0, 1], 1 is best.

    >>> area_under_curve([0.0, 1.0], most=2)
    0.75
    """
    whole = continued(curve, most)
    return (sum(whole) - (whole[0] + whole[-1]) / 2) / most if most else whole[0]


def continued(curve: Sequence[float], most: int) -> list[float]:
    """The curve's values after 0 to `most` clicks, its last one repeated or its end cut off.

    >>> continued([0.1, 0.5], 3), continued([0.1, 0.5], 0)
    ([0.1, 0.5, 0.5, 0.5], [0.1])
    """
    return [*curve[: most + 1], *[curve[-1]] * (most + 1 - len(curve))]


def _inner_border(region: Mask, width: int) -> Mask:
    depth = distance_transform_cdt(np.pad(region, 1), metric="chessboard")[1:-1, 1:-1]
    return region & (depth <= width)


def _overlap(one: Mask, other: Mask) -> float:
    either = int((one | other).sum())
    return float((one & other).sum() / either) if either else 1.0
