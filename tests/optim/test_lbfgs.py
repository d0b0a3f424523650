"""Our L-BFGS's own parts: the first step, a step taken back, and the direction from a history of steps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from interactify.optim import lbfgs
from interactify.optim.history import History
from tests.fixtures.objectives import differentiable, measured, quadratic, uniform


def test_the_bound_makes_the_first_step_exact_for_one_squared_linear_residual() -> None:
    normal = uniform(50, 1)
    solution, run = measured(
        differentiable(lambda x: (normal @ x - 3.0) ** 2),
        torch.zeros(50, dtype=torch.float64),
        "lbfgs",
        lower_bound=0.0,
    )
    assert run.values[1] == pytest.approx(0.0, abs=1e-24)
    assert solution.evaluations == 2


def test_a_step_into_infinity_is_taken_back() -> None:
    """-log(1 - x) - x has its minimum at 0 and no value from 1 on, where the first step of length one ends."""
    solution = lbfgs.minimise(
        differentiable(lambda x: (-torch.log(1.0 - x) - x).sum() + 0.1 * (x**2).sum()),
        torch.full((1,), -0.4, dtype=torch.float64), max_evaluations=60, lower_bound=-100.0,
    )  # fmt: skip
    assert solution.status == "converged"
    assert abs(float(solution.x)) < 1e-8


Ends = tuple[Tensor, Tensor]  # x and gradient


def direction_after(history: History, here: Ends, there: Ends) -> tuple[Tensor, float]:
    """The history's direction once the step from here to there is taken."""
    history.write(here, there)
    gradient = there[1]
    return history.direction(gradient, float(gradient @ gradient), history.products(gradient).tolist())


def test_the_direction_is_that_of_dense_bfgs() -> None:
    """While nothing is forgotten, the direction is -H g with H from the BFGS formula (Nocedal and Wright, 6.17)."""
    n, matrix = 6, quadratic(6, 1e2).energy
    hessian = torch.autograd.functional.hessian(matrix, torch.zeros(n, dtype=torch.float64))
    points = [uniform(n, seed) for seed in range(5)]
    history, identity = History(10, like=points[0]), torch.eye(n, dtype=torch.float64)
    pairs = [(b - a, hessian @ (b - a)) for a, b in pairwise(points)]
    for (step, change), (a, b) in zip(pairs, pairwise(points), strict=True):
        direction, slope = direction_after(history, (a, hessian @ a), (b, hessian @ b))
        newest = pairs[: len(history)][-1]
        inverse = identity * (newest[0] @ newest[1]) / (newest[1] @ newest[1])
        for s, y in pairs[: len(history)]:
            left = identity - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        expected = -inverse @ (hessian @ b)
        torch.testing.assert_close(direction, expected)
        assert slope == pytest.approx(float(expected @ (hessian @ b)))
        assert change @ step > 0


def test_the_history_forgets_the_oldest_and_refuses_negative_curvature() -> None:
    history = History(2, like=torch.zeros(3))
    step, nowhere = torch.tensor([1.0, 0.0, 0.0]), (torch.zeros(3), torch.zeros(3))
    direction, slope = direction_after(history, nowhere, (step, -step))  # the gradient fell along the step
    assert len(history) == 0
    assert torch.equal(direction, step) and slope == -1.0
    for seed in range(4):
        shift = uniform(3, seed).float()
        direction_after(history, nowhere, (shift, 2.0 * shift))
        assert len(history) == min(seed + 1, 2)
    history.forget()
    assert len(history) == 0


def test_a_forgotten_pair_that_was_not_finite_does_no_harm() -> None:
    history = History(5, like=torch.zeros(3, dtype=torch.float64))
    nowhere = (torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    for seed in range(2):
        direction_after(history, nowhere, (uniform(3, seed), 2.0 * uniform(3, seed)))
    history.write(nowhere, (uniform(3, 2), uniform(3, 2) * math.nan))
    history.forget()
    direction, slope = direction_after(history, nowhere, (uniform(3, 3), 2.0 * uniform(3, 3)))
    torch.testing.assert_close(direction, -uniform(3, 3))  # a Newton step: the curvature is 2 in all directions
    assert slope < 0 and len(history) == 1
