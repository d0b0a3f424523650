"""Holding the mask before: its energy by hand and by finite differences, and what it keeps clicks from doing."""

import pytest
import torch

from interactify import brs
from interactify.brs import solving
from interactify.errors import InteractionError, OptionError


def test_the_energy_by_hand():
    held = brs.Held(torch.tensor([[0.5, 1.0, 0.2]]), torch.tensor([[2.0, 0.0, 3.0]]))
    logits = torch.tensor([[[torch.inf, -3.0, 0.0]]])
    assert held.energy(logits).item() == pytest.approx(2 * 0.5**2 + 3 * 0.3**2)


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    probability, weights, logits = (torch.rand(5, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    held = brs.Held(probability, weights)
    logits = (4 * logits - 2)[None].requires_grad_(True)
    assert torch.autograd.gradcheck(held.energy, (logits,))


def test_only_the_first_map_is_held():
    held = brs.Held(torch.full((2, 2), 0.5), torch.ones(2, 2))
    logits = torch.zeros(3, 2, 2)
    assert held.energy(logits) == held.energy(torch.cat([logits[:1], logits[1:] + 9]))


def flooding(values):
    """A map that one number raises, its right half by half as much."""
    return values[0] * torch.tensor([1.0] * 4 + [0.5] * 4) - 2 + torch.zeros(1, 1, 4, 8)


START = torch.zeros(1)
CLICK = torch.tensor([[1.0, 1.0]]), torch.tensor([True])
RIGHT_HALF = torch.tensor([0.0] * 4 + [1.0] * 4).expand(4, 8)


def holding(weight, tolerance=4.0):
    return brs.Held(torch.sigmoid(flooding(START))[0, 0], weight * RIGHT_HALF, tolerance)


def test_a_held_half_is_not_flooded_where_a_shorter_way_satisfies_the_click():
    free = brs.refine(flooding, START, *CLICK)
    assert free.reached
    assert bool((free.logits > 0).all())
    held = brs.refine(flooding, START, *CLICK, held=holding(3))
    assert held.status == "held"
    assert held.evaluations <= free.evaluations + 3
    assert bool((held.logits[..., :4] > 0).all())
    assert bool((held.logits[..., 4:] < 0).all())
    assert torch.equal(held.logits, flooding(held.values))
    error = torch.relu(4 - held.logits[0, 0, 1, 1]).square() + 1e-3 * held.values.square().sum()
    assert held.energy == pytest.approx(float(error + holding(3).energy(held.logits[0])))


def test_what_is_held_gives_way_to_a_click_that_does_not_get_its_label(monkeypatch):
    monkeypatch.setattr(solving, "HOLDING", 1)  # as if twelve evaluations had not been enough
    free = brs.refine(flooding, START, *CLICK)
    found = brs.refine(flooding, START, *CLICK, held=holding(3))
    assert found.reached and torch.equal(found.values, free.values)
    assert found.evaluations == 1 + free.evaluations
    rows = brs.refine_rows(
        lambda values, rows: torch.cat([flooding(each) for each in values]),
        torch.zeros(2, 1),
        *([each] * 2 for each in CLICK),
        held=[None, holding(3)],
    )
    assert torch.equal(rows[1].values, found.values) and rows[1].evaluations == found.evaluations
    stopped = brs.refine(flooding, START, *CLICK, held=holding(3), stop=lambda: "time")
    assert stopped.status == "time" and stopped.evaluations == 1 and torch.equal(stopped.values, START)


def test_little_that_changes_costs_no_evaluation():
    free = brs.refine(flooding, START, *CLICK)
    assert brs.refine(flooding, START, *CLICK, held=holding(1e-4)).evaluations == free.evaluations


def test_shorter_ways_stay_within_the_evaluations_and_stop_when_asked():
    free = brs.refine(flooding, START, *CLICK)
    held = brs.refine(flooding, START, *CLICK, held=holding(3), max_evaluations=free.evaluations)
    assert torch.equal(held.values, free.values)
    calls = []

    def stop():
        calls.append(0)
        return "cancelled" if len(calls) >= free.evaluations else None

    stopped = brs.refine(flooding, START, *CLICK, held=holding(3), stop=stop)
    assert torch.equal(stopped.values, free.values)
    assert stopped.status == "cancelled"


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_rows_hold_what_each_of_them_would_alone(solver):
    held = [None, holding(3)]

    def forward(values, rows):
        return torch.cat([flooding(each) for each in values])

    points, labels = ([each] * 2 for each in CLICK)
    together = brs.refine_rows(forward, torch.zeros(2, 1), points, labels, held=held, at_once=2, solver=solver)
    for row, each in enumerate(held):
        alone = brs.refine(flooding, START, *CLICK, held=each, solver=solver)
        assert torch.equal(together[row].logits, alone.logits)
    assert not torch.equal(together[0].logits, together[1].logits)


def test_tensors_of_inference_mode_can_be_held():
    with torch.inference_mode():
        held = holding(3)
    assert brs.refine(flooding, START.clone().requires_grad_(True), *CLICK, held=held).values.requires_grad is False


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match="same shape"):
        brs.Held(torch.zeros(2, 3), torch.zeros(3, 2))
    with pytest.raises(OptionError, match="tolerance of 0 or more"):
        brs.Held(torch.zeros(2, 3), torch.zeros(2, 3), -1.0)
    held = brs.Held(torch.zeros(3, 3), torch.zeros(3, 3))
    with pytest.raises(InteractionError, match=r"logits' size \(4, 8\)"):
        brs.refine(flooding, START, *CLICK, held=held)
