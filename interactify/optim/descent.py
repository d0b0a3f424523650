"""The descent of one row: a generator that asks for points, is sent what they gave, and returns why it ended.

The parts: `History` gives the direction, `WolfeSearch` the step along it. Nothing here evaluates: who drives the
generator may answer the questions of many rows at once.
"""

from __future__ import annotations

import math
from collections.abc import Generator

from torch import Tensor

from .best_so_far import BestSoFar
from .history import History
from .line_search import Trial, Verdict, WolfeSearch
from .points import Point, Query


def descend(
    x0: Tensor, best: BestSoFar, memory: int, gradient_tolerance: float, lower_bound: float | None
) -> Generator[Query, Point, str]:
    """L-BFGS from x0 (n,): yields queries, is sent their points, returns a `Solution`'s status.

    The driver closes it when the row is done or its evaluations, counted in `best`, are used up.
    """
    here = yield Query(x0)
    history = History(min(memory, best.max_evaluations), like=x0)
    del x0  # the start is let go as soon as the row has moved on
    direction, slope = -here.gradient, -here.square
    while here.steepest > gradient_tolerance:
        step = 1.0 if len(history) else first_step(here, lower_bound)
        there = yield from search(here, direction, slope, step, history, best)
        if there is None and len(history):  # the history misled: once more, without it
            history.forget()
            direction, slope = -here.gradient, -here.square
            continue
        if there is None:
            return "stalled"
        best.iterations += 1
        lower, here = there.value < here.value, there
        if here.steepest > gradient_tolerance:
            if not lower:  # equal to within rounding: further steps would only wander
                return "stalled"
            if not best.left:  # nothing to look for a direction for
                return "budget"
            direction, slope = history.direction(here.gradient, here.square, here.products)
    return "converged"


def first_step(here: Point, lower_bound: float | None) -> float:
    """How far to go along the negative gradient while nothing is known of the curvature.

    With a lower bound, twice Polyak's step, 2 (value - bound) / |gradient|²: exact for the square of one residual that
    is linear in x, and never shorter than 1/L, what a gradient of Lipschitz constant L allows. It reaches a goal in
    fewer evaluations, often at a higher value than SciPy's. Without a bound, a step of length one, as SciPy takes.
    """
    if lower_bound is not None and here.value > lower_bound and here.square > 0.0:
        return 2.0 * (here.value - lower_bound) / here.square
    return here.square**-0.5 if here.square > 0.0 else 1.0


def search(
    here: Point, direction: Tensor, slope: float, step: float, history: History, best: BestSoFar
) -> Generator[Query, Point, Point | None]:
    """The point that a line search from `here` settles on, its pair written to the history; None: nothing lower."""
    line = WolfeSearch(Trial(0.0, here.value, slope), step, noise=here.resolution * abs(here.value))
    lowest: Point | None = None
    while True:
        there = yield question(here, direction, line.step, history, last=best.left == 1)
        verdict = line.tell(there.value, there.slope if there.finite else math.nan)
        if verdict is Verdict.ACCEPT:
            return there
        if there.finite and there.value < (lowest or here).value:
            lowest = there
        if verdict is Verdict.SETTLE:
            if lowest is not None and lowest is not there:  # a later trial has written over its pair
                history.write((here.x, here.gradient), (lowest.x, lowest.gradient))
            return lowest
        del there  # its vectors need not wait for the next trial's


def question(here: Point, direction: Tensor, step: float, history: History, last: bool) -> Query:
    """Ask for the point a step along the direction; unless it is the last, for its pair's inner products too."""
    x = here.x.add(direction, alpha=step)

    def products(gradient: Tensor) -> Tensor:
        history.write((here.x, here.gradient), (x, gradient))
        return history.products(gradient)

    return Query(x, along=direction, products=None if last else products)
