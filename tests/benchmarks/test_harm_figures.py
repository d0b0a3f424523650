"""Figures of what clicks wreck: by hand, from records made up here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.harm_figures import Runs, difference, figures, measured, shared
from interactify.evaluation import Record


def record(curve: list[float], evaluations: list[int] | None = None, name: str = "a") -> Record:
    clicks = len(curve) - 1
    return Record(
        name,
        curve,
        satisfied=[True] * clicks,
        evaluations=evaluations or [3] * clicks,
        seconds=[0.1] * clicks,
        collateral=[0.01] * clicks,
    )


def runs(*curves: list[float]) -> Runs:
    return {"net": {"set": {str(k): [record(curve)] for k, curve in enumerate(curves)}}}


@pytest.mark.parametrize(
    ("name", "curves", "value"),
    [
        ("area", [[0.0, 1.0, 1.0, 1.0], [1.0]], (2.5 / 3 + 1) / 2),  # a curve that ends continues
        ("losing_clicks", [[0.5, 0.9, 0.4, 0.39], [0.8, 0.9]], 1 / 4),  # 0.01 is no loss yet
        ("lost_over_gained", [[0.5, 0.9, 0.4, 0.39], [0.8, 0.9]], 0.5 / 0.5),
        ("lost_over_gained", [[0.5, 0.9], [0.8, 0.79]], 0.0),
        ("after_good", [[0.95, 0.85, 0.9, 0.7], [0.2, 0.3]], (0.85 + 0.7) / 2),
        ("good_firsts_lost", [[0.95, 0.9, 0.99], [0.91, 0.93], [0.5, 0.1], [0.97]], 1 / 2),
        ("collateral", [[0.5, 0.6, 0.7]], 0.01),
        ("noc_85", [[0.9], [0.2, 0.3, 0.85], [0.1, 0.2, 0.3, 0.4]], (1 + 2 + 3) / 3),  # a failure counts as all three
        ("noc_90", [[0.2, 0.3, 0.85]], 3),
        ("evaluations_mean", [[0.1, 0.2, 0.3]], 3),
        ("evaluations_median", [[0.1, 0.2, 0.3]], 3),
        ("iou_0", [[0.1, 0.9], [0.3]], 0.2),
        ("iou_3", [[0.1, 0.9], [0.3]], 0.6),
    ],
)
def test_figures_by_hand(name: str, curves: list[list[float]], value: float) -> None:
    assert measured(runs(*curves), figures(3)[name]).value == pytest.approx(value)


def test_no_object_that_begins_well_has_no_figure() -> None:
    assert np.isnan(measured(runs([0.2, 0.3]), figures(3)["good_firsts_lost"]).value)


def test_the_median_is_over_clicks() -> None:
    photos = {"1": [record([0.1, 0.2, 0.3], [2, 40])], "2": [record([0.1, 0.2], [5])]}
    both = {"net": {"set": photos}}
    assert measured(both, figures(2)["evaluations_median"]).value == 5
    assert measured(both, figures(2)["evaluations_mean"]).value == pytest.approx(47 / 3)


def test_sets_and_networks_count_the_same_whatever_their_size() -> None:
    small, large = {"a": [record([0.0])]}, {str(k): [record([0.8]), record([1.0])] for k in range(9)}
    iou = figures(0)["iou_0"]
    assert measured({"one": {"small": small, "large": large}}, iou).value == pytest.approx(0.45)
    assert measured({"one": {"small": small}, "two": {"large": large}}, iou).value == pytest.approx(0.45)
    assert measured({"one": {"small": small, "large": large}, "two": {"large": large}}, iou).value == pytest.approx(
        (0.45 + 0.9) / 2
    )


def test_objects_of_one_photo_are_resampled_together() -> None:
    one_photo = {"net": {"set": {"a": [record([0.0], name="a#1"), record([1.0], name="a#2")]}}}
    found = measured(one_photo, figures(0)["iou_0"])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_a_difference_is_of_the_same_photos() -> None:
    before = runs([0.1, 0.3], [0.7, 0.9], [0.4, 0.6])
    after = runs([0.1, 0.35], [0.7, 0.95], [0.4, 0.65])
    found = difference(before, after, figures(1)["iou_1"])
    assert [found.value, found.low, found.high] == pytest.approx([0.05] * 3)


def test_photos_sets_and_networks_that_only_one_run_has_are_left_out() -> None:
    before: Runs = {
        "net": {"set": {"b": [record([0.2])], "a": [record([0.1])], "gone": [record([0.0])]}, "old": {}},
        "first": {"set": {"a": [record([0.0])]}},
    }
    after: Runs = {
        "net": {"set": {"a": [record([0.5])], "b": [record([0.6])], "new": [record([0.0])]}, "added": {}},
        "second": {"set": {"a": [record([0.0])]}},
    }
    ours, theirs = shared(after, before)
    assert list(ours) == list(theirs) == ["net"]
    assert list(ours["net"]["set"]) == list(theirs["net"]["set"]) == ["a", "b"]
    assert [ours["net"]["set"][k][0].curve for k in "ab"] == [[0.5], [0.6]]
    other_objects = {"net": {"set": {"a": [record([0.1], name="a#2")]}}}
    assert shared(before, other_objects) == ({}, {})
