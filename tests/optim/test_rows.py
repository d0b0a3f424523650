"""A batch of rows: each row is solved as if it were alone, and finished rows are not evaluated again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count

import pytest
import torch
from torch import Tensor

from interactify.errors import NonFiniteError, OptionError
from interactify.optim import ROW_SOLVERS, RowEvaluations, RowsObjective, Solution
from tests.fixtures.objectives import MIXED, SPREAD, Batch, measured, mixed_row

both_rows = pytest.mark.parametrize("solver", list(ROW_SOLVERS))


def assert_same(batched: Solution, alone: Solution) -> None:
    for field in ("value", "done", "evaluations", "iterations", "status"):
        assert getattr(batched, field) == getattr(alone, field), field
    assert torch.equal(batched.x, alone.x) and batched.x.dtype == alone.x.dtype


@both_rows
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("budget", [1, 2, 5, 60])
def test_a_row_of_a_batch_is_solved_as_if_alone(solver: str, dtype: torch.dtype, budget: int) -> None:
    """To the last bit, if the objective's rows are: every point that is evaluated, and the result."""
    batch, start = Batch(lambda row: mixed_row(row, dtype)), torch.stack([p.start for p in MIXED]).to(dtype)
    kept = start.clone()
    solutions = ROW_SOLVERS[solver](batch, start, max_evaluations=budget, memory=4)
    assert torch.equal(start, kept)
    for row, (problem, solution) in enumerate(zip(MIXED, solutions, strict=True)):
        alone, run = measured(mixed_row(row, dtype), kept[row], solver, max_evaluations=budget, memory=4)
        assert_same(solution, alone)
        assert len(batch.points[row]) == len(run.copies) == solution.evaluations <= budget, problem.name
        assert all(torch.equal(a, b) for a, b in zip(batch.points[row], run.copies, strict=True)), problem.name
        assert torch.equal(solution.payload[1], solution.x), problem.name


def test_the_rows_of_that_batch_end_in_every_way() -> None:
    """The test above covers every status, and one row really reaches a value that is not a number."""
    batch, start = Batch(lambda row: mixed_row(row, torch.float64)), torch.stack([p.start for p in MIXED])
    solutions = ROW_SOLVERS["lbfgs"](batch, start, max_evaluations=60, memory=4)
    ends = {problem.name: solution.status for problem, solution in zip(MIXED, solutions, strict=True)}
    assert ends.pop("walled") in ("converged", "stalled")  # at its minimum both happen, by rounding
    assert ends == {
        "easy": "converged", "hard": "budget", "rosenbrock": "budget", "saturating": "converged",
        "done at once": "done", "done after a while": "done", "stationary": "converged", "uphill": "stalled",
    }  # fmt: skip
    named = dict(zip((problem.name for problem in MIXED), count(), strict=False))
    assert not all(math.isfinite(value) for value in batch.values[named["walled"]])
    assert solutions[named["walled"]].value == pytest.approx(1.0, abs=1e-15)
    assert len({solution.evaluations for solution in solutions}) >= 6
    for row, solution in enumerate(solutions):
        finite = [value for value in batch.values[row] if math.isfinite(value)]
        assert solution.value == (finite[-1] if solution.done else min(finite))


def test_finished_rows_are_not_evaluated_again_and_the_others_go_in_one_batch() -> None:
    batch, start = Batch(lambda row: mixed_row(row, torch.float64)), torch.stack([p.start for p in MIXED])
    solutions = ROW_SOLVERS["lbfgs"](batch, start, max_evaluations=60, memory=4)
    for turn, rows in enumerate(batch.batches):
        assert rows == [row for row, solution in enumerate(solutions) if solution.evaluations > turn]
    assert len(batch.batches) == max(solution.evaluations for solution in solutions)


@both_rows
def test_a_batch_of_one_row(solver: str) -> None:
    batch = Batch(lambda row: mixed_row(2, torch.float64))
    (solution,) = ROW_SOLVERS[solver](batch, MIXED[2].start[None], max_evaluations=30, lower_bound=0.0)
    alone, _ = measured(mixed_row(2, torch.float64), MIXED[2].start, solver, max_evaluations=30, lower_bound=0.0)
    assert_same(solution, alone)
    assert batch.batches == [[0]] * 30


@both_rows
@pytest.mark.parametrize("status", ["time", "cancelled"])
def test_stop_ends_every_unfinished_row_at_its_best_so_far(solver: str, status: str) -> None:
    """Stopped before the second evaluation, the third, …; after the last, `stop` is not called."""
    start = torch.stack([p.start for p in MIXED[:6]])
    for moment in range(1, 30):
        batch, turns = Batch(lambda row: mixed_row(row, torch.float64)), count(1)
        solutions = ROW_SOLVERS[solver](
            batch, start, max_evaluations=12,
            stop=lambda turns=turns, moment=moment: status if next(turns) == moment else None,
        )  # fmt: skip
        for row, solution in enumerate(solutions):
            values = batch.values[row]
            assert solution.evaluations == len(values)
            assert solution.value == (values[-1] if solution.done else min(v for v in values if math.isfinite(v)))
            assert torch.equal(solution.payload[1], solution.x)
            if solver == "lbfgs":
                stopped = solution.status == status
                assert solution.evaluations == moment if stopped else solution.evaluations <= min(moment, 12)
        total = sum(solution.evaluations for solution in solutions)
        statuses = [solution.status for solution in solutions]
        if solver == "lbfgs":
            assert len(batch.batches) == min(moment, 12)
            assert (status in statuses) == (moment < 12)
        elif status in statuses:  # rows run one after the other: those not yet started get their first evaluation only
            row = statuses.index(status)
            assert all(solution.evaluations == 1 for solution in solutions[row + 1 :])
            assert total == moment + len(solutions) - 1


@both_rows
def test_the_row_whose_start_is_not_finite_is_named(solver: str) -> None:
    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        values = torch.where(torch.tensor([row == 2 for row in rows]), torch.nan, x.square().sum(1))
        return RowEvaluations(values, 2 * x, [False] * len(rows), [None] * len(rows))

    with pytest.raises(NonFiniteError, match="row 2"):
        ROW_SOLVERS[solver](evaluate, torch.ones(4, 3))


@both_rows
def test_what_a_batch_raises_passes_through(solver: str) -> None:
    error, calls = StopIteration("mine"), count(1)

    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        if next(calls) == 3:
            raise error
        return RowEvaluations(x.square().sum(1), 2 * SPREAD[:3] * x, [False] * len(rows), [None] * len(rows))

    with pytest.raises(StopIteration) as caught:
        ROW_SOLVERS[solver](evaluate, torch.ones(2, 3, dtype=torch.float64))
    assert caught.value is error


def objective_with(**parts: object) -> RowsObjective:
    """An objective |x|² with some parts of its RowEvaluations replaced by functions of x."""

    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        right = {"value": x.square().sum(1), "gradient": 2 * x, "done": [False] * len(x), "payloads": [None] * len(x)}
        return RowEvaluations(**{name: parts[name](x) if name in parts else right[name] for name in right})

    return evaluate


@both_rows
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"value": lambda x: x.square().sum()}, "value"),
        ({"value": lambda x: x.square().sum(1, keepdim=True)}, "value"),
        ({"gradient": lambda x: x[:, 1:]}, "gradient"),
        ({"gradient": lambda x: x.flatten()}, "gradient"),
        ({"gradient": lambda x: None}, "gradient"),
        ({"gradient": lambda x: None, "done": lambda x: [False] + [True] * (len(x) - 1)}, "gradient"),
        ({"done": lambda x: [False] * (len(x) + 1)}, "done"),
        ({"payloads": lambda x: []}, "payloads"),
    ],
)
def test_evaluations_without_a_row_for_each_row_are_an_error(
    solver: str, wrong: dict[str, Callable[[Tensor], object]], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        ROW_SOLVERS[solver](objective_with(**wrong), torch.ones(3, 4))


@both_rows
def test_no_gradient_is_needed_where_every_row_is_done(solver: str) -> None:
    solutions = ROW_SOLVERS[solver](
        objective_with(gradient=lambda x: None, done=lambda x: [True] * len(x)), torch.arange(6.0).reshape(3, 2)
    )
    assert [(s.status, s.value) for s in solutions] == [("done", 1.0), ("done", 13.0), ("done", 41.0)]


@both_rows
@pytest.mark.parametrize(
    "start", [torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(3), torch.zeros(2, 3, 1), torch.zeros(2, 3).half()]
)
def test_the_start_of_a_batch_is_checked(solver: str, start: Tensor) -> None:
    with pytest.raises(OptionError, match=r"\(B, n\)"):
        ROW_SOLVERS[solver](objective_with(), start)
