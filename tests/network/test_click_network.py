"""A click network under every kind of variable: at zero it gives its own answer, and the gradient is right."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

import interactify
from interactify import Click, ClickMaps, interaction_maps
from interactify.errors import ModelError, OptionError
from interactify.inspection.click_input import MAP_KINDS
from interactify.interactions import network_maps
from interactify.interactions.click_maps import _KINDS
from interactify.network.click_network import reading
from interactify.network.variables import class_logits
from interactify.runtime.suffix import Suffix
from tests.fixtures import click_networks, networks
from tests.fixtures.user_variables import Brightness

KINDS = ["input", "kernels", "click_maps", "scale_bias@A", "scale_bias@B", "scale_bias@C"]
KINDS += ["bias_field@A", "conv1x1@A", "rows_columns@A"]
CLICKS = (Click(10.0, 5.0), Click(31.25, 40.5, False), Click(63.0, 20.0))
IMAGE = networks.random_tensor(1, 3, 64, 64, seed=3)
MAPS = interaction_maps(CLICKS, (64, 64))[None]


def smooth(dtype: torch.dtype = torch.float32) -> Any:
    return click_networks.reconfigured(networks.seeded(lambda: networks.Plain(smooth=True))).to(dtype)


@pytest.mark.parametrize("kind", MAP_KINDS)
def test_maps_are_those_of_the_clicks_then_the_mask_before(kind: str) -> None:
    assert set(MAP_KINDS) == set(_KINDS)
    own = network_maps(ClickMaps(kind, radius=30), CLICKS, (64, 64))
    assert torch.equal(own, interaction_maps(CLICKS, (64, 64), kind, radius=30))
    before = torch.rand(64, 64)
    three = network_maps(ClickMaps(kind, previous_mask=True), CLICKS, (64, 64), previous=before)
    assert torch.equal(three, torch.cat([interaction_maps(CLICKS, (64, 64), kind), before[None]]))
    assert not network_maps(ClickMaps(kind, previous_mask=True), CLICKS, (64, 64))[2].any()
    with pytest.raises(OptionError, match="previous mask"):
        network_maps(ClickMaps(kind, previous_mask=True), CLICKS, (64, 64), previous=before[:5])


@pytest.mark.parametrize("variables", KINDS)
def test_zero_is_the_identity_for_any_clicks(variables: str) -> None:
    model = smooth()
    net = interactify.wrap(model, variables=variables)
    start = net.variables.start(net.network, IMAGE)
    for clicks, maps in ((CLICKS, MAPS), ((), torch.zeros_like(MAPS))):
        with torch.no_grad():
            expected = model(torch.cat([IMAGE, maps], 1))
            assert torch.equal(class_logits(net.network, net.variables, IMAGE, start, clicks), expected)
        assert torch.equal(net.network.plain_logits(IMAGE, maps), expected)
    assert not torch.allclose(expected, net.network.plain_logits(IMAGE, MAPS), atol=0.1)


@pytest.mark.parametrize("variables", KINDS)
def test_gradient_against_finite_differences(variables: str) -> None:
    net = interactify.wrap(smooth(torch.float64), variables=variables)
    image, maps = IMAGE.double(), MAPS.double()
    start = net.variables.start(net.network, image)
    suffix = Suffix(net.runtime, net.variables, image, start, maps)
    at = networks.random_tensor(*start.shape, seed=1, dtype=torch.float64) * 0.1

    def energy(values: Tensor) -> Tensor:
        return suffix(values, CLICKS).square().mean()

    leaf = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy(leaf), leaf)
    assert float(gradient.abs().max()) > 0
    direction = networks.random_tensor(*start.shape, seed=2, dtype=torch.float64)
    step = 1e-5 / float(direction.norm())
    with torch.no_grad():
        slope = float(energy(at + step * direction) - energy(at - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)
    assert suffix.whole is None


def test_own_maps_are_changed_and_the_mask_before_is_not() -> None:
    model = click_networks.reconfigured(click_maps=ClickMaps(previous_mask=True))
    net = interactify.wrap(model)
    assert net.variables.name == "click_maps"
    values = networks.random_tensor(1, 2, 64, 64, seed=5)
    assert net.variables.start(net.network, IMAGE).shape == values.shape
    maps = torch.cat([MAPS, torch.rand(1, 1, 64, 64)], 1)
    with torch.no_grad():
        expected = model(torch.cat([IMAGE, maps[:, :2] + values, maps[:, 2:]], 1))
        got = class_logits(net.network, net.variables, IMAGE, values, CLICKS, maps)
    assert torch.equal(got, expected)
    assert float(net.variables.inertia(values)) == pytest.approx(float(values.square().sum()))


def test_a_suffix_answers_its_maps_alone() -> None:
    """What a tape depends on includes the clicks, whatever the variables."""
    net = interactify.wrap(smooth(), variables="input")
    start = net.variables.start(net.network, IMAGE)
    per_crop = Suffix(net.runtime, net.variables, IMAGE, start)
    assert not per_crop.shared and per_crop.valid_for(CLICKS) != per_crop.valid_for(CLICKS[:1])
    for clicks in ((), CLICKS[:1], CLICKS):
        maps = interaction_maps(clicks, (64, 64))[None]
        own = Suffix(net.runtime, net.variables, IMAGE, start, maps)
        assert not own.shared and own.at_once() == 1
        for suffix in (own, per_crop):
            assert torch.allclose(suffix(start, clicks), net.network.plain_logits(IMAGE, maps), atol=1e-3)


def test_variables_of_users_run_click_networks() -> None:
    """As in the protocol from before there were click networks: `network.replica` takes an image."""
    model = smooth()
    net = interactify.wrap(model, variables=Brightness())
    with torch.no_grad():
        got = class_logits(net.network, net.variables, IMAGE, torch.ones(3), CLICKS)
        assert torch.equal(got, model(torch.cat([IMAGE + 1, MAPS], 1)))
    session = net.session(networks.random_photo())
    wanted = not bool(session.result.mask[20, 20])
    assert session.click(20, 20, positive=wanted).evaluations >= 1


def test_maps_belong_to_a_thread_and_to_a_block() -> None:
    net = interactify.wrap(smooth())
    plain, seen = net.network.replica(IMAGE), []
    with reading(MAPS):
        inside = net.network.replica(IMAGE)
        thread = threading.Thread(target=lambda: seen.append(net.network.replica(IMAGE)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], plain) and not torch.equal(inside, plain)
    assert torch.equal(net.network.replica(IMAGE), plain)


def test_the_users_model_is_not_changed() -> None:
    model = smooth()
    both = torch.cat([IMAGE, MAPS], 1)
    before = model(both)
    net = interactify.wrap(model)
    net.session(networks.random_photo()).click(5, 5)
    assert net.unwrap() is model and "forward" not in vars(model) and torch.equal(model(both), before)
    with pytest.raises(ModelError, match="5"):
        model(IMAGE)


def test_variables_and_networks_that_do_not_fit_are_errors_that_say_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"reads no interaction maps. Try variables='input'"):
        interactify.wrap(networks.seeded(networks.Plain), variables="click_maps")
    with pytest.raises(ModelError, match="Try variables='click_maps'"):
        interactify.wrap(smooth(), variables="maps")
    with pytest.raises(OptionError, match="reads no clicks"):
        interactify.wrap(networks.seeded(networks.Plain), max_evaluations=0)
    for wrong in (-1, True, 1.5, "0"):
        with pytest.raises(OptionError, match="max_evaluations"):
            interactify.wrap(smooth(), max_evaluations=wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="a click network"):
        interactify.wrap(networks.seeded(networks.Plain)).network.maps_of_pass(IMAGE)
    with pytest.raises(OptionError, match="mirror"):
        interactify.wrap(smooth(), variables="kernels", mirror=True)


def test_layers_of_a_click_network_are_insertion_points() -> None:
    points = {point.name: point.share for point in interactify.wrap(smooth()).insertion_points()}
    assert points["input"] == 1.0 and 0 == points["model.head"] < points["model.up"] < points["model.stem"] < 1
