"""What clicks repair and what they wreck: figures of records, each as sums over photos that can be resampled.

Means are over objects, shares over clicks. A photo set counts as much as another of the same network, and a network as
much as another, whatever their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.paired import Interval, Statistic, Stratum, bootstrap, median, paired_bootstrap, ratio
from interactify.evaluation import Record, area_under_curve
from interactify.evaluation.metrics import clicks_to, continued

LOSS = 0.02  # of IoU: a click that loses more than this has wrecked something
GOOD = 0.90  # IoU of a mask that a click should leave at least as good
MOST = 200  # evaluations of a click that are told apart in the median

Records = Sequence[Record]
"""Of the objects in one photo."""
Photos = Mapping[str, Records]
"""By the photo's name."""
Runs = Mapping[str, Mapping[str, Photos]]
"""By network, then by photo set."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        meaning: in a line.
        higher_is_better: the direction.
        tally: what one object adds to the sums: by default numerator and denominator.
        statistic: from the sums to the figure.
    """

    meaning: str
    higher_is_better: bool
    tally: Callable[[Record], Sequence[float]]
    statistic: Statistic = ratio


def figures(clicks: int) -> dict[str, Figure]:
    """The figures of runs of up to that many clicks, by name; IoU after each number of clicks comes last."""

    def noc(threshold: float) -> Callable[[Record], Sequence[float]]:
        return lambda record: (clicks_to(record.curve, threshold, clicks) or clicks, 1)

    def iou_after(k: int) -> Callable[[Record], Sequence[float]]:
        return lambda record: (continued(record.curve, k)[k], 1)

    return {
        "area": Figure(
            "area under IoU against clicks, 1 is best", True, lambda r: (area_under_curve(r.curve, clicks), 1)
        ),
        "losing_clicks": Figure(f"share of clicks that lose more than {LOSS} IoU", False, _losing_clicks),
        "lost_over_gained": Figure("what they lose in sum, over what all others gain", False, _lost_over_gained),
        "after_good": Figure(f"IoU one click after a mask of {GOOD} or more", True, _after_good),
        "good_firsts_lost": Figure(
            f"share of objects that begin at {GOOD} or more and lose more than {LOSS} with the first click",
            False,
            _good_firsts_lost,
        ),
        "collateral": Figure(
            "share of the photo made wrong far from the click", False, lambda r: (sum(r.collateral), len(r.collateral))
        ),
        "noc_85": Figure("clicks to IoU 0.85", False, noc(0.85)),
        "noc_90": Figure("clicks to IoU 0.90", False, noc(0.90)),
        "evaluations_median": Figure("evaluations of a click, median", False, _counts_of_evaluations, median),
        "evaluations_mean": Figure(
            "evaluations of a click, mean", False, lambda r: (sum(r.evaluations), len(r.evaluations))
        ),
        **{f"iou_{k}": Figure(f"IoU after {k} clicks", True, iou_after(k)) for k in range(clicks + 1)},
    }


def strata_of(runs: Runs, figure: Figure) -> list[Stratum]:
    """A stratum for each photo set of each network, photos in the order of their names; networks weigh the same."""
    strata = []
    for sets in runs.values():
        for photos in sets.values():
            objects = sum(map(len, photos.values()))
            tallies = [np.sum([figure.tally(record) for record in photos[name]], 0) for name in sorted(photos)]
            strata.append(Stratum(np.asarray(tallies, float), 1 / (len(runs) * len(sets) * objects)))
    return strata


def measured(runs: Runs, figure: Figure) -> Interval:
    """A figure with its interval, over all photo sets of all these networks."""
    return bootstrap(strata_of(runs, figure), figure.statistic)


def difference(before: Runs, after: Runs, figure: Figure) -> Interval:
    """What a figure has changed by, from one run to another over the same networks and photos."""
    return paired_bootstrap(strata_of(before, figure), strata_of(after, figure), figure.statistic)


def shared(before: Runs, after: Runs) -> tuple[Runs, Runs]:
    """What is in both: the same photos of the same sets under the same networks, in the same order."""
    kept: tuple[dict[str, dict[str, Photos]], ...] = ({}, {})
    for network, sets in after.items():
        for name, photos in sets.items():
            theirs = before.get(network, {}).get(name, {})
            # A photo counts where its objects are the same too.
            both = [
                photo
                for photo in sorted(photos)
                if [each.name for each in photos[photo]] == [each.name for each in theirs.get(photo, ())]
            ]
            if both:
                for side, source in zip(kept, (theirs, photos), strict=True):
                    side.setdefault(network, {})[name] = {photo: source[photo] for photo in both}
    return kept[0], kept[1]


def _steps(record: Record) -> list[tuple[float, float]]:
    """IoU before and after each click."""
    return list(pairwise(record.curve))


def _losing_clicks(record: Record) -> Sequence[float]:
    steps = _steps(record)
    return sum(before - after > LOSS for before, after in steps), len(steps)


def _lost_over_gained(record: Record) -> Sequence[float]:
    changes = [after - before for before, after in _steps(record)]
    return -sum(change for change in changes if change < -LOSS), sum(change for change in changes if change > 0)


def _after_good(record: Record) -> Sequence[float]:
    after_good = [after for before, after in _steps(record) if before >= GOOD]
    return sum(after_good), len(after_good)


def _good_firsts_lost(record: Record) -> Sequence[float]:
    first = [before - after for before, after in _steps(record)[:1] if before >= GOOD]
    return sum(lost > LOSS for lost in first), len(first)


def _counts_of_evaluations(record: Record) -> Sequence[float]:
    clipped = np.minimum(np.asarray(record.evaluations, np.int64), MOST)
    counts: list[float] = np.bincount(clipped, minlength=MOST + 1).astype(float).tolist()
    return counts
