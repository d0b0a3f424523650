"""Propagation that suits a network's own map: not what is wider than the object, and colours that don't outvote it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.propagation.propagation import PROPAGATIONS, Propagation, usual_propagation
from interactify.propagation.suited import share_as_wide, suited
from interactify.refinement.refiner import Refiner
from tests.fixtures import networks

SIZE = (60, 80)
USUAL = PROPAGATIONS["colour"]
GUIDE = torch.full((1, 3, 64, 96), 0.5)
GUIDE[..., 30:, :] = 0.2


def map_of(width: int, logit: float = 8.0) -> Tensor:
    """Log-odds (1, 1, 64, 96) of a bar of that width across the content; the padding is the object, too."""
    log_odds = torch.full((1, 1, 64, 96), -logit)
    log_odds[..., 20 : 20 + width, 10:80] = logit
    log_odds[..., 60:, :], log_odds[..., 80:] = logit, logit
    return log_odds


@pytest.mark.parametrize(("width", "radius"), [(40, 3), (7, 3), (6, 2), (5, 2), (4, 0), (2, 0)])
def test_the_filter_is_no_wider_than_the_object(width: int, radius: int) -> None:
    found = suited(PROPAGATIONS["colour"], map_of(width), GUIDE, SIZE)
    assert found.radius == radius and found.active == (radius > 0)
    assert found.colour == (1.5 if radius else 0), "what is thin has no colour of its own"


def test_colours_have_less_weight_where_logits_are_small() -> None:
    assert suited(USUAL, map_of(40), GUIDE, SIZE, gain=3.0) == Propagation("colour", colour=0.5, radius=3)
    nothing = torch.full((1, 1, 64, 96), -1.0)
    assert suited(USUAL, nothing, GUIDE, SIZE, gain=2.0) == Propagation("colour", colour=0.75, radius=3)
    assert suited(USUAL, map_of(40), GUIDE, SIZE) == USUAL


def test_no_colours_where_they_do_not_tell_the_object_from_the_rest() -> None:
    """Letters and the rim of a cup, both white: an unsure network takes the rim, a sure one does not."""
    guide = torch.full((1, 3, 64, 96), 0.3)
    guide[..., 5:15, 10:80] = guide[..., 40:50, 10:80] = 0.9
    for rest, colour in ((-8.0, 1.5), (-1.5, 0.0)):
        log_odds = torch.full((1, 1, 64, 96), rest)
        log_odds[..., 5:15, 10:80] = 8.0
        assert suited(USUAL, log_odds, guide, SIZE) == Propagation("colour", colour=colour, radius=3)
    filters: list[Propagation] = []
    suited(USUAL, log_odds, guide, SIZE, 1.0, lambda each: filters.append(each) or each.filter(guide))
    assert filters == [USUAL], "those that are there are used"


def test_the_share_that_is_wide() -> None:
    """A bar of 4 rows through the whole picture, and a square of 8."""
    mask = torch.zeros(1, 1, 40, 50, dtype=torch.bool)
    mask[..., 5:9, :], mask[..., 20:28, 10:18] = True, True
    assert share_as_wide(mask, 1) == 1
    assert share_as_wide(mask, 2) == share_as_wide(mask, 3) == pytest.approx(64 / (64 + 200))
    assert share_as_wide(mask, 4) == 0
    mask[..., :9, :] = True
    assert share_as_wide(mask, 3) == 1, "what goes on beyond the picture's side is as wide as it can be"


class Bright(nn.Module):
    """What is bright is the object."""

    def __init__(self, contrast: float) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.read.weight, contrast / 3)
        nn.init.constant_(self.read.bias, -0.45 * contrast)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.read(x)
        return logits


def veins() -> np.ndarray:
    """Bright lines, two pixels wide and of little contrast, on a noisy ground."""
    light = np.full((64, 96), 0.44)
    light[:, 5::12] = light[:, 6::12] = 0.46
    light += np.random.default_rng(0).normal(0, 0.001, light.shape)
    return np.repeat(np.round(255 * light).astype(np.uint8)[..., None], 3, 2)


def test_a_click_on_thin_lines_leaves_the_others_as_they_are() -> None:
    model, options = Bright(900.0), {"mean": 0.0, "std": 1.0, "resolution": 96, "zoom": False}
    own, filtered = (
        interactify.wrap(model, **options, **each).session(veins()) for each in ({}, {"propagation": "edges"})
    )
    before = own.result.mask
    assert 0.1 < before.mean() < 0.2
    click = 40, 30, not before[30, 40]
    after, lost = own.click(*click), filtered.click(*click)
    assert after.satisfied and lost.satisfied
    assert (after.mask != before).mean() < 0.01 < (lost.mask != before).mean()


def test_the_usual_propagation_adapts_and_those_that_are_asked_for_do_not() -> None:
    model = networks.seeded(networks.Plain)
    assert interactify.wrap(model).propagation.adapts and usual_propagation(2).adapts
    assert not any(each.adapts for each in (usual_propagation(5), usual_propagation(1, reads_clicks=True)))
    assert not interactify.wrap(model, propagation="colour").propagation.adapts
    assert "as far as it suits the photo" in " ".join(interactify.wrap(model).describe().split())
    asked_for = interactify.wrap(model, propagation="careful").propagation
    assert repr(usual_propagation(1)) == repr(asked_for), "session files compare this text"


def test_it_is_chosen_once_for_a_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    session = interactify.wrap(networks.seeded(networks.Plain), resolution=64).session(networks.random_photo(48, 64))
    first = session.refiner.own_map(0)
    session.click(10, 10, positive=not session.result.mask[10, 10])
    monkeypatch.setattr(Refiner, "initial_step", lambda *_: pytest.fail("measured again"))
    assert session.refiner.own_map(0) is first
