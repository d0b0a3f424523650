"""Intersection over union and number of clicks, counted as the papers mean them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def iou(truth: NDArray[np.int8], mask: NDArray[np.bool_]) -> float:
    """Intersection over union in [0, 1], unknown pixels (-1) left out; 1 where both are empty.

    >>> iou(np.array([[1, 1, 0, -1]], np.int8), np.array([[True, False, False, True]]))
    0.5
    """
    known = truth != -1
    either = ((truth == 1) | mask) & known
    both = (truth == 1) & mask & known
    return float(both.sum() / either.sum()) if either.any() else 1.0


def number_of_clicks(curves: Sequence[Sequence[float]], threshold: float, most: int = 20) -> float:
    """NoC@threshold: the mean number of clicks until IoU ≥ threshold, `most` where it is never reached.

    Args:
        curves: for each object, IoU after 0, 1, 2, … clicks. Reaching the threshold at the very last click counts as
            reached; one click is the least that counts (as in the published scripts). A curve that ends early, since
            nothing was left to click at, goes on at its last value.
        threshold: in [0, 1].
        most: the number counted for a failure.

    >>> number_of_clicks([[0.2, 0.9], [1.0], [0.1, 0.5]], 0.9, most=20)
    7.333333333333333
    """
    counts = []
    for curve in curves:
        whole = [*curve, *[curve[-1]] * (most + 1 - len(curve))]
        counts.append(next((k for k in range(1, most + 1) if whole[k] >= threshold), most))
    return float(np.mean(counts))
