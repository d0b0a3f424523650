"""refine(steering=…): a quicker function finds the way, and the answer is the slower one's, always."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interactify import brs
from interactify.brs.hold import Held
from interactify.errors import NonFiniteError
from tests.fixtures import networks

POINTS = torch.tensor([[2.0, 3.0], [0.0, 0.0], [9.0, 7.0]])
LABELS = torch.tensor([True, False, True])
PICTURE = networks.random_tensor(1, 1, 8, 10, seed=5)
WEIGHT = networks.random_tensor(1, 1, 3, 3, seed=4)
START = torch.zeros(1, 1, 8, 10)


class Counted:
    """A small smooth network of an (8, 10) field, times `scale` plus `shift`, which counts its passes."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        self.scale, self.shift, self.passes, self.graphs = scale, shift, 0, 0

    def __call__(self, values: Tensor) -> Tensor:
        self.passes += 1
        self.graphs += values.requires_grad
        logits = torch.nn.functional.conv2d(torch.tanh(PICTURE + values), WEIGHT, padding=1) * 3
        return self.scale * logits + self.shift


def test_the_answer_is_one_pass_of_the_slower_function() -> None:
    forward, steering = Counted(), Counted(scale=1.01)
    found = brs.refine(forward, START, POINTS, LABELS, steering=steering)
    assert found.reached and found.status == "done"
    assert (forward.passes, forward.graphs) == (1, 0), "no gradient of it is needed"
    assert steering.passes == steering.graphs == found.evaluations - 1 >= 2
    assert torch.equal(found.logits, forward(found.values)) and not torch.equal(found.logits, steering(found.values))
    alone = brs.refine(Counted(scale=1.01), START, POINTS, LABELS)
    assert torch.equal(found.values, alone.values), "the way is that of what steers alone"


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
@pytest.mark.parametrize("energy", ["margin", "brs"])
@pytest.mark.parametrize("steering", [Counted(shift=4.0), Counted(shift=-4.0), Counted(scale=-1.0), Counted(scale=3.0)])
def test_where_it_misleads_the_slower_function_goes_on(steering: Counted, energy: str, solver: str) -> None:
    found = brs.refine(Counted(), START, POINTS, LABELS, energy=energy, solver=solver, steering=steering)
    read = found.logits[0, 0][POINTS[:, 1].long(), POINTS[:, 0].long()]
    assert found.reached and torch.equal(read > 0, LABELS)
    assert torch.equal(found.logits, Counted()(found.values)) and found.evaluations <= 40


def test_a_goal_that_is_missed_by_little_is_reached() -> None:
    """A margin of 3 by the quicker function is 2.9 or so by the slower one: not worth a pass with its gradient."""
    cases = 0
    for percent in range(101, 120):
        found = brs.refine(forward := Counted(), START, POINTS, LABELS, steering=Counted(scale=percent / 100))
        read = found.logits[0, 0][POINTS[:, 1].long(), POINTS[:, 0].long()] * (2.0 * LABELS - 1)
        assert found.reached and float(read.min()) >= (2.75 if forward.passes == 1 else 3.0)
        cases += forward.passes == 1 and float(read.min()) < 3.0
    assert cases, "none was short of the margin: other numbers are needed"


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5])
def test_a_small_budget_still_moves(budget: int) -> None:
    """With so few evaluations nothing steers: one of them would be lost for the answer."""
    found = brs.refine(Counted(), START, POINTS, LABELS, steering=Counted(), max_evaluations=budget)
    alone = brs.refine(Counted(), START, POINTS, LABELS, max_evaluations=budget)
    assert found.energy <= alone.energy or budget > 3
    assert torch.equal(found.values, START) == (budget == 1)


@pytest.mark.parametrize("budget", [1, 2, 3, 40])
def test_the_budget_is_that_of_both_together(budget: int) -> None:
    forward, steering = Counted(), Counted(scale=0.0)  # never gets anywhere
    steering.__class__ = type("Still", (Counted,), {"__call__": _still})
    found = brs.refine(forward, START, POINTS, LABELS, steering=steering, max_evaluations=budget)
    assert forward.passes + steering.passes == found.evaluations <= budget
    assert found.reached or budget < 40


def _still(self: Counted, values: Tensor) -> Tensor:
    self.passes += 1
    return torch.tanh(values) * 1e-3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_quicker_function_without_finite_numbers_is_left_out(bad: float) -> None:
    found = brs.refine(Counted(), START, POINTS, LABELS, steering=Counted(shift=bad))
    alone = brs.refine(Counted(), START, POINTS, LABELS)
    assert torch.equal(found.values, alone.values) and found.evaluations == alone.evaluations


def test_the_slower_functions_own_error_is_raised() -> None:
    with pytest.raises(NonFiniteError):
        brs.refine(Counted(shift=float("nan")), START, POINTS, LABELS, steering=Counted(shift=float("nan")))


@pytest.mark.parametrize("status", ["cancelled", "time", "a reason of my own"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_stop_ends_it_with_the_slower_functions_logits(status: str, after: int) -> None:
    asked: list[int] = []

    def stop() -> str | None:
        asked.append(1)
        return status if len(asked) > after else None

    found = brs.refine(Counted(), START, POINTS, LABELS, steering=Counted(scale=1.2), stop=stop)
    assert found.status == status and not found.reached
    assert torch.equal(found.logits, Counted()(found.values))


def _held(tolerance: float) -> Held:
    before = torch.sigmoid(Counted()(START))[0, 0].detach()
    return Held(before, torch.full((8, 10), 0.5), tolerance)


@pytest.mark.parametrize("make", [lambda: _held(float("inf")), lambda: _held(0.0)])
def test_what_is_held_is_held_on_the_way(make: Callable[[], Held]) -> None:
    """The same evaluations as with the slower function alone where both are equal, and one more for the answer."""
    found = brs.refine(Counted(), START, POINTS, LABELS, held=make(), steering=Counted())
    alone = brs.refine(Counted(), START, POINTS, LABELS, held=make())
    assert found.status == alone.status and torch.equal(found.logits, alone.logits)
    assert found.evaluations == alone.evaluations + 1


def test_what_is_held_gives_way_after_its_evaluations_and_not_again() -> None:
    """Of the way's twelve, none is repeated: without steering the click has its label as soon."""

    def forward(values: Tensor) -> Tensor:
        return -2 + 3 * torch.tanh(values)

    at, yes = torch.tensor([[2.0, 3.0]]), torch.tensor([True])
    held = Held(torch.sigmoid(forward(START))[0, 0], torch.full((8, 10), 5.0))
    for budget in (16, 20, 24, 40):
        found = brs.refine(
            forward, START, at, yes, held=held, steering=lambda v: 1.01 * forward(v), max_evaluations=budget
        )
        assert bool(found.logits[0, 0, 3, 2] > 0), budget


def test_an_answer_without_finite_numbers_is_none() -> None:
    def near(values: Tensor) -> Tensor:
        return -2 + 4 * torch.tanh(0.1 * values)

    def forward(values: Tensor) -> Tensor:  # as the other, up to where its numbers end
        return near(values) + torch.where(values > 60, torch.nan, 0.0)

    at, yes = torch.tensor([[2.0, 3.0]]), torch.tensor([True])
    alone = brs.refine(forward, START, at, yes)
    found = brs.refine(forward, START, at, yes, steering=lambda v: near(8 * v))
    assert bool(torch.isfinite(found.logits).all()) and found.energy <= 1.01 * alone.energy + 1e-3
    asked: list[int] = []

    def stop() -> str | None:
        asked.append(1)
        return "time" if len(asked) > 2 else None

    stopped = brs.refine(lambda v: forward(v + 100 * (v != 0)), START, at, yes, steering=near, stop=stop)
    assert stopped.status == "time" and bool(torch.isfinite(stopped.logits).all())


def test_superseded_it_is_at_the_start() -> None:
    asked: list[int] = []

    def stop() -> str | None:
        asked.append(1)
        return "superseded" if len(asked) > 1 else None

    found = brs.refine(Counted(), START, POINTS, LABELS, steering=Counted(), stop=stop)
    assert found.status == "superseded" and torch.equal(found.values, START)
    assert torch.equal(found.logits, Counted()(START))


def test_a_goal_that_settles_settles_over_both() -> None:
    """Evaluations are counted on: the answer is the fifth or later, which has to reach less."""
    found = brs.refine(
        forward := Counted(), START, POINTS, LABELS, energy=brs.Settling(enough=0.5, patience=1), steering=Counted()
    )
    assert found.reached and forward.passes == 1


def test_a_function_that_ends_steering_leaves_no_trace() -> None:
    passes: list[int] = []

    def ends(values: Tensor) -> Tensor:
        passes.append(1)
        if len(passes) > 1:
            raise brs.SteeringEnded
        return Counted()(values)

    found = brs.refine(Counted(), START, POINTS, LABELS, steering=ends)
    alone = brs.refine(Counted(), START, POINTS, LABELS)
    assert torch.equal(found.values, alone.values) and found.evaluations == alone.evaluations
