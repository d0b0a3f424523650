"""A large change of a steady mask is displayed only among the colours of what was clicked."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from interactify.errors import OptionError
from interactify.propagation.change_gate import MOST_POINTS, ChangeGate, alike
from interactify.propagation.click_reach import Reach
from interactify.propagation.propagation import PROPAGATIONS, SEVERAL, Propagation, Spread, propagation_for

SIZE = (40, 60)


def two_colours() -> torch.Tensor:
    """Dark on the left, bright on the right, (1, 3, 40, 60)."""
    guide = torch.full((1, 3, *SIZE), 0.2)
    guide[..., 30:] = 0.8
    return guide


def square(top: int, left: int, side: int, inside: float = 4.0) -> torch.Tensor:
    """Log-odds of a sure square in a sure ground."""
    log_odds = torch.full((1, 1, *SIZE), -4.0)
    log_odds[..., top : top + side, left : left + side] = inside
    return log_odds


def gate(before: torch.Tensor, x: float = 10.0) -> ChangeGate:
    return ChangeGate(before, SIZE, alike=alike(two_colours(), torch.tensor([[x, 5.0]]), 0.09))


def test_a_flood_stays_among_the_clicked_colours() -> None:
    before, after = square(5, 5, 10), square(5, 5, 10)
    after[..., 20:30, 10:50] = 4.0  # on both sides of the border between the colours
    own = torch.zeros_like(before)
    shown = gate(before)(after, own) > 0
    assert shown[..., 20:30, 10:29].all(), "of the clicked colour"
    assert not shown[..., 20:30, 32:50].any(), "of the other one"
    assert shown[..., 5:15, 5:15].all()
    other_side = gate(before, x=50.0)(after, own) > 0
    assert other_side[..., 20:30, 32:50].all() and not other_side[..., 20:30, 10:28].any()


def test_a_small_change_passes_as_it_is() -> None:
    before, after = square(5, 5, 20), square(5, 5, 20)
    after[..., 20, 50:58] = 4.0  # two hundredths of 400 pixels
    assert gate(before)(after, torch.zeros_like(before)) is after
    after[..., 20, 58] = 4.0
    assert gate(before)(after, torch.zeros_like(before)) is not after


def test_what_was_unsure_may_change() -> None:
    before = square(5, 5, 20)
    before[..., 30:, :] = -2.0  # a probability of 0.12
    after = before.clone()
    after[..., 30:, :] = 4.0
    assert gate(before)(after, torch.zeros_like(before)) is after


def test_padding_does_not_count() -> None:
    before, after = square(5, 5, 20), square(5, 5, 20)
    after[..., 50:] = 4.0
    assert ChangeGate(before, (40, 50), alike=torch.zeros_like(before))(after, torch.zeros_like(before)) is after


def test_around_all_clicks_the_correction_counts() -> None:
    before, after = square(5, 5, 10), square(5, 5, 10)
    after[..., 20:30, 40:50] = 4.0
    own = torch.zeros_like(before)
    own[..., 25, 45] = 1.0
    shown = gate(before)(after, own)
    assert shown[0, 0, 25, 45] == after[0, 0, 25, 45] and not (shown[..., 26:30, 40:50] > 0).any()


def test_the_nearest_of_several_colours_counts_and_few_points_of_a_stroke() -> None:
    guide = two_colours()
    both = alike(guide, torch.tensor([[10.0, 5.0], [50.0, 5.0]]), 0.09)
    assert both[..., :28].min() > 0.9 and both[..., 32:].min() > 0.9
    stroke = torch.stack([torch.linspace(2, 57, 5 * MOST_POINTS), torch.full((5 * MOST_POINTS,), 7.0)], 1)
    assert alike(guide, stroke, 0.09).min() > 0.5
    assert alike(guide, torch.tensor([[-0.4, 39.4]]), 0.09)[0, 0, 39, 0] > 0.9, "at the picture's corner"


def test_a_spread_without_a_gate_is_as_before() -> None:
    before, after = square(5, 5, 10), square(15, 25, 20)
    own = torch.zeros_like(before)
    assert torch.equal(Spread(own=own)(after), after)
    assert not torch.equal(Spread(own=own, gate=gate(before))(after), after)


def test_what_is_out_of_reach_stays_whatever_its_colour() -> None:
    before, after = square(5, 5, 10), square(5, 5, 10)
    after[..., 20:30, 10:50] = 4.0
    reach, own = torch.zeros_like(before), torch.zeros_like(before)
    reach[..., 20:40] = 1.0
    shown = ChangeGate(before, SIZE, reach)(after, own) > 0
    assert shown[..., 20:30, 20:40].all() and not shown[..., 20:30, :20].any() and not shown[..., 20:30, 40:].any()
    both = ChangeGate(before, SIZE, reach, gate(before).alike)(after, own) > 0
    assert both[..., 20:30, 20:29].all() and not both[..., 20:30, 32:].any() and not both[..., 20:30, :20].any()
    own[..., 25, 45] = 1.0
    assert ChangeGate(before, SIZE, reach)(after, own)[0, 0, 25, 45] == 4.0, "at a click"


def test_careful_is_the_usual_propagation_with_a_gate_where_colours_have_a_weight() -> None:
    careful = PROPAGATIONS["careful"]
    assert careful.gates and not any(PROPAGATIONS[name].gates for name in ("none", "edges", "colour"))
    one, several = (propagation_for(careful, classes, False, 2) for classes in (1, 11))
    assert one == careful and one.adapts
    assert (several.colour, several.radius, several.gates) == (0, 3, False)
    assert several == propagation_for(None, 11, False, 2)
    assert not propagation_for(careful, 1, True, 2).active, "click networks spread their clicks themselves"


def test_near_is_the_usual_propagation_with_a_reach() -> None:
    near = PROPAGATIONS["near"]
    assert [name for name, each in PROPAGATIONS.items() if each.reach] == ["near"]
    one, several = (propagation_for(near, classes, False, 2) for classes in (1, 11))
    assert replace(one, name="careful", reach=None) == propagation_for(None, 1, False, 2) and one.reach == near.reach
    assert replace(several, name="edges", reach=None) == propagation_for(None, 11, False, 2)
    assert several.reach == SEVERAL
    assert not propagation_for(near, 1, True, 2).active, "click networks spread their clicks themselves"


def test_volumes_follow_no_colours() -> None:
    for name in ("careful", "near", "colour"):
        with pytest.raises(OptionError, match="volumes"):
            propagation_for(PROPAGATIONS[name], 1, False, 3)


def test_session_files_see_a_gate_in_the_text_and_others_have_the_text_they_had() -> None:
    assert repr(Propagation("mine", colour=0.5)) == "Propagation(name='mine', colour=0.5, radius=0, edge=0.001)"
    assert "alike=0.1" in repr(Propagation("mine", colour=0.5, alike=0.1))
    assert "steady" in str(Propagation("mine", colour=0.5, alike=0.1)) and "steady" not in str(Propagation("x", 0.5))
    assert "reach=Reach(" in repr(Propagation("mine", radius=3, reach=Reach(5.0)))
    assert "near" in str(Propagation("mine", radius=3, reach=Reach(5.0))) and "near" not in str(Propagation("x", 0.5))
    with pytest.raises(OptionError, match="alike"):
        Propagation("mine", alike=-1.0)
    with pytest.raises(OptionError, match="reach"):
        Propagation("mine", reach=5.0)  # type: ignore[arg-type]
    for wrong in (Reach, lambda depths: Reach(1.0, depths)):
        for depth in (-1.0, math.nan):
            with pytest.raises(OptionError, match="depth"):
                wrong(depth)
