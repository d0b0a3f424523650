"""What a minimisation costs beside its evaluations: vectors and payloads in memory, and transfers to the host."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from interactify.optim import ROW_SOLVERS, Evaluation, RowEvaluations, lbfgs
from tests.fixtures.objectives import SOLVERS, SPREAD, VALLEY, differentiable, rosenbrock


@pytest.mark.parametrize("solver", list(SOLVERS))
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


@pytest.mark.parametrize("solver", list(ROW_SOLVERS))
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


class Transfers(TorchFunctionMode):
    """Records the calls that make the host wait for the device."""

    NAMES = frozenset(
        ("tolist", "item", "numpy", "cpu", "nonzero", "equal", "allclose", "is_nonzero", "__bool__", "__float__",
         "__int__", "__index__", "__array__")
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if (name := getattr(func, "__name__", "")) in self.NAMES:
            self.calls.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [1, 5])
def test_one_transfer_to_the_host_for_each_round(rows: int) -> None:
    """For any number of rows, even where their line searches need different numbers of trials."""
    start = torch.stack([VALLEY * (1.0 + 0.3 * row) for row in range(rows)])
    batch_sizes: list[int] = []

    def evaluate(x: Tensor, which: Sequence[int]) -> RowEvaluations:
        batch_sizes.append(len(which))
        with torch.enable_grad():
            variables = x.detach().requires_grad_()
            values = torch.stack([rosenbrock(2).energy(row) for row in variables])
            (gradient,) = torch.autograd.grad(values.sum(), variables)
        return RowEvaluations(values.detach(), gradient, [False] * len(which), [None] * len(which))

    with Transfers() as transfers:
        solutions = lbfgs.minimise_rows(evaluate, start, max_evaluations=25)
    assert transfers.calls == ["tolist"] * 25 and batch_sizes == [rows] * 25
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


def vectors_alive(n: int, beside: Sequence[Tensor]) -> int:
    """How much memory tensors hold that are alive and not frozen, in float64 vectors of n; `beside` don't count."""
    found = [t for t in gc.get_objects() if type(t) is Tensor and t.layout == torch.strided]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}
    for each in beside:
        storages.pop(each.untyped_storage().data_ptr(), None)
    return round(sum(storages.values()) / (8 * n))


def held_at_each_evaluation(
    start: Tensor, done: Sequence[int] = (), turn: int = 1, lower_bound: float | None = 0.0
) -> list[int]:
    """New vectors that are alive at each evaluation; the rows in `done` are done at evaluation `turn`."""
    held: list[int] = []
    n = start.shape[1]
    curvatures = torch.linspace(1.0, 10.0, n, dtype=start.dtype)

    def evaluate(x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        held.append(vectors_alive(n, beside=(start, curvatures)))
        gradient = curvatures * x
        return RowEvaluations(
            0.5 * (gradient * x).sum(1), gradient,
            [row in done and len(held) == turn for row in rows], [None] * len(rows),
        )  # fmt: skip

    gc.collect()
    gc.freeze()  # what was there before is not looked at in each evaluation: it may be millions of objects
    try:
        lbfgs.minimise_rows(evaluate, start, max_evaluations=8, lower_bound=lower_bound)
    finally:
        gc.unfreeze()
    return held


def test_few_vectors_are_held_and_more_only_as_steps_are_remembered() -> None:
    """First the point; then four: point, gradient, direction, trial. Each remembered step adds two; slots double."""
    held = held_at_each_evaluation(torch.full((1, 4000), -0.3, dtype=torch.float64))
    assert held[:4] == [1, 4, 6, 8]
    assert max(held) <= 4 + 2 * 8


def test_a_higher_trial_is_freed_before_the_next() -> None:
    """A first step of length one overshoots; the second trial finds as many vectors, plus the pair's slot."""
    assert held_at_each_evaluation(torch.full((1, 4000), 1e-4, dtype=torch.float64), lower_bound=None)[:3] == [1, 4, 6]


@pytest.mark.parametrize("turn", [pytest.param(1, marks=pytest.mark.slow), 2, 4])
def test_finished_rows_leave_only_their_result(turn: int) -> None:
    start = torch.linspace(-0.5, -0.3, 4, dtype=torch.float64)[:, None].repeat(1, 4000)
    alone = held_at_each_evaluation(start[:1])
    together = held_at_each_evaluation(start, done=[1, 2, 3], turn=turn)
    assert together[:turn] == [4 * vectors + 4 for vectors in alone[:turn]]  # the points, and the batch of them
    assert together[turn:] == [vectors + 3 for vectors in alone[turn:]]
