"""Points with weights, points that are not required, and points in several maps: energies computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interactify import brs
from interactify.brs.energy import ENERGIES, energy_named
from interactify.brs.objective import PointTargets, RowsEnergy
from interactify.errors import InteractionError, ModelError
from tests.fixtures import networks

POINTS = torch.tensor([[2.0, 3.0], [0.0, 0.0], [9.0, 7.0], [4.0, 5.0]])
LABELS = torch.tensor([True, False, True, False])
WEIGHTS = torch.tensor([1.0, 0.25, 3.0, 0.5], dtype=torch.float64)
MAPS = torch.tensor([0, 1, 1, 2])
WEIGHT = networks.random_tensor(3, 1, 3, 3, seed=4, dtype=torch.float64)
PICTURE = networks.random_tensor(1, 1, 8, 10, seed=5, dtype=torch.float64)


def three(values: Tensor) -> Tensor:
    """A small smooth "network" of an (8, 10) field, (1, 3, 8, 10)."""
    return torch.nn.functional.conv2d(torch.tanh(PICTURE.to(values) + values), WEIGHT.to(values), padding=1) * 3


def first(values: Tensor) -> Tensor:
    return three(values)[:, :1]


def start(*rows: int) -> Tensor:
    return torch.zeros(*rows, 1, 1, 8, 10, dtype=torch.float64)


def by_hand(name: str, logits: np.ndarray, values: np.ndarray, weights: np.ndarray, maps: np.ndarray) -> float:
    """E of the points, one after the other, with the formulas of the papers."""
    total, sums = 0.0, {True: [0.0, 0.0], False: [0.0, 0.0]}
    for (x, y), label, weight, k in zip(POINTS.int().tolist(), LABELS.tolist(), weights, maps, strict=True):
        sign = 1 if label else -1
        if name in ("margin", "settling"):
            total += weight * max(0.0, 4 - sign * logits[k, y, x]) ** 2
        elif name == "brs":
            total += weight * (label - 1 / (1 + np.exp(-logits[k, y, x]))) ** 2
        else:
            rows, columns = (np.clip(np.arange(c - 1, c + 2), 0, side - 1) for c, side in ((y, 8), (x, 10)))
            square = [(label - 1 / (1 + np.exp(-logits[k, r, c]))) ** 2 for r in rows for c in columns]
            sums[label][0] += weight * np.mean(square)
            sums[label][1] += weight
    total += sum(most / share for most, share in sums.values() if share)
    return total + 1e-3 * float((values**2).sum())


@pytest.mark.parametrize("name", list(ENERGIES))
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_the_energy_and_its_gradient(name: str, weighted: bool, several: bool) -> None:
    maps = MAPS if several else torch.zeros(4, dtype=torch.int64)
    target = PointTargets(POINTS.double(), LABELS, WEIGHTS if weighted else None, maps=MAPS if several else None)
    forward = three if several else first
    objective = RowsEnergy(
        lambda v, rows: forward(v[0]), start(), [target], energy_named(name), lambda v: v.square().sum(), 1
    )
    at = networks.random_tensor(1, 80, seed=8, dtype=torch.float64) * 0.3
    weights = WEIGHTS.numpy() if weighted else np.ones(4)

    def energy(x: Tensor) -> float:
        return by_hand(name, three(x.view(1, 1, 8, 10))[0].numpy(), x.numpy(), weights, maps.numpy())

    found = objective(at, [0])
    assert float(found.value) == pytest.approx(energy(at), rel=1e-12)
    assert found.gradient is not None
    for index in range(0, 80, 3):
        step = torch.zeros(1, 80, dtype=torch.float64)
        step[0, index] = 1e-5
        slope = (energy(at + step) - energy(at - step)) / 2e-5
        assert float(found.gradient[0, index]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_opposite_points_of_unlike_weights(solver: str) -> None:
    """w₁·(4 − z)² + w₂·(4 + z)² + λ·v² with z = v − 1 is least at v = (w₁·5 − w₂·3) / (w₁ + w₂ + λ)."""
    for weights in ([1.0, 1.0], [3.0, 1.0], [0.5, 2.0]):
        found = brs.refine(
            lambda v: v - 1, torch.zeros(4, 4, dtype=torch.float64), torch.tensor([[1.0, 1.0]] * 2),
            torch.tensor([True, False]), solver=solver, max_evaluations=60, weights=torch.tensor(weights),
        )  # fmt: skip
        expected = (weights[0] * 5 - weights[1] * 3) / (sum(weights) + 1e-3)
        assert float(found.values[1, 1]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", list(ENERGIES))
def test_weights_of_one_change_nothing(name: str) -> None:
    plain = brs.refine(first, start(), POINTS, LABELS, energy=name)
    ones = brs.refine(
        first, start(), POINTS, LABELS, energy=name, weights=torch.ones(4), required=torch.ones(4, dtype=torch.bool),
        maps=torch.zeros(4, dtype=torch.int64),
    )  # fmt: skip
    assert torch.allclose(plain.values, ones.values, atol=1e-9) and plain.evaluations == ones.evaluations


def test_points_that_are_not_required_count_and_do_not_delay_the_end() -> None:
    """Of two opposite points on one pixel, the required one is reached; alone, the other only needs its label."""
    points, labels = torch.tensor([[1.0, 1.0]] * 2), torch.tensor([True, False])
    both = brs.refine(
        lambda v: v - 1, torch.zeros(4, 4), points, labels, weights=torch.tensor([8.0, 1.0]),
        required=torch.tensor([True, False]),
    )  # fmt: skip
    neither = brs.refine(lambda v: v - 1, torch.zeros(4, 4), points, labels, weights=torch.tensor([8.0, 1.0]))
    assert both.reached == (float(both.logits[0, 0, 1, 1]) >= 3) and not neither.reached
    near = brs.refine(lambda v: v + 0.5, torch.zeros(4, 4), points[:1], labels[:1], required=torch.tensor([False]))
    assert near.reached and near.evaluations == 1, "its label is enough, short of the margin"
    far = brs.refine(lambda v: v - 0.5, torch.zeros(4, 4), points[:1], labels[:1], required=torch.tensor([False]))
    assert far.reached and float(far.logits[0, 0, 1, 1]) > 0


def test_points_in_several_maps() -> None:
    found = brs.refine(three, start(), POINTS, LABELS, maps=MAPS, max_evaluations=80)
    logits = three(found.values)
    assert torch.equal(logits, found.logits) and found.logits.shape == (1, 3, 8, 10) and found.reached
    for (x, y), label, k in zip(POINTS.int().tolist(), LABELS.tolist(), MAPS.tolist(), strict=True):
        assert float(logits[0, k, y, x]) * (1 if label else -1) >= 3


def test_more_maps_than_the_points_name_and_fewer() -> None:
    found = brs.refine(three, start(), POINTS, LABELS, maps=torch.tensor([0, 0, 0, 0]))
    assert torch.allclose(found.values, brs.refine(first, start(), POINTS, LABELS).values, atol=1e-9)
    for wrong in ({"maps": torch.tensor([0, 3, 0, 0])}, {}):
        with pytest.raises(ModelError, match="logits"):
            brs.refine(three, start(), POINTS, LABELS, **wrong)


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
@pytest.mark.parametrize("name", list(ENERGIES))
def test_rows_with_weights_are_each_refined_as_alone(solver: str, name: str) -> None:
    weights = [WEIGHTS, None, WEIGHTS.flip(0)]
    required = [None, torch.tensor([True, False, True, False]), torch.zeros(4, dtype=torch.bool)]
    starts = start(3) + torch.tensor([0.0, 0.1, -0.2], dtype=torch.float64).view(3, 1, 1, 1, 1)

    def forward(values: Tensor, rows: Any) -> Tensor:
        return torch.cat([first(one) for one in values])

    together = brs.refine_rows(
        forward, starts, [POINTS] * 3, [LABELS] * 3, energy=name, solver=solver, at_once=3, weights=weights,
        required=required,
    )  # fmt: skip
    for row, found in enumerate(together):
        alone = brs.refine(
            first, starts[row], POINTS, LABELS, energy=name, solver=solver, weights=weights[row],
            required=required[row],
        )  # fmt: skip
        assert torch.allclose(found.values, alone.values, atol=1e-9)
        assert (found.evaluations, found.status, found.reached) == (alone.evaluations, alone.status, alone.reached)
        assert found.energy == pytest.approx(alone.energy, rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": torch.tensor([1.0, 0, 1, 1])}, {"weights": torch.tensor([1.0, -1, 1, 1])},
        {"weights": torch.tensor([1.0, torch.nan, 1, 1])}, {"weights": torch.tensor([1.0, torch.inf, 1, 1])},
        {"weights": torch.ones(3)}, {"weights": "many"}, {"required": torch.ones(5, dtype=torch.bool)},
        {"required": True}, {"maps": torch.tensor([0, -1, 0, 0])}, {"maps": torch.zeros(4)}, {"maps": [0, 0]},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_weights_and_maps(wrong: dict[str, Any]) -> None:
    with pytest.raises(InteractionError):
        brs.refine(three, start(), POINTS, LABELS, **{"maps": MAPS, **wrong})
