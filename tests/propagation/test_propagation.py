"""Colours and edges: what is learnt of them, and that clicks hold in the mask that is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import interactify
from interactify.network.variables import target_logits
from interactify.propagation.colour_model import FLOOR, LEAST, MOST, evidence
from interactify.propagation.propagation import PROPAGATIONS, Propagation, guide_of, propagation_named
from tests.fixtures import networks


def halves(height: int = 60, width: int = 80) -> np.ndarray:
    """A photo that is reddish on the left, bluish on the right, with a little noise."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[:, : width // 2], photo[:, width // 2 :] = (190, 60, 50), (40, 70, 180)
    return (photo + np.random.default_rng(0).integers(0, 20, photo.shape)).astype(np.uint8)


def test_evidence_is_the_log_ratio_of_the_colours_frequencies() -> None:
    """Two colours, far apart, and a mask that is known: the figure can be worked out by hand."""
    guide = torch.zeros(1, 1, 10, 20)
    guide[..., 10:] = 0.99
    believed = torch.full((1, 1, 10, 20), -50.0)
    believed[..., :5] = 50.0  # the object: half of the dark part
    found = evidence(believed, guide, (10, 20), torch.zeros(0, 2), [])
    # The first bin gives a quarter of its pixels to the next one; its own count is what decides how much is believed.
    dark = np.log((0.75 + FLOOR) / (0.75 * 50 / 150 + FLOOR)) * 75 / (75 + LEAST)
    assert found[0, 0, 3, 2].item() == pytest.approx(dark, rel=1e-5)
    assert found[0, 0, 3, 15].item() == -MOST, "bright pixels were never the object's"


def test_nothing_is_learnt_from_padding() -> None:
    guide = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    believed = torch.randn(1, 1, 40, 50, generator=torch.Generator().manual_seed(1))
    points = torch.tensor([[3.0, 5.0]])
    padded = guide.clone()
    padded[..., 30:, :], padded[..., :, 40:] = 0.5, 0.1
    one, other = (evidence(believed, each, (30, 40), points, [True])[..., :30, :40] for each in (guide, padded))
    assert torch.equal(one, other)


def test_a_rare_colour_has_little_evidence() -> None:
    guide = torch.zeros(1, 1, 60, 60)
    guide[0, 0, 5, 5] = 0.99
    believed = torch.where(guide > 0.5, 50.0, -50.0)
    found = evidence(believed, guide, (60, 60), torch.zeros(0, 2), [])
    assert 0 < found[0, 0, 5, 5] < 0.6


@pytest.mark.parametrize("name", list(PROPAGATIONS))
@pytest.mark.parametrize("energy", ["margin", "brs", "fbrs"])
def test_clicks_are_satisfied_in_the_mask(name: str, energy: str) -> None:
    net = interactify.wrap(networks.slim_saliency(), propagation=name, energy=energy, resolution=96)
    session = net.session(networks.random_photo(70, 90))
    for x, y, positive in ((0, 0, True), (89, 69, False), (40, 30, True), (60, 20, False), (45, 33, False)):
        result = session.click(x, y, positive)
        assert result.satisfied, (name, energy, result)


@pytest.mark.parametrize("name", list(PROPAGATIONS))
def test_before_the_first_click_the_result_is_the_networks_own(name: str) -> None:
    model = networks.slim_saliency()
    photo = networks.random_photo(64, 96)
    session = interactify.wrap(model, propagation=name, resolution=96).session(photo)
    plain = interactify.wrap(model, propagation="none", resolution=96).session(photo)
    assert torch.equal(session.result.logits, plain.result.logits)
    session.click(10, 10)
    assert torch.equal(session.undo().logits, plain.result.logits)


def test_without_it_the_map_is_the_networks_own_under_the_variables() -> None:
    net = interactify.wrap(networks.slim_saliency(), propagation="none")
    session = net.session(networks.random_photo(64, 96))
    result = session.click(20, 20)
    step = session.steps[-1]
    own = target_logits(net.network, net.variables, step.crop.image, step.values, [], None)
    torch.testing.assert_close(result.logits, own, rtol=1e-4, atol=1e-4)


def test_a_click_takes_what_looks_alike_along() -> None:
    """On a picture of two colours, two clicks are enough, whatever the network makes of it."""
    photo, truth = halves(), np.zeros((60, 80), bool)
    truth[:, 40:] = True
    found = {}
    for name in PROPAGATIONS:
        session = interactify.wrap(networks.slim_saliency(), propagation=name).session(photo)
        session.click(70, 50)
        mask = session.click(8, 8, positive=False).mask
        found[name] = (mask & truth).sum() / (mask | truth).sum()
    assert found["colour"] > 0.9, found
    assert found["colour"] > found["none"], found


def test_around_a_click_the_result_is_the_networks_own_map() -> None:
    net = interactify.wrap(networks.slim_saliency())
    session = net.session(networks.random_photo(64, 96))
    result = session.click(20, 20)
    crop, step = session.initial_step.crop, session.steps[-1]
    own = target_logits(net.network, net.variables, crop.image, step.values, [], None)
    (x, y) = crop.view.points_to_network([(20, 20)])[0].round().int().tolist()
    near, far = (slice(None), slice(None), y, x), (slice(None), slice(None), (y + 90) % own.shape[-2], (x + 90) % 200)
    torch.testing.assert_close(result.logits[near], own[near], rtol=1e-4, atol=1e-4)
    assert (result.logits[far] - own[far]).abs() > 1e-3


def test_a_batch_gives_what_sessions_give() -> None:
    net = interactify.wrap(networks.slim_saliency())
    photo = networks.random_photo(64, 96)
    clicks = [[interactify.Click(10, 20)], [interactify.Click(50, 30), interactify.Click(70, 5, False)]]
    together = net.refine(photo, clicks)
    alone = [net.session(photo).add(each) for each in clicks]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)


def test_pictures_of_many_channels_are_followed_by_what_varies_most() -> None:
    image = torch.rand(1, 6, 20, 30, generator=torch.Generator().manual_seed(0)) * 0.01
    image[:, 4, :, 15:] += 0.9
    guide = guide_of(image)
    assert guide.shape == (1, 3, 20, 30) and guide.min() >= 0 and guide.max() <= 1
    strongest = guide[0, 2, 10]
    assert (strongest[14] - strongest[16]).abs() > 0.8 and strongest[:15].std() < 0.05


def test_networks_of_several_classes_follow_edges_alone_by_default() -> None:
    many, two = (interactify.wrap(networks.seeded(lambda k=k: networks.Plain(classes=k))) for k in (5, 2))
    assert (many.propagation.name, two.propagation.name) == ("edges", "careful")
    assert interactify.wrap(many.unwrap(), propagation="none").propagation.name == "none"
    assert "colours" not in many.describe() and "edges" in many.describe() and "colours" in two.describe()


def test_one_can_be_made_and_unknown_ones_are_refused() -> None:
    own = Propagation("mine", colour=0.5)
    assert propagation_named(own) is own
    result = interactify.wrap(networks.slim_saliency(), propagation=own).session(halves()).click(60, 30)
    assert result.satisfied
    for options in (
        {"colour": -1.0}, {"colour": float("nan")}, {"colour": "1"}, {"radius": 1.5}, {"radius": -1}, {"radius": True},
        {"edge": 0.0}, {"edge": float("inf")}, {"edge": None},
    ):  # fmt: skip
        with pytest.raises(interactify.OptionError, match=next(iter(options))):
            Propagation("wrong", **options)  # type: ignore[arg-type]
    for wrong in ("colours", 3, None):
        with pytest.raises(interactify.OptionError, match="colour"):
            propagation_named(wrong)  # type: ignore[arg-type]
