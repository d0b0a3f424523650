"""Bootstrap intervals of figures over photos, of paired differences between two runs, and the verdict on a change.

A photo's clicks depend on each other, so photos are resampled and not clicks (Efron & Tibshirani, "An Introduction to
the Bootstrap", 1993, chapter 13: percentile intervals). Two runs over the same photos are resampled together: what
makes a photo hard cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""From sums (…, n) over photos to a figure (…); NaN where it has no value, such as a share of no clicks."""

RESAMPLES = 4000
CONFIDENCE = 0.95
TOLD = 0.9  # of the resamples: with fewer that have a value, there is no interval


@dataclass(frozen=True)
class Stratum:
    """The photos of one set under one network, resampled among themselves.

    Attributes:
        tallies: (photos, n), what a figure is made from, such as numerator and denominator.
        weight: of one photo's tallies in the sums, so that sets of different sizes can count the same.
    """

    tallies: Array
    weight: float = 1.0


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval; each NaN where it can't be told."""

    value: float
    low: float
    high: float


def bootstrap(
    strata: Sequence[Stratum], statistic: Statistic, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The percentile interval of a figure of sums over photos.

    Args:
        strata: each is resampled with as many photos as it has; with the same sizes and seed always the same photos.
        statistic: from the weighted sums over all strata to the figure.
        resamples: how many.
        seed: of the resampling.

    >>> photos = np.array([[1.0, 2.0], [1.0, 2.0]])  # numerators and denominators
    >>> bootstrap([Stratum(photos)], ratio)
    Interval(value=0.5, low=0.5, high=0.5)
    """
    random = np.random.default_rng(seed)
    whole = np.zeros(strata[0].tallies.shape[1])
    drawn = np.zeros((resamples, len(whole)))
    for stratum in strata:
        photos = len(stratum.tallies)
        whole += stratum.weight * stratum.tallies.sum(0)
        drawn += stratum.weight * (random.multinomial(photos, [1 / photos] * photos, resamples) @ stratum.tallies)
    value, values = float(statistic(whole)), statistic(drawn)
    values = values[np.isfinite(values)]
    if not np.isfinite(value) or len(values) < TOLD * resamples:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(value, float(low), float(high))


def paired_bootstrap(
    before: Sequence[Stratum], after: Sequence[Stratum], statistic: Statistic, **options: int
) -> Interval:
    """The interval of a figure's difference, after minus before, over the same photos in the same order.

    >>> before, after = np.array([[1.0, 2.0], [5.0, 2.0]]), np.array([[2.0, 2.0], [6.0, 2.0]])
    >>> paired_bootstrap([Stratum(before)], [Stratum(after)], ratio)
    Interval(value=0.5, low=0.5, high=0.5)
    """
    both = [
        Stratum(np.concatenate([old.tallies, new.tallies], 1), new.weight)
        for old, new in zip(before, after, strict=True)
    ]
    half = before[0].tallies.shape[1]
    return bootstrap(both, lambda sums: statistic(sums[..., half:]) - statistic(sums[..., :half]), **options)


def ratio(sums: Array) -> Array:
    """The first sum over the second, (…, 2) to (…); NaN where the second is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = sums[..., 0] / sums[..., 1]
    return np.where(sums[..., 1] > 0, found, np.nan)


def median(sums: Array) -> Array:
    """The median of whole numbers from 0 up that are given as counts (…, n), to (…); counts may be weighted.

    Where half lies exactly between two numbers, it is their mean.

    >>> median(np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 2.0]]))
    array([1., 1.])
    """
    total = sums.sum(-1, keepdims=True)
    below = np.cumsum(sums, -1)
    # Sums of weights are rounded, so what should be exactly one half is nearly so.
    low = (below >= total * (0.5 - 1e-9)).argmax(-1)
    high = (below > total * (0.5 + 1e-9)).argmax(-1)
    return np.where(total[..., 0] > 0, (low + high) / 2, np.nan)


def verdict(whole: Interval, networks: Mapping[str, Interval], *, higher_is_better: bool) -> str:
    """What a paired difference says of a change.

    "better" only where the interval over the whole excludes zero and no network loses. A network loses where its own
    interval lies wholly on the wrong side of zero.

    >>> verdict(Interval(0.03, 0.01, 0.05), {"a": Interval(0.04, -0.01, 0.09)}, higher_is_better=True)
    'better'
    >>> verdict(Interval(0.03, 0.01, 0.05), {"a": Interval(-0.04, -0.06, -0.01)}, higher_is_better=True)
    'better on the whole, but a loses'
    """
    losing = [name for name, each in networks.items() if _side(each, higher_is_better) < 0]
    loses = f"{', '.join(losing)} {'lose' if len(losing) > 1 else 'loses'}"
    side = _side(whole, higher_is_better)
    if side < 0:
        return "worse"
    if losing:
        return f"better on the whole, but {loses}" if side > 0 else loses
    return "better" if side > 0 else "no difference shown"


def _side(each: Interval, higher_is_better: bool) -> int:
    """1 where the whole interval is an improvement, -1 where it is a loss, 0 where it holds zero or can't be told."""
    low, high = (each.low, each.high) if higher_is_better else (-each.high, -each.low)
    return int(low > 0) - int(high < 0)
