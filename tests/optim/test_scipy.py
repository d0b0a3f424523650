"""Our L-BFGS beside SciPy's on the same energies: as low a value, in about as many evaluations."""

from __future__ import annotations

import pytest
import scipy
import torch
from torch import Tensor

from interactify.optim import Evaluation, Objective
from tests.fixtures.objectives import PROBLEMS, SOLVERS, Clicks, Problem, differentiable, measured


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_as_low_and_as_quick_as_scipy(problem: Problem) -> None:
    """Measured: evaluations to convergence 0.98 to 1.04 times SciPy's, to its value × 1.001 exactly or nearly equal."""
    objective = differentiable(problem.energy)
    theirs, their_run = measured(objective, problem.start, "scipy", max_evaluations=2000)
    ours, our_run = measured(objective, problem.start, "lbfgs", max_evaluations=2000)
    target = 1.001 * theirs.value + 1e-12 * max(1.0, their_run.values[0])
    # Before 1.15 SciPy's own line search gives up a rounding error before the tolerance, at the same value.
    old = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)
    assert theirs.status == "converged" or (old and theirs.status == "stalled")
    assert ours.value <= target
    assert ours.evaluations <= 1.2 * theirs.evaluations
    assert our_run.until(target) <= 1.2 * their_run.until(target)


def test_with_a_lower_bound_it_is_as_low_and_about_as_quick() -> None:
    """The bound changes the first step only: together no loss, though single small ones may lose (2-d: 2.2)."""
    evaluations = {"lbfgs": 0.0, "scipy": 0.0}
    until = {"lbfgs": 0.0, "scipy": 0.0}
    for problem in PROBLEMS:
        objective = differentiable(problem.energy)
        options = {"max_evaluations": 2000, "lower_bound": problem.lower_bound}
        runs = {solver: measured(objective, problem.start, solver, **options) for solver in SOLVERS}
        theirs, their_run = runs["scipy"]
        target = 1.001 * theirs.value + 1e-12 * max(1.0, their_run.values[0])
        assert runs["lbfgs"][0].value <= target, problem.name
        for solver, (solution, run) in runs.items():
            evaluations[solver] += solution.evaluations / theirs.evaluations
            until[solver] += run.until(target) / their_run.until(target)
    assert evaluations["lbfgs"] <= 1.1 * evaluations["scipy"]
    assert until["lbfgs"] <= 1.1 * until["scipy"]


@pytest.mark.parametrize("margin", [None, 3.0], ids=["brs", "margin"])
@pytest.mark.parametrize("clicks", [1, 3, 8])
def test_clicks_are_as_low_and_as_quick_as_scipy(clicks: int, margin: float | None) -> None:
    """BRS-like energies with their early stop: measured, the same points as SciPy's, to within rounding."""
    for seed in range(5):
        objective, start = Clicks(clicks, margin, seed=seed).objective()
        theirs, _ = measured(objective, start, "scipy", max_evaluations=40)
        ours, _ = measured(objective, start, "lbfgs", max_evaluations=40)
        assert theirs.done and ours.done
        assert ours.value <= 1.001 * theirs.value
        assert ours.evaluations <= 1.2 * theirs.evaluations


def test_clicks_need_fewer_evaluations_with_the_lower_bound() -> None:
    """Measured over 20 seeds, margin 3: 65, 79, 101 evaluations for 1, 3, 8 clicks; SciPy 83, 101, 122."""
    total = {"lbfgs": 0, "scipy": 0}
    for clicks in (1, 3, 8):
        for seed in range(5):
            objective, start = Clicks(clicks, 3.0, seed=seed).objective()
            for solver in SOLVERS:
                solution, _ = measured(objective, start, solver, max_evaluations=40, lower_bound=0.0)
                assert solution.done
                total[solver] += solution.evaluations
    assert total["lbfgs"] < 0.9 * total["scipy"]


@pytest.mark.parametrize("clicks", [1, 3])
def test_clicks_in_single_precision(clicks: int) -> None:
    for seed in range(3):
        objective, start = Clicks(clicks, 3.0, seed=seed).objective()

        def single(x: Tensor, objective: Objective = objective) -> Evaluation:
            double = objective(x.double())
            gradient = None if double.gradient is None else double.gradient.float()
            return Evaluation(double.value.float(), gradient, double.done)

        theirs, _ = measured(single, start.float(), "scipy", max_evaluations=40)
        ours, _ = measured(single, start.float(), "lbfgs", max_evaluations=40)
        assert ours.x.dtype == torch.float32
        assert ours.done and theirs.done
        assert ours.value <= 1.001 * theirs.value
        assert ours.evaluations <= 1.2 * theirs.evaluations
