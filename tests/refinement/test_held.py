"""How much of the mask before a click is held: where, after which interactions, and how surely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import interactify
from interactify import Box, Click, Mask
from interactify.brs import Held, Margin
from interactify.refinement import held as module
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 96)


def session_of(photo: np.ndarray = PHOTO, **options: object) -> Session:
    model = networks.seeded(networks.Plain)
    return interactify.wrap(model, **{"resolution": 96, "zoom": False, "max_evaluations": 8, **options}).session(photo)


def held_for(session: Session, *interactions: object) -> Held | None:
    """What is held when these follow those that the session has."""
    return session.refiner.problem(session.steps, (*session.interactions, *interactions), None).held  # type: ignore[arg-type]


def test_the_displayed_mask_is_held_away_from_the_click() -> None:
    session = session_of()
    held = held_for(session, Click(10, 20))
    assert held is not None
    np.testing.assert_allclose(held.probability[:60, :96], session.result.probability, atol=1e-6)
    assert held.weights[20, 10] == 0
    assert held.weights[20, 10] < held.weights[20, 16] < held.weights[20, 30] < held.weights[20, 90]
    assert held.weights[60:].eq(0).all()  # the padding: 96 × 64 network pixels
    session.click(10, 20)
    again = held_for(session, Click(80, 40, positive=False))
    assert again is not None
    np.testing.assert_allclose(again.probability[:60, :96], session.result.probability, atol=1e-6)
    assert again.weights[40, 80] == 0 and again.weights[20, 10] > 0


@pytest.mark.parametrize("energy", ["brs", "fbrs", Margin(hold=0)])
def test_the_published_energies_hold_nothing(energy: object) -> None:
    assert held_for(session_of(energy=energy), Click(10, 20)) is None


def test_nothing_is_held_after_a_box_or_a_mask_to_begin_with() -> None:
    assert held_for(session_of(), Box(10, 10, 40, 40)) is None
    mask = np.zeros(PHOTO.shape[:2], bool)
    mask[10:30, 20:50] = True
    session = session_of()
    session.add([Mask(mask)])
    assert held_for(session, Click(5, 5, positive=False)) is None


def test_the_weights_are_twice_those_of_twice_the_strength() -> None:
    weaker, stronger = (held_for(session_of(energy=Margin(hold=hold)), Click(10, 20)) for hold in (5, 10))
    assert weaker is not None and stronger is not None
    torch.testing.assert_close(stronger.weights, 2 * weaker.weights)


@pytest.mark.parametrize("clicks", [1, 2, 4])
def test_a_mask_is_held_the_more_surely_the_less_the_last_click_changed(clicks: int) -> None:
    session = session_of(propagation="none")
    before = held_for(session, Click(80, 40))
    for _ in range(clicks):  # always the same click, which soon changes nothing
        session.click(20, 20)
    after = held_for(session, Click(80, 40))
    assert before is not None and after is not None and session.result.before is not None
    share = [float(each.probability[:60].mean()) for each in (before, after)]
    known = [(each / (each + module.FOUND)) ** 2 / (each + module.SMALL) for each in share]
    one, other = session.result.mask, session.result.before.mask
    stability = max(0.0, ((one & other).sum() / (one | other).sum() - module.STABLE) / (1 - module.STABLE))
    ratio = float(after.weights[0, 0] / before.weights[0, 0]) / (known[1] / known[0])
    assert ratio == pytest.approx(1 + (module.TRUSTED - 1) * stability, rel=1e-3)


def test_an_empty_mask_is_hardly_held() -> None:
    class Empty(networks.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) - 16

    model = networks.seeded(Empty)
    session = interactify.wrap(model, resolution=96, zoom=False).session(PHOTO)
    empty, usual = held_for(session, Click(10, 20)), held_for(session_of(), Click(10, 20))
    assert empty is not None and usual is not None
    assert empty.weights.max() < 0.05 * usual.weights.max()


def test_strokes_of_any_length_free_their_surroundings() -> None:
    away = module._away_from(torch.tensor([[float(x), 5.0] for x in range(200)]), (10, 200))
    assert away[5].max() < 0.02  # of 200 points, every fourth


def test_a_class_that_was_decided_only_now_is_held_as_the_network_predicts_it() -> None:
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), resolution=96, zoom=False)
    undecided = net.session(PHOTO)
    held = held_for(undecided, Click(10, 20))
    undecided.click(10, 20)
    named = held_for(net.session(PHOTO, target=undecided.steps[-1].targets[0]), Click(10, 20))
    assert held is not None and named is not None
    assert torch.equal(held.probability, named.probability) and torch.equal(held.weights, named.weights)


def test_surroundings_of_earlier_points_that_the_mask_contradicts_are_free() -> None:
    session = session_of(max_evaluations=1)  # too few to satisfy a click
    y, x = np.argwhere(session.result.probability > 0.9)[0]
    session.click(int(x), int(y), positive=False)
    assert not session.result.satisfied
    held = held_for(session, Click(80, 40))
    assert held is not None and held.weights[y, x] == 0
    session.undo()
    session.click(int(x), int(y))
    held = held_for(session, Click(80, 40))
    assert held is not None and held.weights[y, x] > 0


def test_steadiness_is_that_of_the_mask_without_the_padding() -> None:
    session = session_of(networks.random_photo(16, 96), propagation="none", max_evaluations=3)
    for x, y in ((10, 8), (70, 5), (40, 12)):
        before = session.result.mask
        mask = session.click(x, y, positive=not before[y, x]).mask
        assert session.result.logits.shape[-2:] == (64, 96)
        assert session.steps[-1].steadiness == pytest.approx((mask & before).sum() / (mask | before).sum())


def test_steadiness_is_kept_in_files(tmp_path: Path) -> None:
    session = session_of()
    for x, y, positive in ((10, 20, True), (60, 30, False), (10, 20, True)):
        session.click(x, y, positive)
    assert 0 < session.steps[-1].steadiness <= 1
    again = interactify.load_session(session.save(tmp_path / "session.npz"), session.net, PHOTO)
    assert [step.steadiness for step in again.steps] == [step.steadiness for step in session.steps]
    assert (again.click(80, 40).probability == session.click(80, 40).probability).all()
