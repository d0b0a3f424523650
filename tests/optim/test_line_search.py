"""The line search: the strong Wolfe conditions, and the point and pair of vectors that a search settles on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple

import pytest
import torch

from interactify.optim import Evaluation
from interactify.optim.best_so_far import BestSoFar
from interactify.optim.descent import search
from interactify.optim.history import History
from interactify.optim.line_search import Trial, Verdict, WolfeSearch
from interactify.optim.points import Point, measure
from tests.fixtures.objectives import quintic


@pytest.mark.parametrize("step", [1e-3, 1e-1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize(
    "curve",
    [
        lambda t: (-t / (t**2 + 2.0), (t**2 - 2.0) / (t**2 + 2.0) ** 2),  # Moré and Thuente's function 1, β = 2
        lambda t: (math.cosh(min(t, 500.0) - 3.0), math.sinh(min(t, 500.0) - 3.0)),
    ],
    ids=["rational", "cosh"],
)
def test_the_line_search_meets_the_wolfe_conditions(curve: Callable[[float], tuple[float, float]], step: float) -> None:
    start = Trial(0.0, *curve(0.0))
    search = WolfeSearch(start, step, max_trials=30)
    verdict, tried, trials = Verdict.CONTINUE, 0.0, 0
    while verdict is Verdict.CONTINUE:
        tried, trials = search.step, trials + 1
        verdict = search.tell(*curve(tried))
    value, slope = curve(tried)
    assert verdict is Verdict.ACCEPT
    assert value <= start.value + 1e-4 * tried * start.slope
    assert abs(slope) <= 0.9 * abs(start.slope)
    assert trials <= 20


@pytest.mark.parametrize("step", [1e-3, 1e-1, 1.0, 10.0, 1e3])
def test_the_line_search_settles_where_only_the_exact_minimum_is_flat_enough(step: float) -> None:
    """Moré and Thuente's function 2, β = 0.004: nearly flat at the start, its minimum at 1.596."""
    search, trials = WolfeSearch(quintic(0.0), step), 1
    while search.tell(*astuple(quintic(search.step))[1:]) is Verdict.CONTINUE:
        trials += 1
    assert search.lowest.value < 0.99 * quintic(1.596).value < 0.0
    assert abs(search.lowest.step - 1.596) < 0.16
    assert trials <= 20


@pytest.mark.parametrize(("step", "last"), [(1.0, True), (0.1, False), (7.0, False)])
def test_the_pair_of_a_step_is_that_of_the_trial_it_settled_on(step: float, last: bool) -> None:
    """Often an earlier trial than the last, which wrote a pair too. In one dimension the direction is the secant's."""
    start = quintic(0.0)
    here = Point(torch.zeros(1).double(), torch.tensor([start.slope]).double(), start.value)
    history, best = History(5, like=here.x), BestSoFar(max_evaluations=100)
    line = search(here, torch.ones(1).double(), start.slope, step, history, best)
    query, there, trials = next(line), None, 0
    while there is None:
        trial, trials = quintic(float(query.x)), trials + 1
        evaluation = Evaluation(torch.tensor(trial.value).double(), torch.tensor([trial.slope]).double(), False)
        (point,) = measure([query], [evaluation])
        try:
            query = line.send(point)
        except StopIteration as returned:
            there = returned.value
    assert (there is point) == last and trials > 1
    direction, _ = history.direction(there.gradient, there.square, there.products)
    secant = -there.gradient * (there.x - here.x) / (there.gradient - here.gradient)
    torch.testing.assert_close(direction, secant)
