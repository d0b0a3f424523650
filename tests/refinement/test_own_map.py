"""What the network's own map of a photo decides: the margin of the energy, and how corrections spread."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify import Click
from interactify.brs import Margin
from interactify.interactive import Interactive
from interactify.refinement.own_map import reach
from interactify.runtime.suffix import Suffix
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 96)


class Scaled(nn.Module):
    """A network whose logits are a part of another's."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x) * self.factor
        return logits


def session_of(factor: float, **options: object) -> Session:
    """A session of a network whose logits reach to 9 times the factor."""
    return wrapped(factor, **options).session(PHOTO)


def wrapped(factor: float, **options: object) -> Interactive:
    model = networks.slim_saliency()
    known = {"resolution": 96, "mean": model.pretrained_cfg["mean"], "std": model.pretrained_cfg["std"]}
    plain = interactify.wrap(model, **known).session(PHOTO).initial_step
    height, width = plain.crop.view.content_size
    least = reach(plain.log_odds[0, 0, :height, :width])
    own = {**known, "zoom": False, "propagation": "none", **options}
    return interactify.wrap(Scaled(model, factor * 9 / least), **own)


def test_how_far_a_map_reaches() -> None:
    log_odds = torch.zeros(30, 40)
    log_odds[:15] = -2.5
    log_odds[20, 20] = 9.0  # a single spot
    assert reach(log_odds) == 2.5


CLICKS = (10, 20), (80, 40)


def clicked(session: Session) -> Session:
    for x, y in CLICKS:
        assert session.click(x, y, positive=not session.result.mask[y, x]).satisfied
    return session


def test_a_network_with_small_logits_has_a_margin_that_it_can_meet() -> None:
    small, as_it_is = session_of(1 / 9, energy=Margin()), session_of(1 / 9, energy=Margin(gain=1.0))
    problem = small.refiner.problem((), (Click(10, 20),), None)
    assert problem.energy == Margin(gain=pytest.approx(6, rel=1e-4))
    cheap, dear = (sum(step.evaluations for step in clicked(session).steps) for session in (small, as_it_is))
    print(cheap, dear)
    assert cheap <= 0.7 * dear


def test_a_network_with_large_logits_is_refined_as_before_to_the_last_bit() -> None:
    usual, as_it_is = clicked(session_of(1.0)), clicked(session_of(1.0, energy=Margin(gain=1.0)))
    assert torch.equal(usual.result.logits, as_it_is.result.logits)


def test_objects_of_a_batch_have_the_same_margin_as_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    net, clicks = wrapped(1 / 9), [[Click(10, 20)], [Click(80, 40)]]
    for at_once in (1, 2):
        monkeypatch.setattr(Suffix, "at_once", lambda _, number=at_once: number)
        for result, (click,) in zip(net.refine(PHOTO, clicks), clicks, strict=True):
            alone = net.session(PHOTO).add([click])
            torch.testing.assert_close(result.logits, alone.logits, rtol=1e-3, atol=1e-4)


def test_what_a_click_network_shows_without_clicks_sets_no_margin() -> None:
    from tests.session.test_click_networks import by_hand, photo

    net = by_hand(energy=Margin())
    assert net.session(photo()).refiner.problem((), (Click(20, 20),), None).energy is net.energy
