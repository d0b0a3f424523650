"""Simulated clicks for training: drawn at random from the truth, or on what a network gets wrong.

Both kinds are functions of a truth (H, W) int8, 1 object, 0 background, -1 unknown, where nobody clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from interactify.interactions.click import Click

Truth = NDArray[np.int8]
Mask = NDArray[np.bool_]
_CANDIDATES = 256  # pixels among which k-medoids chooses


class ClickSampler(Protocol):
    """Draws the clicks that a training sample begins with."""

    def clicks(self, truth: Truth, random: np.random.Generator) -> list[Click]:
        """Clicks in pixels of the truth; none where there is no object."""


@dataclass(frozen=True)
class SpreadClicks:
    """Several clicks at once, spread over the object and around it.

    Their numbers are drawn evenly; k-medoids among random candidate pixels spreads them. Jang & Kim, "Interactive Image
    Segmentation via Backpropagating Refinement Scheme", CVPR 2019, section 3.1.

    Attributes:
        positive, negative: the least and the highest number of each.
        distance: negative clicks are this far from the object, at least and at most, in pixels.
    """

    positive: tuple[int, int] = (1, 10)
    negative: tuple[int, int] = (0, 10)
    distance: tuple[float, float] = (5.0, 40.0)

    def clicks(self, truth: Truth, random: np.random.Generator) -> list[Click]:
        inside = truth == 1
        if not inside.any():
            return []
        away = distance_transform_edt(~inside)
        near = (truth == 0) & (away >= self.distance[0]) & (away <= self.distance[1])
        drawn = []
        for positive, region, (least, most) in ((True, inside, self.positive), (False, near, self.negative)):
            count = int(random.integers(least, most + 1))
            drawn += [Click(x, y, positive) for x, y in spread_pixels(region, count, random)]
        return drawn


@dataclass(frozen=True)
class FirstClick:
    """One positive click in the inner half of the object: where today's iterative training begins."""

    def clicks(self, truth: Truth, random: np.random.Generator) -> list[Click]:
        pixel = pixel_inside(truth == 1, random)
        return [] if pixel is None else [Click(*pixel)]


@dataclass(frozen=True)
class NoClick:
    """None: the first click corrects what the network predicts without any, which users see before they click.

    It may be a negative one, unlike the first clicks of the other samplers. Without corrections, the loss is that of
    the prediction without clicks.
    """

    def clicks(self, truth: Truth, random: np.random.Generator) -> list[Click]:
        return []


def spread_pixels(region: Mask, count: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """`count` pixels (x, y) of a region, spread over it by k-medoids; fewer where it has fewer.

    >>> region = np.ones((1, 100), bool)
    >>> xs = sorted(x for x, _ in spread_pixels(region, 2, np.random.default_rng(0)))
    >>> 15 < xs[0] < 35 and 65 < xs[1] < 85
    True
    """
    ys, xs = np.nonzero(region)
    if not count or not len(ys):
        return []
    chosen = random.permutation(len(ys))[:_CANDIDATES]
    points = np.stack([xs[chosen], ys[chosen]], 1).astype(float)
    if len(points) <= count:
        return [(int(x), int(y)) for x, y in points]
    distance = cdist(points, points)
    medoids = np.arange(count)  # the candidates are in random order
    for _ in range(10):
        nearest = distance[:, medoids].argmin(1)
        groups = [np.flatnonzero(nearest == k) for k in range(count)]
        moved = medoids.copy()
        for k, group in enumerate(groups):
            if len(group):
                moved[k] = group[distance[np.ix_(group, group)].sum(1).argmin()]
        if (moved == medoids).all():
            break
        medoids = moved
    return [(int(x), int(y)) for x, y in points[medoids]]


def pixel_inside(region: Mask, random: np.random.Generator) -> tuple[int, int] | None:
    """A random pixel (x, y) of a region, at least half as deep in it as its deepest one; None where it is empty.

    Depth is the distance to the region's border, the picture's border included. As training on current errors draws
    its clicks: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", 2021.
    """
    if not region.any():
        return None
    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    ys, xs = np.nonzero(depth > depth.max() / 2)
    index = int(random.integers(len(ys)))
    return int(xs[index]), int(ys[index])


def click_on_error(truth: Truth, mask: Mask, clicks: Sequence[Click], random: np.random.Generator) -> Click | None:
    """A click in the deeper of the two kinds of error of a mask (H, W) bool; None where nothing is wrong.

    Positive where the object is missed, negative where background is in the mask. Pixels that were clicked before are
    not clicked again.
    """
    missed, added = (truth == 1) & ~mask, (truth == 0) & mask
    for click in clicks:
        missed[int(click.y), int(click.x)] = added[int(click.y), int(click.x)] = False
    depths = [_deepest(region) for region in (missed, added)]
    if max(depths) == 0:
        return None
    positive = depths[0] > depths[1]
    pixel = pixel_inside(missed if positive else added, random)
    return None if pixel is None else Click(*pixel, positive)


def _deepest(region: Mask) -> float:
    return float(distance_transform_edt(np.pad(region, 1)).max()) if region.any() else 0.0
