"""The functional core alone: any callable, any pixels and labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from interactify import brs
from interactify.brs.energy import ENERGIES, Margin, Settling, energy_named, goal_at
from interactify.brs.objective import squares
from interactify.errors import InteractifyError, InteractionError, ModelError, NonFiniteError, OptionError
from tests.fixtures import networks

SOLVERS = ["lbfgs", "scipy"]
POINTS = torch.tensor([[2.0, 3.0], [0.0, 0.0], [9.0, 7.0], [4.5, 5.25]])
LABELS = torch.tensor([True, False, True, False])
WEIGHT = networks.random_tensor(1, 1, 3, 3, seed=4, dtype=torch.float64)
PICTURE = networks.random_tensor(1, 1, 8, 10, seed=5, dtype=torch.float64)


def blurred(values: Tensor) -> Tensor:
    """A small smooth "network" of an (8, 10) field."""
    return torch.nn.functional.conv2d(torch.tanh(PICTURE.to(values) + values), WEIGHT.to(values), padding=1) * 3


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.zeros(1, 1, 8, 10, dtype=dtype)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("energy", list(ENERGIES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_logits_and_energy_belong_together(solver: str, energy: str, dtype: torch.dtype) -> None:
    for budget in (1, 2, 3, 5, 40):
        found = brs.refine(blurred, start(dtype), POINTS, LABELS, energy=energy, solver=solver, max_evaluations=budget)
        assert found.values.dtype == dtype and found.values.shape == (1, 1, 8, 10)
        assert 1 <= found.evaluations <= budget
        assert not found.logits.requires_grad and not found.values.requires_grad
        # Recomputed from scratch at the values returned:
        logits = blurred(found.values)
        assert torch.equal(logits, found.logits)
        chosen = energy_named(energy)
        clicked = squares(logits, POINTS.double(), chosen.square)(logits)[0, 0].view(len(POINTS), -1)
        total = chosen.corrective(clicked, LABELS) + chosen.inertia * found.values.square().sum()
        assert found.energy == pytest.approx(float(total), rel=1e-5)
        assert found.reached == bool(goal_at(chosen, found.evaluations).reached(clicked, LABELS))
        if found.reached:
            assert found.status == "done"
            at = squares(logits, POINTS.double(), 0)(logits)[0, 0]
            assert torch.equal(at > 0, LABELS)
    assert found.reached or energy == "fbrs", "40 evaluations are plenty here, save for whole squares of a noisy field"


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_worse_than_the_start(solver: str) -> None:
    first = brs.refine(blurred, start(), POINTS, LABELS, solver=solver, max_evaluations=1)
    energies = [
        brs.refine(blurred, start(), POINTS, LABELS, energy="brs", solver=solver, max_evaluations=n).energy
        for n in (1, 2, 4, 8)
    ]
    assert energies == sorted(energies, reverse=True)
    assert torch.equal(first.values, start())


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_start_is_neither_changed_nor_returned(solver: str) -> None:
    for where in (
        start(),
        torch.full((1, 1, 8, 10), 0.1, dtype=torch.float64),
        start().transpose(2, 3).contiguous().transpose(2, 3),
    ):
        copied = where.clone()
        found = brs.refine(blurred, where, POINTS, LABELS, solver=solver)
        assert torch.equal(where, copied) and not where.requires_grad
        found.values.add_(1)
        found = brs.refine(blurred, where, POINTS, LABELS, solver=solver, max_evaluations=1)
        found.values.add_(1)
        assert torch.equal(where, copied)
    leaf = start().requires_grad_(True)
    assert not brs.refine(blurred, leaf, POINTS, LABELS, solver=solver).values.requires_grad
    assert leaf.grad is None


@pytest.mark.parametrize("solver", SOLVERS)
def test_same_inputs_same_result(solver: str) -> None:
    one, two = (brs.refine(blurred, start(), POINTS, LABELS, solver=solver) for _ in range(2))
    assert torch.equal(one.values, two.values) and torch.equal(one.logits, two.logits)
    assert (one.energy, one.evaluations, one.status) == (two.energy, two.evaluations, two.status)


def test_both_solvers_reach_the_same_minimum() -> None:
    """Of an energy whose goal is out of reach, so that both solvers run until they converge."""
    far = Margin(margin=50.0, aim=51.0)
    found = [
        brs.refine(blurred, start(), POINTS, LABELS, energy=far, solver=solver, max_evaluations=300)
        for solver in SOLVERS
    ]
    assert not found[0].reached and found[0].energy == pytest.approx(found[1].energy, rel=1e-3)


def crowded(values: Tensor) -> Tensor:
    """Pixels that share most of what they read."""
    return torch.nn.functional.avg_pool2d(30 * torch.tanh(values), 5, 1, 2)


CROWD = torch.tensor([[4.0, 3.0], [5.0, 3.0], [6.0, 4.0], [3.0, 4.0]]), torch.tensor([True, False, True, True])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_margin_that_settles_ends_sooner_among_crowded_clicks(solver: str) -> None:
    whole, less, later = (
        brs.refine(crowded, start(), *CROWD, energy=energy, solver=solver)
        for energy in (Margin(), Settling(), Settling(patience=40))
    )
    assert 3 < less.evaluations < whole.evaluations and whole.reached and less.reached and less.status == "done"
    signed = torch.where(CROWD[1], 1, -1) * squares(less.logits, CROWD[0].double(), 0)(less.logits)[0, 0]
    assert Settling().enough <= float(signed.min()) < Margin().margin
    assert torch.equal(later.values, whole.values) and later.evaluations == whole.evaluations


def test_rows_settle_each_by_its_own_evaluations() -> None:
    """Each ends as it does alone, after six evaluations of its own."""

    def rows(values: Tensor, which: Any) -> Tensor:
        return torch.cat([crowded(one[None]) for one in values])

    starts = torch.stack([start()[0], start()[0] + 0.05 * networks.random_tensor(1, 8, 10, dtype=torch.float64)])
    energy = Settling(patience=5)
    together = brs.refine_rows(rows, starts, [CROWD[0]] * 2, [CROWD[1]] * 2, energy=energy, at_once=2)
    for each, begin in zip(together, starts, strict=True):
        alone = brs.refine(crowded, begin[None], *CROWD, energy=energy)
        assert (each.evaluations, each.reached) == (alone.evaluations, alone.reached) == (6, True)
        assert torch.allclose(each.values, alone.values)


@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start(solver: str) -> None:
    """From the end of the last click, one evaluation shows that every click is satisfied already."""
    found = brs.refine(blurred, start(), POINTS, LABELS, solver=solver)
    again = brs.refine(blurred, found.values, POINTS, LABELS, solver=solver)
    assert again.reached and again.evaluations == 1
    assert torch.equal(again.values, found.values) and torch.equal(again.logits, found.logits)


def test_any_shape_of_variables() -> None:
    """Two numbers, a scalar, a matrix: any shape that the forward function takes."""
    rows = torch.arange(6.0)[:, None]

    def plane(v: Tensor) -> Tensor:
        return v[0] * rows + v[1] * torch.arange(5.0) - 1  # (h, w)

    found = brs.refine(plane, torch.zeros(2), torch.tensor([[4.0, 5.0], [0.0, 5.0]]), torch.tensor([True, False]))
    assert found.reached and found.values.shape == (2,) and found.logits.shape == (1, 1, 6, 5)
    assert found.values[1] > 0 > found.values[0] - 0.5

    level = brs.refine(lambda v: v + torch.zeros(4, 4), torch.zeros(()), torch.tensor([[1, 1]]), torch.tensor([False]))
    assert level.reached and float(level.values) <= -3


def test_labels_and_points_of_other_types() -> None:
    reference = brs.refine(blurred, start(), POINTS, LABELS)
    for points, labels in (
        (POINTS.tolist(), LABELS.tolist()),
        (POINTS.numpy(), LABELS.numpy()),
        (POINTS.double(), LABELS.int()),
    ):
        assert torch.equal(brs.refine(blurred, start(), points, labels).values, reference.values)  # type: ignore[arg-type]


def test_points_between_pixels_are_interpolated() -> None:
    """A click half-way between four pixels moves all four."""
    found = brs.refine(lambda v: v - 1, torch.zeros(4, 4), torch.tensor([[1.5, 2.5]]), torch.tensor([True]))
    moved = found.values != 0
    assert {(int(y), int(x)) for y, x in torch.nonzero(moved)} == {(2, 1), (2, 2), (3, 1), (3, 2)}


@pytest.mark.parametrize("x, y", [(0, 0), (3, 0), (0, 5), (3, 5), (-0.5, -0.5), (3.49, 5.49)])
@pytest.mark.parametrize("energy", list(ENERGIES))
def test_points_on_the_border_count(x: float, y: float, energy: str) -> None:
    found = brs.refine(lambda v: v - 1, torch.zeros(6, 4), torch.tensor([[x, y]]), torch.tensor([True]), energy=energy)
    column, row = round(min(max(x, 0), 3)), round(min(max(y, 0), 5))
    assert found.reached and float(found.logits[0, 0, row, column]) > 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_inertia_by_hand(solver: str) -> None:
    """Two opposite clicks on one pixel: (4 − (v − 1))² + (4 + (v − 1))² + λ·c·v² is least at v = 2 / (2 + λ·c)."""
    for stiffness in (0.0, 1e3, 4e3):
        found = brs.refine(
            lambda v: v - 1, torch.zeros(4, 4, dtype=torch.float64), [[1, 1], [1, 1]], [True, False],  # type: ignore[arg-type]
            inertia=lambda v, c=stiffness: c * v.square().sum(), solver=solver, max_evaluations=60,
        )  # fmt: skip
        assert not found.reached
        assert float(found.values[1, 1]) == pytest.approx(2 / (2 + 1e-3 * stiffness), rel=1e-4)
        assert int((found.values != 0).sum()) == 1


def test_gradients_may_be_switched_off_around_it() -> None:
    reference = brs.refine(blurred, start(), POINTS, LABELS)
    with torch.no_grad():
        assert torch.equal(brs.refine(blurred, start(), POINTS, LABELS).values, reference.values)


def test_inference_mode_around_it() -> None:
    with torch.inference_mode():
        assert brs.refine(lambda v: v - 1, torch.zeros(4, 4), torch.tensor([[1.0, 1.0]]), torch.tensor([True])).reached


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([], []),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool)),
        ([1.0, 2.0], [True]),
        ([[1.0, 2.0, 3.0]], [True]),
        ([[1.0, 2.0]], [True, False]),
        ([[1.0, 2.0]], True),
        ([[float("nan"), 2.0]], [True]),
        ([[float("inf"), 2.0]], [True]),
        ([[-1.0, 2.0]], [True]),
        ([[1.0, 8.0]], [True]),
        ([[10.0, 2.0]], [True]),
        ([[9.5, 2.0]], [True]),
        (None, [True]),
        ([[1.0, 2.0]], None),
        ("points", [True]),
        ([["a", "b"]], [True]),
        ([[1.0, 2.0], [1.0]], [True, True]),
    ],
    ids=str,
)
def test_invalid_points_and_labels(points: Any, labels: Any) -> None:
    with pytest.raises(InteractionError):
        brs.refine(blurred, start(), points, labels)


@pytest.mark.parametrize(
    "options",
    [{"energy": "nothing"}, {"solver": "newton"}, {"solver": None}, {"max_evaluations": 0}, {"max_evaluations": 1.5}],
    ids=str,
)
def test_unknown_options(options: dict[str, Any]) -> None:
    calls = []

    def counted(values: Tensor) -> Tensor:
        calls.append(1)
        return blurred(values)

    with pytest.raises(OptionError):
        brs.refine(counted, start(), POINTS, LABELS, **options)
    assert not calls, "errors come before any work"


@pytest.mark.parametrize(
    "wrong", [None, 0.0, [0.0], torch.zeros(3, dtype=torch.int64), torch.zeros(3).half(), torch.zeros(0)]
)
def test_an_invalid_start(wrong: Any) -> None:
    with pytest.raises(OptionError):
        brs.refine(blurred, wrong, POINTS, LABELS)


@pytest.mark.parametrize(
    "forward",
    [
        lambda v: v[0],
        lambda v: v.expand(2, 1, 8, 10),
        lambda v: v.expand(1, 2, 8, 10),
        lambda v: v.sum(),
        lambda v: None,
        lambda v: [v],
        lambda v: v.detach().numpy(),
    ],
)
def test_logits_of_another_shape(forward: Any) -> None:
    with pytest.raises(ModelError, match="logits"):
        brs.refine(forward, start(), POINTS, LABELS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("position", [(3, 2), (7, 0)], ids=["clicked", "elsewhere"])
def test_logits_that_are_not_finite(bad: float, solver: str, position: tuple[int, int]) -> None:
    hole = torch.zeros(1, 1, 8, 10, dtype=torch.float64)
    hole[..., position[0], position[1]] = bad
    with pytest.raises(NonFiniteError):
        brs.refine(lambda v: blurred(v) + hole, start(), POINTS, LABELS, solver=solver)


@pytest.mark.parametrize("solver", SOLVERS)
def test_logits_that_stop_being_finite_on_the_way(solver: str) -> None:
    def fragile(values: Tensor) -> Tensor:
        return blurred(values) + torch.where(values.abs().max() > 1e-3, float("nan"), 0.0)

    result = brs.refine(fragile, start(), POINTS, LABELS, solver=solver)
    assert torch.isfinite(result.logits).all() and not result.reached
    assert result.energy <= brs.refine(fragile, start(), POINTS, LABELS, max_evaluations=1).energy


def test_a_step_too_far_is_shortened() -> None:
    """A network that overflows far from its start, and not where the click is satisfied."""

    def overflowing(values: Tensor) -> Tensor:
        return blurred(values) * torch.where(values.abs().max() > 1.5 * needed, torch.inf, 1.0)

    free = brs.refine(blurred, start(), POINTS, LABELS)
    needed = float(free.values.abs().max())
    result = brs.refine(overflowing, start(), POINTS, LABELS)
    assert result.reached and torch.isfinite(result.logits).all()


def test_a_gradient_that_is_not_finite() -> None:
    """Finite logits, but a square root at zero: its slope is infinite."""

    def rooted(values: Tensor) -> Tensor:
        return values.abs().sqrt() - 1

    with pytest.raises(NonFiniteError):
        brs.refine(rooted, start(), POINTS, LABELS)


def test_opposite_infinities_do_not_hide_one_another() -> None:
    hole = torch.zeros(1, 1, 8, 10, dtype=torch.float64)
    hole[..., 7, 0], hole[..., 7, 1] = float("inf"), float("-inf")
    with pytest.raises(NonFiniteError):
        brs.refine(lambda v: blurred(v) + hole, start(), POINTS, LABELS)


def test_half_precision_logits_of_a_large_map_are_finite() -> None:
    """Their sum would not be: 512 · 512 ones are more than float16 can hold."""
    found = brs.refine(
        lambda v: (torch.ones(512, 512) + v).half(), torch.zeros(()), torch.tensor([[5.0, 5.0]]), torch.tensor([True])
    )
    assert found.reached


@pytest.mark.parametrize(
    "forward",
    [lambda v: blurred(v.detach()), lambda v: PICTURE, lambda v: torch.from_numpy(blurred(v).detach().numpy())],
)
def test_logits_that_do_not_depend_on_the_variables(forward: Any) -> None:
    with pytest.raises(ModelError, match="do not depend"):
        brs.refine(forward, start(), POINTS, LABELS)


@pytest.mark.parametrize("inertia", [None, lambda v: v.new_zeros(())], ids=["usual", "none of it"])
def test_logits_that_depend_on_something_else(inertia: Any) -> None:
    """They require a gradient, but only in the network's own weights."""
    weight = PICTURE.clone().requires_grad_(True)
    with pytest.raises(ModelError, match="do not depend"):
        brs.refine(lambda v: weight * 2, start(), POINTS, LABELS, inertia=inertia)


def test_what_forward_raises_passes_through_or_is_ours() -> None:
    def broken(values: Tensor) -> Tensor:
        raise ZeroDivisionError("the caller's own")

    with pytest.raises((ZeroDivisionError, InteractifyError)):
        brs.refine(broken, start(), POINTS, LABELS)
