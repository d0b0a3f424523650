"""Metrics of masks and clicks: IoU, number of clicks, area under the curve, boundary IoU, collateral change.

A truth is (H, W) int8, or (D, H, W) of a volume: 1 object, 0 background, -1 unknown, which no metric counts. A curve
has a metric's values after 0, 1, 2, … clicks; one that ends early, since no error was left to click, continues at its
last value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_cdt, distance_transform_edt

from interactify.evaluation.data.dataset import Mask, Truth
from interactify.interactions.click import Click
from interactify.interactions.next_click import index_of

BOUNDARY = 0.02  # of the diagonal: the width of boundary IoU's band, as in its authors' evaluations
FAR = 0.1  # of the diagonal: a wrong change farther than this from every new click is collateral


def iou(truth: Truth, mask: Mask) -> float:
    """Intersection over union in [0, 1], without unknown pixels (-1); 1 where both are empty.

    >>> iou(np.array([[1, 1, 0, -1]], np.int8), np.array([[True, False, False, True]]))
    0.5
    """
    known = truth != -1
    return _overlap((truth == 1) & known, mask & known)


def boundary_iou(truth: Truth, mask: Mask, ratio: float = BOUNDARY) -> float:
    """IoU of the two inner borders only: it measures the contour, where IoU measures the area.

    An inner border is the part of the object nearer than `ratio` of the picture's diagonal (rounded, at least one
    pixel, diagonal neighbours counting as one) to its outside; beyond the picture is outside. Cheng et al., "Boundary
    IoU", CVPR 2021. Unknown pixels get the mask's label and are then left out, so a mask that is right on all known
    pixels scores 1.

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
    """Share of the known pixels that became wrong although they are far from every new click.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown.
        before: (H, W) bool, the mask before the clicks.
        after: (H, W) bool, the mask after them.
        clicks: those between the two masks; at least one.
        far: the distance that is far, as a share of the picture's diagonal.

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
    unclicked = np.ones(truth.shape, bool)
    unclicked[index_of(clicks)] = False
    broken &= distance_transform_edt(unclicked) > far * math.hypot(*truth.shape)
    return float(broken.sum() / known.sum())


def clicks_to(curve: Sequence[float], threshold: float, most: int = 20) -> int | None:
    """After how many clicks, from 1 to `most`, a curve reaches the threshold; None where it does not.

    Reaching it at the very last click is reaching it. Where it held before any click, that is one click, as in the
    published scripts.

    >>> clicks_to([0.2, 0.8, 0.9], 0.9), clicks_to([0.95], 0.9), clicks_to([0.2, 0.8, 0.9], 0.9, most=1)
    (2, 1, None)
    """
    values = continued(curve, most)
    return next((k for k in range(1, most + 1) if values[k] >= threshold), None)


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
    """How many objects never reach the threshold within `most` clicks; reaching it at the last click is no failure.

    >>> failures([[0.2] * 20 + [0.9], [0.2] * 21], 0.9)
    1
    """
    return sum(clicks_to(curve, threshold, most) is None for curve in curves)


def area_under_curve(curve: Sequence[float], most: int = 20) -> float:
    """Area under a curve from 0 to `most` clicks, by trapezoids, divided by `most`: in [0, 1], 1 is best.

    >>> area_under_curve([0.0, 1.0], most=2)
    0.75
    """
    values = continued(curve, most)
    return (sum(values) - (values[0] + values[-1]) / 2) / most if most else values[0]


def continued(curve: Sequence[float], most: int) -> list[float]:
    """The curve's values after 0 to `most` clicks: the last one is repeated, or the end cut off.

    >>> continued([0.1, 0.5], 3), continued([0.1, 0.5], 0)
    ([0.1, 0.5, 0.5, 0.5], [0.1])
    """
    return [*curve[: most + 1], *[curve[-1]] * (most + 1 - len(curve))]


def _inner_border(region: Mask, width: int) -> Mask:
    depth = distance_transform_cdt(np.pad(region, 1), metric="chessboard")
    return region & (depth[(slice(1, -1),) * region.ndim] <= width)


def _overlap(one: Mask, other: Mask) -> float:
    either = int((one | other).sum())
    return float((one & other).sum() / either) if either else 1.0
