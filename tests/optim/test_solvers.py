"""What both solvers promise: when they stop, which point they return, and what they refuse."""

from __future__ import annotations

import math
from itertools import count

import pytest
import torch
from torch import Tensor

from interactify.errors import NonFiniteError, OptionError
from interactify.optim import Evaluation
from tests.fixtures.objectives import SOLVERS, Clicks, differentiable, measured, rosenbrock

both = pytest.mark.parametrize("solver", list(SOLVERS))


@both
def test_done_stops_at_once_and_returns_that_point_even_if_it_is_not_the_lowest(solver: str) -> None:
    problem, calls = rosenbrock(2), []

    def evaluate(x: Tensor) -> Evaluation:
        calls.append(x)
        if len(calls) == 5:
            return Evaluation(torch.tensor(1e6, dtype=torch.float64), None, done=True, payload="fifth")
        return differentiable(problem.energy)(x)

    solution = SOLVERS[solver](evaluate, problem.start, max_evaluations=100)
    assert (solution.status, solution.done, solution.evaluations, len(calls)) == ("done", True, 5, 5)
    assert (solution.value, solution.payload) == (1e6, "fifth")
    assert torch.equal(solution.x, calls[-1])


@both
def test_done_at_the_start(solver: str) -> None:
    start = torch.ones(3)
    solution = SOLVERS[solver](lambda x: Evaluation(x.sum(), None, True, "start"), start)
    assert (solution.evaluations, solution.iterations, solution.payload) == (1, 0, "start")
    assert torch.equal(solution.x, start)


@both
@pytest.mark.parametrize("budget", [1, 2, 3, 7, 20])
def test_the_budget_is_exact_and_the_lowest_point_comes_back(solver: str, budget: int) -> None:
    problem = rosenbrock(10)
    solution, run = measured(differentiable(problem.energy), problem.start, solver, max_evaluations=budget)
    assert len(run.values) == solution.evaluations == budget
    assert (solution.status, solution.done) == ("budget", False)
    assert solution.value == min(run.values)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_x_value_and_payload_agree(solver: str, dtype: torch.dtype) -> None:
    problem = rosenbrock(10)
    start = problem.start.to(dtype)
    solution, run = measured(differentiable(problem.energy), start, solver, max_evaluations=500)
    assert solution.evaluations == len(run.values)
    assert solution.status in ("converged", "stalled")
    assert solution.x.dtype == dtype
    assert solution.payload is solution.x
    assert solution.value == float(problem.energy(solution.x)) == min(run.values)
    assert solution.value < (1e-9 if dtype == torch.float32 else 1e-18)
    assert all(torch.equal(point, copy) for point, copy in zip(run.points, run.copies, strict=True))
    assert torch.equal(start, problem.start.to(dtype))


@both
def test_what_the_objective_raises_passes_through(solver: str) -> None:
    error, calls = ZeroDivisionError("mine"), []

    def evaluate(x: Tensor) -> Evaluation:
        calls.append(x)
        if len(calls) == 4:
            raise error
        return differentiable(rosenbrock(2).energy)(x)

    with pytest.raises(ZeroDivisionError) as caught:
        SOLVERS[solver](evaluate, rosenbrock(2).start)
    assert caught.value is error
    assert len(calls) == 4


@both
def test_a_flat_start_is_converged_after_one_evaluation(solver: str) -> None:
    solution = SOLVERS[solver](differentiable(lambda x: (x**2).sum() + 7.0), torch.zeros(4), lower_bound=0.0)
    assert (solution.status, solution.evaluations, solution.iterations, solution.value) == ("converged", 1, 0, 7.0)


@both
def test_a_gradient_that_points_uphill_stalls_with_the_start_kept(solver: str) -> None:
    start = torch.ones(3, dtype=torch.float64)
    solution = SOLVERS[solver](lambda x: Evaluation((x**2).sum(), -2 * x, False), start, max_evaluations=200)
    assert solution.status == "stalled"
    assert solution.evaluations <= 41
    assert torch.equal(solution.x, start)


@both
def test_the_same_twice(solver: str) -> None:
    objective, start = Clicks(8, 3.0).objective(goal=False)
    state = torch.get_rng_state()
    first, second = (SOLVERS[solver](objective, start, max_evaluations=30) for _ in range(2))
    assert torch.equal(first.x, second.x) and first.value == second.value
    assert torch.equal(torch.get_rng_state(), state)


@both
def test_without_autograd(solver: str) -> None:
    start = torch.tensor([3.0, -4.0], requires_grad=True)
    with torch.no_grad():
        solution = SOLVERS[solver](differentiable(lambda x: (x**2).sum()), start)
    assert solution.value < 1e-10
    assert not solution.x.requires_grad


@both
def test_stop_of_a_single_problem(solver: str) -> None:
    problem, calls = rosenbrock(10), count(1)
    solution, run = measured(
        differentiable(problem.energy), problem.start, solver, stop=lambda: "cancelled" if next(calls) == 4 else None
    )
    assert (solution.status, solution.evaluations, len(run.values)) == ("cancelled", 4, 4)
    assert solution.value == min(run.values)


@both
def test_stop_is_not_called_where_nothing_is_left_to_evaluate(solver: str) -> None:
    def never() -> str | None:
        raise AssertionError("stop was called")

    start = torch.ones(3)
    SOLVERS[solver](lambda x: Evaluation(x.sum(), None, True), start, stop=never)
    SOLVERS[solver](lambda x: Evaluation(x.sum(), torch.ones(3), False), start, max_evaluations=1, stop=never)


@both
@pytest.mark.parametrize(
    ("start", "options", "named"),
    [
        (torch.zeros(0), {}, "x0"),
        (torch.zeros(2, 2), {}, "x0"),
        (torch.zeros(2, dtype=torch.float16), {}, "float32 or float64"),
        (torch.zeros(2), {"max_evaluations": 0}, "max_evaluations"),
        (torch.zeros(2), {"memory": 0}, "memory"),
        (torch.zeros(2), {"gradient_tolerance": math.nan}, "gradient_tolerance"),
        (torch.zeros(2), {"lower_bound": math.inf}, "lower_bound"),
    ],
)
def test_options_are_checked_before_any_work(solver: str, start: Tensor, options: dict[str, float], named: str) -> None:
    def never(x: Tensor) -> Evaluation:
        raise AssertionError("evaluated")

    with pytest.raises(OptionError, match=named):
        SOLVERS[solver](never, start, **options)


@both
def test_a_start_that_is_not_finite_is_an_error_and_a_missing_gradient_too(solver: str) -> None:
    with pytest.raises(NonFiniteError):
        SOLVERS[solver](lambda x: Evaluation(x.sum() * math.nan, x, False), torch.ones(2))
    with pytest.raises(OptionError, match="gradient"):
        SOLVERS[solver](lambda x: Evaluation(x.sum(), None, False), torch.ones(2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: vectors must stay on it")
@both
def test_on_the_device_of_the_variables(solver: str) -> None:
    problem = rosenbrock(10)
    on_host = SOLVERS[solver](differentiable(problem.energy), problem.start, max_evaluations=200)
    on_device = SOLVERS[solver](differentiable(problem.energy), problem.start.cuda(), max_evaluations=200)
    assert on_device.x.is_cuda
    assert on_device.value <= 1.001 * on_host.value + 1e-12
    assert on_device.evaluations <= 1.2 * on_host.evaluations
