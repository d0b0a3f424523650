"""Carry the corrections of slices to the slices between them, as far as the network agrees.

A slice's corrected mask is what its neighbour begins from: the network is pulled towards it, as for any initial mask,
and what it then shows there is the mask that is carried on. It follows the picture, where the mask before stood still.

A step to the next slice is taken while it changes the mask less than the user's correction changed the network's own:
while the IoU of the network's mask with the one before is above that of the one before with the network's own mask of
its slice. No truth and no threshold is needed: an object that moves farther from slice to slice than the correction
reaches, a thin tube across the slices, is left to the network, and where it was right by itself nothing is carried.
And a piece of the mask is carried on only where the network's map of the slice, before it was pulled, tells it from
what lies around (`with_evidence`): an object ends where it ends in the picture.

Between two corrected slices both sides are carried through, and the log-odds of both are averaged, each weighted by how
near it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, mean

from interactify.optim.status import Status
from interactify.refinement.problem import Stop
from interactify.slices.corrections import Carried, Corrected, Mask, PackedMask, iou
from interactify.slices.refiner import SliceRefiner

LogOdds: TypeAlias = NDArray[np.float32]

EVIDENCE: Final = 0.9  # of the pairs of a pixel in a piece and one outside: in how many the network ranks them right


@dataclass(frozen=True)
class Gap:
    """Slices without corrections between the corrected slices `below` and `above`; None at the volume's ends.

    >>> Gap(4, None, 8).slices
    range(5, 8)
    """

    below: int | None
    above: int | None
    count: int

    @property
    def slices(self) -> range:
        """The numbers of its slices."""
        return range(0 if self.below is None else self.below + 1, self.count if self.above is None else self.above)

    def touches(self, corrected: frozenset[int]) -> bool:
        """Whether one of these corrected slices is beside it."""
        return self.below in corrected or self.above in corrected


def gaps_of(corrected: Mapping[int, object], count: int) -> list[Gap]:
    """All gaps of a volume of so many slices, in their order.

    >>> [list(gap.slices) for gap in gaps_of({2: "", 3: ""}, 5)]
    [[0, 1], [4]]
    """
    ends = [None, *sorted(corrected), None]
    gaps = (Gap(below, above, count) for below, above in pairwise(ends))
    return [gap for gap in gaps if gap.slices]


@dataclass(frozen=True, eq=False)
class Link:
    """One slice of a chain from a corrected slice on: the network's log-odds (h, w), and the agreement."""

    log_odds: LogOdds
    agreement: float


class Stopped(Exception):
    """Carrying was cancelled."""


def carried_in(
    gap: Gap, refiner: SliceRefiner, corrected: Mapping[int, Corrected], target: int | None, reach: int, stop: Stop
) -> tuple[dict[int, Carried], int]:
    """What is carried into a gap's slices from its two sides, and how often the network was run for it.

    Args:
        gap: the slices.
        refiner: of the volume.
        corrected: at least the slices beside the gap.
        target: the object's class.
        reach: how many slices a correction is carried at most.
        stop: ends it early; then `Stopped` is raised.
    """
    chains: dict[int, dict[int, Link]] = {}
    evaluations = 0
    for source in (gap.below, gap.above):
        if source is not None:
            onward = gap.slices if source == gap.below else gap.slices[::-1]
            start = corrected[source].mask.mask
            chains[source], runs = _chain(source, start, onward[:reach], refiner, target, stop)
            evaluations += runs
    found: dict[int, Carried] = {}
    for index in gap.slices:
        links = {source: chain[index] for source, chain in chains.items() if index in chain}
        if links:
            agreement = min(link.agreement for link in links.values())
            found[index] = Carried(PackedMask.of(_averaged(links, index)), tuple(sorted(links)), agreement)
    return found, evaluations


def _averaged(links: Mapping[int, Link], index: int) -> Mask:
    """The mask (h, w) of a slice where the chains from one or two corrected slices meet."""
    weights = {source: 1 / abs(index - source) for source in links}
    total = sum(weights.values())
    log_odds = sum(link.log_odds * np.float32(weights[source] / total) for source, link in sorted(links.items()))
    return np.asarray(log_odds) > 0


def _chain(
    source: int, start: Mask, onward: range, refiner: SliceRefiner, target: int | None, stop: Stop
) -> tuple[dict[int, Link], int]:
    """From a corrected slice on, slice after slice, as far as the network agrees; and the number of evaluations."""
    chain: dict[int, Link] = {}
    evaluations, before, mask = 0, source, start
    for index in onward:
        left = iou(mask, refiner.own(before, target))  # of what the network shows by itself, the correction left this
        if left == 1:
            break
        pulled = refiner.pulled(index, mask, target, stop)
        if pulled.status == Status.CANCELLED:
            raise Stopped
        evaluations += pulled.evaluations
        agreement = iou(pulled.log_odds > 0, mask)
        if agreement <= left:
            break
        log_odds = with_evidence(pulled.log_odds, pulled.own)
        chain[index] = Link(log_odds, agreement)
        before, mask = index, log_odds > 0
    return chain, evaluations


def with_evidence(pulled: LogOdds, own: LogOdds) -> LogOdds:
    """Log-odds (h, w) with the network's own in those pieces of the object for which they are no evidence.

    They are none where the network by itself does not rank the pixels of a piece, connected ones, above those outside
    of the object: where the area under the curve of that ranking is below `EVIDENCE`.

    >>> pulled, own = np.array([[2.0, 1.0, -1.0, 3.0]], np.float32), np.array([[-1.0, -1.0, -3.0, -4.0]], np.float32)
    >>> with_evidence(pulled, own).tolist()
    [[2.0, 1.0, -1.0, -4.0]]
    """
    found = pulled > 0
    outside = np.sort(own[~found])
    if not len(outside):
        return pulled
    pieces, count = label(found, np.ones((3, 3)))
    ranks = np.searchsorted(outside, own, "left") + np.searchsorted(outside, own, "right")
    share = mean(ranks, pieces, np.arange(1, count + 1)) / (2 * len(outside))
    without = np.concatenate([[False], share < EVIDENCE])
    return np.where(without[pieces], own, pulled)
