"""The solvers: stopping, keeping the best point, and our own L-BFGS measured against SciPy's on the same energies."""

from __future__ import annotations

import gc
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import count, pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from interactify.errors import NonFiniteError, OptionError
from interactify.optim import ROW_SOLVERS, Evaluation, Objective, RowEvaluations, RowsObjective, Solution, lbfgs, scipy
from interactify.optim.best_so_far import BestSoFar
from interactify.optim.descent import search
from interactify.optim.history import History
from interactify.optim.line_search import Trial, Verdict, WolfeSearch
from interactify.optim.points import Point, measure

SOLVERS = {"lbfgs": lbfgs.minimise, "scipy": scipy.minimise}

# ---- the problems both solvers are measured on -----------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """An energy with its start; `lower_bound` where it is a sum of squares."""

    name: str
    energy: Callable[[Tensor], Tensor]
    start: Tensor
    lower_bound: float | None = None


def uniform(n: int, seed: int) -> Tensor:
    """(n,) in [-1, 1], float64, without touching the global random state."""
    return 2.0 * torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1.0


def quadratic(n: int, condition: float, seed: int = 0) -> Problem:
    """½ Σ cᵢ qᵢ(x)² with curvatures from 1 to `condition`, evenly in the logarithm, rotated; 0 at the minimum."""
    curvatures = torch.logspace(0, math.log10(condition), n, dtype=torch.float64)
    rotation = torch.linalg.qr(uniform(n * n, seed).reshape(n, n)).Q
    matrix, centre = rotation @ (curvatures[:, None] * rotation.T), uniform(n, seed + 1)
    return Problem(
        f"quadratic n={n} cond={condition:.0e}", lambda x: 0.5 * (x - centre) @ matrix @ (x - centre),
        torch.zeros(n, dtype=torch.float64), 0.0,
    )  # fmt: skip


def rosenbrock(n: int) -> Problem:
    """Rosenbrock's valley in n dimensions, from its classical start (-1.2, 1, -1.2, 1, …)."""
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat(n // 2)
    return Problem(
        f"rosenbrock n={n}",
        lambda x: (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum(), start, 0.0,
    )  # fmt: skip


def logistic_regression() -> Problem:
    """200 points in 30 dimensions with noisy labels and a small ridge; its minimum is well above 0."""
    points = uniform(200 * 30, 3).reshape(200, 30) * torch.logspace(0, 1.5, 30, dtype=torch.float64)
    labels = torch.sign(points @ uniform(30, 4) + 10.0 * uniform(200, 5))
    return Problem(
        "logistic regression", lambda w: nn.functional.softplus(-labels * (points @ w)).mean() + 1e-3 * w @ w,
        torch.zeros(30, dtype=torch.float64), 0.0,
    )  # fmt: skip


def small_network() -> nn.Sequential:
    """Three random convolutions, float64, with a receptive field of 13 pixels."""
    channels, generator = (3, 8, 8, 1), torch.Generator().manual_seed(7)
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(channels)):
        conv = nn.Conv2d(before, after, 5, padding=2, dtype=torch.float64)
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * (2.0 / (25 * before)) ** 0.5)
            conv.bias.zero_()
        layers += [conv] + [nn.ReLU()] * (i < 2)
    return nn.Sequential(*layers).requires_grad_(False)


@dataclass(frozen=True)
class Clicks:
    """BRS on a random network: an additive delta on a (3, 24, 24) picture, clicks that ask for the other label."""

    clicks: int
    margin: float | None  # None: squared error of the probability, as in BRS; else squared hinge on the logits
    weight: float = 1e-3
    seed: int = 11

    def objective(self, goal: bool = True) -> tuple[Objective, Tensor]:
        network, photo = small_network(), uniform(3 * 24 * 24, self.seed).reshape(1, 3, 24, 24)
        pixels = torch.randperm(24 * 24, generator=torch.Generator().manual_seed(self.seed))[: self.clicks]
        signs = -torch.sign(network(photo).flatten()[pixels])  # every click asks for the other label

        def evaluate(x: Tensor) -> Evaluation:
            with torch.enable_grad():
                delta = x.detach().requires_grad_()
                logits = network(photo + delta.view_as(photo))
                signed = signs * logits.flatten()[pixels]
                missing = torch.sigmoid(-signed) if self.margin is None else torch.relu(self.margin + 1.0 - signed)
                energy = (missing**2).sum() + self.weight * (delta**2).sum()
                (gradient,) = torch.autograd.grad(energy, delta)
            threshold = self.margin or 0.0
            done = goal and bool((signed > threshold).all())
            return Evaluation(energy.detach(), None if done else gradient, done, logits.detach())

        return evaluate, torch.zeros(3 * 24 * 24, dtype=torch.float64)


def differentiable(energy: Callable[[Tensor], Tensor]) -> Objective:
    def evaluate(x: Tensor) -> Evaluation:
        with torch.enable_grad():
            variables = x.detach().requires_grad_()
            value = energy(variables)
            (gradient,) = torch.autograd.grad(value, variables)
        return Evaluation(value.detach(), gradient, done=False, payload=x)

    return evaluate


class Recorded:
    """An objective that remembers every point it was asked for, as it was then, and every value it gave."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.points, self.copies, self.values = objective, [], [], []

    def __call__(self, x: Tensor) -> Evaluation:
        self.points.append(x)
        self.copies.append(x.clone())
        evaluation = self.objective(x)
        self.values.append(float(evaluation.value))
        return evaluation

    def until(self, value: float) -> float:
        """How many evaluations until a value as low as this was seen."""
        return next((i for i, seen in enumerate(self.values, start=1) if seen <= value), math.inf)


# ---- our own against SciPy's -----------------------------------------------------------------------------------------

PROBLEMS = [
    quadratic(2, 1e1), quadratic(10, 1e0), quadratic(10, 1e2), quadratic(50, 1e3), quadratic(100, 1e2),
    quadratic(100, 1e4), quadratic(300, 1e3), rosenbrock(2), rosenbrock(10), rosenbrock(100), logistic_regression(),
]  # fmt: skip


def measured(objective: Objective, start: Tensor, solver: str, **options: object) -> tuple[Solution, Recorded]:
    recorded = Recorded(objective)
    return SOLVERS[solver](recorded, start, **options), recorded


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_as_low_and_as_quick_as_scipy(problem: Problem) -> None:
    """Measured: evaluations to convergence 0.98 to 1.04 times SciPy's, to its value × 1.001 exactly or nearly equal."""
    objective = differentiable(problem.energy)
    theirs, their_run = measured(objective, problem.start, "scipy", max_evaluations=2000)
    ours, our_run = measured(objective, problem.start, "lbfgs", max_evaluations=2000)
    target = 1.001 * theirs.value + 1e-12 * max(1.0, their_run.values[0])
    assert theirs.status == "converged"
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


# ---- what holds for both ---------------------------------------------------------------------------------------------

both = pytest.mark.parametrize("solver", list(SOLVERS))


@both
def test_done_stops_at_once_and_keeps_that_point_though_it_is_not_the_lowest(solver: str) -> None:
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
def test_only_the_best_payload_is_held(solver: str) -> None:
    class Payload:
        pass

    alive: weakref.WeakSet[Payload] = weakref.WeakSet()
    most = 0

    def evaluate(x: Tensor) -> Evaluation:
        nonlocal most
        most = max(most, len(alive))
        plain = differentiable(rosenbrock(10).energy)(x)
        payload = Payload()
        alive.add(payload)
        return Evaluation(plain.value, plain.gradient, False, payload)

    SOLVERS[solver](evaluate, rosenbrock(10).start, max_evaluations=50)
    assert most == 1


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


# ---- several rows at once --------------------------------------------------------------------------------------------

N = 11  # odd, so that the rows of a batch begin at memory addresses of every kind
SPREAD = torch.linspace(0.1, 3.0, N, dtype=torch.float64)
VALLEY = torch.tensor([-1.2, 1.0] * 6, dtype=torch.float64)[:N]


def saturating(x: Tensor) -> Tensor:
    """A click's squared error where the sigmoid hardly has a slope left, as in BRS, and its inertia."""
    return torch.sigmoid(8.0 - SPREAD @ x) ** 2 + 1e-3 * x @ x


def walled(x: Tensor) -> Tensor:
    """No value where the first coordinate is 0.2 or more, as after a first step of length one."""
    return 1.0 - torch.log(1.0 - 5.0 * x[0]) - 5.0 * x[0] + 0.1 * (x**2).sum()


MIXED = [
    Problem("easy", quadratic(N, 1e0).energy, torch.zeros(N, dtype=torch.float64)),
    Problem("hard", quadratic(N, 1e4).energy, torch.zeros(N, dtype=torch.float64)),
    Problem("rosenbrock", rosenbrock(2).energy, VALLEY),
    Problem("saturating", saturating, torch.zeros(N, dtype=torch.float64)),
    Problem("done at once", lambda x: (x**2).sum(), uniform(N, 1)),
    Problem("done after a while", rosenbrock(2).energy, -VALLEY),
    Problem("stationary", lambda x: (x**2).sum() + 7.0, torch.zeros(N, dtype=torch.float64)),
    Problem("walled", walled, torch.tensor([-0.5] + [0.1] * (N - 1), dtype=torch.float64)),
    Problem("uphill", lambda x: -SPREAD @ x, torch.zeros(N, dtype=torch.float64)),
]  # fmt: skip


def mixed_row(row: int, dtype: torch.dtype) -> Objective:
    """The row's energy alone. "uphill" has a gradient of the wrong sign: no step along it is lower."""
    problem = MIXED[row]

    def evaluate(x: Tensor) -> Evaluation:
        plain = differentiable(problem.energy)(x.double())
        done = problem.name == "done at once" or (problem.name == "done after a while" and bool(plain.value < 8.0))
        assert plain.gradient is not None
        gradient = -plain.gradient if problem.name == "uphill" else plain.gradient
        return Evaluation(plain.value.to(dtype), gradient.to(dtype), done, ("payload", x.clone()))

    return evaluate


class Batch:
    """A batch's objective from its rows' own, so that what a row gives can't depend on the others."""

    def __init__(self, row_objective: Callable[[int], Objective]) -> None:
        self.row_objective = row_objective
        self.asked: list[list[int]] = []
        self.points: dict[int, list[Tensor]] = {}
        self.values: dict[int, list[float]] = {}

    def __call__(self, x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        self.asked.append(list(rows))
        # A copy: sums and products may differ in the last bit with the memory address that their vectors begin at.
        evaluations = [self.row_objective(row)(point.clone()) for row, point in zip(rows, x, strict=True)]
        for row, point, evaluation in zip(rows, x, evaluations, strict=True):
            self.points.setdefault(row, []).append(point.clone())
            self.values.setdefault(row, []).append(float(evaluation.value))
        return RowEvaluations(
            torch.stack([e.value for e in evaluations]),
            torch.stack([point * torch.nan if e.gradient is None else e.gradient
                         for point, e in zip(x, evaluations, strict=True)]),
            [e.done for e in evaluations], [e.payload for e in evaluations],
        )  # fmt: skip


def assert_same(batched: Solution, alone: Solution) -> None:
    for field in ("value", "done", "evaluations", "iterations", "status"):
        assert getattr(batched, field) == getattr(alone, field), field
    assert torch.equal(batched.x, alone.x) and batched.x.dtype == alone.x.dtype


both_rows = pytest.mark.parametrize("solver", list(ROW_SOLVERS))


@both_rows
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("budget", [1, 2, 5, 60])
def test_a_row_of_a_batch_is_solved_as_if_alone(solver: str, dtype: torch.dtype, budget: int) -> None:
    """To the last bit, where the rows of the objective are: every point it was asked for, and the result."""
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
    """Else the test above says little: each kind of end is there, and the wall was met."""
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


def test_finished_rows_are_never_asked_for_again_and_the_others_go_in_one_batch() -> None:
    batch, start = Batch(lambda row: mixed_row(row, torch.float64)), torch.stack([p.start for p in MIXED])
    solutions = ROW_SOLVERS["lbfgs"](batch, start, max_evaluations=60, memory=4)
    for turn, asked in enumerate(batch.asked):
        assert asked == [row for row, solution in enumerate(solutions) if solution.evaluations > turn]
    assert len(batch.asked) == max(solution.evaluations for solution in solutions)


@both_rows
def test_a_batch_of_one_row(solver: str) -> None:
    batch = Batch(lambda row: mixed_row(2, torch.float64))
    (solution,) = ROW_SOLVERS[solver](batch, MIXED[2].start[None], max_evaluations=30, lower_bound=0.0)
    alone, _ = measured(mixed_row(2, torch.float64), MIXED[2].start, solver, max_evaluations=30, lower_bound=0.0)
    assert_same(solution, alone)
    assert batch.asked == [[0]] * 30


@both_rows
@pytest.mark.parametrize("status", ["time", "cancelled"])
def test_stop_ends_every_unfinished_row_at_its_best_so_far(solver: str, status: str) -> None:
    """At each moment there is: before the second evaluation, the third, …, and after the last it is not asked."""
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
            assert len(batch.asked) == min(moment, 12)
            assert (status in statuses) == (moment < 12)
        elif status in statuses:  # rows one after the other: those not begun have their first evaluation only
            row = statuses.index(status)
            assert all(solution.evaluations == 1 for solution in solutions[row + 1 :])
            assert total == moment + len(solutions) - 1


@both
def test_stop_of_a_single_problem(solver: str) -> None:
    problem, asked = rosenbrock(10), count(1)
    solution, run = measured(
        differentiable(problem.energy), problem.start, solver, stop=lambda: "cancelled" if next(asked) == 4 else None
    )
    assert (solution.status, solution.evaluations, len(run.values)) == ("cancelled", 4, 4)
    assert solution.value == min(run.values)


@both
def test_stop_is_not_asked_where_nothing_is_left_to_evaluate(solver: str) -> None:
    def never() -> str | None:
        raise AssertionError("asked")

    start = torch.ones(3)
    SOLVERS[solver](lambda x: Evaluation(x.sum(), None, True), start, stop=never)
    SOLVERS[solver](lambda x: Evaluation(x.sum(), torch.ones(3), False), start, max_evaluations=1, stop=never)


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


def answer(**parts: object) -> RowsObjective:
    """An objective of |x|² with some part of its answer replaced by a function of x."""

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
def test_an_answer_without_a_row_for_each_row_is_an_error(
    solver: str, wrong: dict[str, Callable[[Tensor], object]], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        ROW_SOLVERS[solver](answer(**wrong), torch.ones(3, 4))


@both_rows
def test_no_gradient_is_needed_where_every_row_is_done(solver: str) -> None:
    solutions = ROW_SOLVERS[solver](
        answer(gradient=lambda x: None, done=lambda x: [True] * len(x)), torch.arange(6.0).reshape(3, 2)
    )
    assert [(s.status, s.value) for s in solutions] == [("done", 1.0), ("done", 13.0), ("done", 41.0)]


@both_rows
@pytest.mark.parametrize(
    "start", [torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(3), torch.zeros(2, 3, 1), torch.zeros(2, 3).half()]
)
def test_the_start_of_a_batch_is_checked(solver: str, start: Tensor) -> None:
    with pytest.raises(OptionError, match=r"\(B, n\)"):
        ROW_SOLVERS[solver](answer(), start)


@both_rows
def test_each_row_holds_its_best_payload_only(solver: str) -> None:
    class Payload:
        pass

    alive: weakref.WeakSet[Payload] = weakref.WeakSet()
    most = 0

    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        nonlocal most
        most = max(most, len(alive))
        plain = [differentiable(rosenbrock(2).energy)(point) for point in x]
        payloads = [Payload() for _ in rows]
        for payload in payloads:
            alive.add(payload)
        gradient = torch.stack([e.gradient for e in plain if e.gradient is not None])
        return RowEvaluations(torch.stack([e.value for e in plain]), gradient, [False] * len(rows), payloads)

    ROW_SOLVERS[solver](evaluate, torch.stack([VALLEY, -VALLEY, 0.5 * VALLEY]), max_evaluations=20)
    assert most == 3


# ---- what it costs ---------------------------------------------------------------------------------------------------


class Transfers(TorchFunctionMode):
    """Counts what would make the host wait for the device."""

    NAMES = frozenset(
        ("tolist", "item", "numpy", "cpu", "nonzero", "equal", "allclose", "is_nonzero", "__bool__", "__float__",
         "__int__", "__index__", "__array__")
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if (name := getattr(func, "__name__", "")) in self.NAMES:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [1, 5])
def test_one_transfer_to_the_host_for_each_round(rows: int) -> None:
    """However many rows, and though their line searches need different numbers of trials."""
    start = torch.stack([VALLEY * (1.0 + 0.3 * row) for row in range(rows)])
    asked: list[int] = []

    def evaluate(x: Tensor, which: Sequence[int]) -> RowEvaluations:
        asked.append(len(which))
        with torch.enable_grad():
            variables = x.detach().requires_grad_()
            values = torch.stack([rosenbrock(2).energy(row) for row in variables])
            (gradient,) = torch.autograd.grad(values.sum(), variables)
        return RowEvaluations(values.detach(), gradient, [False] * len(which), [None] * len(which))

    with Transfers() as transfers:
        solutions = lbfgs.minimise_rows(evaluate, start, max_evaluations=25)
    assert transfers.seen == ["tolist"] * 25 and asked == [rows] * 25
    assert any(solution.iterations < 24 for solution in solutions), "no line search took a second trial"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: it reports its synchronisations")
@pytest.mark.parametrize("rows", [1, 5])
def test_one_synchronisation_with_the_device_for_each_round(rows: int) -> None:
    start = torch.stack([VALLEY * (1.0 + 0.3 * row) for row in range(rows)]).cuda()

    def evaluate(x: Tensor, which: Sequence[int]) -> RowEvaluations:
        values = (x.square() * SPREAD_ON_DEVICE).square().sum(1)
        return RowEvaluations(
            values, 4.0 * SPREAD_ON_DEVICE**2 * x**3, [False] * len(which), [None] * len(which)
        )  # fmt: skip

    SPREAD_ON_DEVICE = SPREAD.cuda()
    lbfgs.minimise_rows(evaluate, start, max_evaluations=10)  # libraries are loaded at the first use
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            solutions = lbfgs.minimise_rows(evaluate, start, max_evaluations=10)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    synchronisations = [warning for warning in caught if "called a synchronizing" in str(warning.message)]
    assert len(synchronisations) == max(solution.evaluations for solution in solutions)


def vectors_alive(n: int) -> int:
    """How much memory tensors hold, in float64 vectors of n."""
    found = [
        t for t in gc.get_objects() if type(t) is Tensor and t.layout == torch.strided
    ]  # other tests left the rest
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}
    return round(sum(storages.values()) / (8 * n))


def held_at_each_evaluation(
    start: Tensor, done: Sequence[int] = (), turn: int = 1, lower_bound: float | None = 0.0
) -> list[int]:
    """Vectors alive whenever the objective is asked, besides those before; `done` are the rows done at this turn."""
    held: list[int] = []
    n = start.shape[1]
    curvatures = torch.linspace(1.0, 10.0, n, dtype=start.dtype)

    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        held.append(vectors_alive(n) - before)
        gradient = curvatures * x
        return RowEvaluations(
            0.5 * (gradient * x).sum(1), gradient,
            [row in done and len(held) == turn for row in rows], [None] * len(rows),
        )  # fmt: skip

    gc.collect()
    before = vectors_alive(n)
    lbfgs.minimise_rows(evaluate, start, max_evaluations=8, lower_bound=lower_bound)
    return held


def test_few_vectors_are_held_and_more_only_as_steps_are_remembered() -> None:
    """The point, then with its gradient, the direction and the trial four; two for each remembered step, doubling."""
    held = held_at_each_evaluation(torch.full((1, 4000), -0.3, dtype=torch.float64))
    assert held[:4] == [1, 4, 6, 8]
    assert max(held) <= 4 + 2 * 8


def test_a_trial_that_is_higher_is_let_go_before_the_next() -> None:
    """A first step of length one overshoots by far: the second trial finds what the first did, and the pair's slot."""
    assert held_at_each_evaluation(torch.full((1, 4000), 1e-4, dtype=torch.float64), lower_bound=None)[:3] == [1, 4, 6]


@pytest.mark.parametrize("turn", [1, 2, 4])
def test_finished_rows_leave_only_their_result(turn: int) -> None:
    start = torch.linspace(-0.5, -0.3, 4, dtype=torch.float64)[:, None].repeat(1, 4000)
    alone = held_at_each_evaluation(start[:1])
    together = held_at_each_evaluation(start, done=[1, 2, 3], turn=turn)
    assert together[:turn] == [4 * vectors + 4 for vectors in alone[:turn]]  # the points, and the batch of them
    assert together[turn:] == [vectors + 3 for vectors in alone[turn:]]


# ---- the parts -------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("step", "last"), [(1.0, True), (0.1, False), (7.0, False)])
def test_the_pair_of_a_step_is_that_of_the_trial_it_settled_on(step: float, last: bool) -> None:
    """Often not the last one, which has written a pair too. In one dimension the direction is the secant method's."""
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


def quintic(t: float) -> Trial:
    s = t + 0.004
    return Trial(t, s**5 - 2 * s**4, 5 * s**4 - 8 * s**3)
