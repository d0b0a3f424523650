"""Bootstrap intervals over photos: against SciPy, against values by hand, and the rule of the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.paired import Interval, Stratum, bootstrap, median, paired_bootstrap, ratio, verdict

NOTHING = float("nan")


def counted(values: np.ndarray) -> Stratum:
    """One value a photo, as a sum and a count: their ratio is the mean."""
    return Stratum(np.stack([values, np.ones_like(values)], 1))


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    ours = bootstrap([counted(values)], ratio, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    assert ours.value == pytest.approx(values.mean())
    spread = theirs.confidence_interval.high - theirs.confidence_interval.low
    # Two samples of 20,000: percentiles agree up to about a fiftieth of the interval.
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.02 * spread)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02 * spread)


def test_the_interval_of_a_paired_difference_is_scipys() -> None:
    random = np.random.default_rng(3)
    before = random.normal(size=30) * 10  # hard and easy photos differ much more than the two runs do
    after = before + 0.2 + random.normal(size=30) * 0.1
    ours = paired_bootstrap([counted(before)], [counted(after)], ratio, resamples=20_000)
    theirs = stats.bootstrap(
        (after, before),
        lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=4,
    ).confidence_interval
    assert 0.1 < ours.low < ours.value < ours.high < 0.3  # unpaired it would be about 7 wide
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * (theirs.high - theirs.low))
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * (theirs.high - theirs.low))


def test_all_resamples_of_two_photos_by_hand() -> None:
    # One loses 1 of 2 clicks, the other 0 of 6. Both once in half of the resamples; one twice in a quarter each.
    photos = Stratum(np.array([[1.0, 2.0], [0.0, 6.0]]))
    found = bootstrap([photos], ratio)
    assert (found.value, found.low, found.high) == (1 / 8, 0.0, 0.5)


def test_strata_are_resampled_apart_and_weighted() -> None:
    # Within each nothing varies, so the whole does not either, though the strata differ.
    small, large = Stratum(np.array([[1.0, 1.0]] * 2), 1 / 2), Stratum(np.array([[0.0, 1.0]] * 8), 1 / 8)
    assert bootstrap([small, large], ratio) == Interval(0.5, 0.5, 0.5)


def test_a_share_of_nothing_has_no_value_and_no_interval() -> None:
    found = bootstrap([Stratum(np.zeros((5, 2)))], ratio)
    assert np.isnan([found.value, found.low, found.high]).all()
    rare = np.zeros((10, 2))
    rare[0] = 1.0  # one photo of ten has such clicks: a third of the resamples hold none
    found = bootstrap([Stratum(rare)], ratio)
    assert found.value == 1.0 and np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("values", [[3], [3, 4], [2, 2, 9], [1, 5, 5, 40], [0, 0, 7]])
def test_the_median_of_counts_is_the_median(values: list[int]) -> None:
    counts = np.bincount(values, minlength=50).astype(float)
    assert median(counts * 0.1) == np.median(values)
    assert median(np.stack([counts, counts])).tolist() == [np.median(values)] * 2


def test_no_numbers_have_no_median() -> None:
    assert np.isnan(median(np.zeros(4)))


GAIN, LOSS, OPEN = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1), Interval(-0.1, -0.4, 0.1)
UNKNOWN = Interval(0.2, NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("whole", "networks", "said"),
    [
        (GAIN, [GAIN, OPEN], "better"),
        (GAIN, [GAIN, LOSS], "better on the whole, but b loses"),
        (OPEN, [GAIN, GAIN], "no difference shown"),
        (OPEN, [LOSS, LOSS], "a, b lose"),
        (LOSS, [GAIN, LOSS], "worse"),
        (UNKNOWN, [UNKNOWN, GAIN], "no difference shown"),
        (Interval(0.0, 0.0, 0.0), [GAIN, OPEN], "no difference shown"),
    ],
)
def test_better_needs_the_whole_and_no_network_that_loses(whole: Interval, networks: list[Interval], said: str) -> None:
    by_name = dict(zip("ab", networks, strict=True))
    assert verdict(whole, by_name, higher_is_better=True) == said
    mirrored = {name: Interval(-each.value, -each.high, -each.low) for name, each in by_name.items()}
    turned = Interval(-whole.value, -whole.high, -whole.low)
    assert verdict(turned, mirrored, higher_is_better=False) == said
