"""Click networks are recognised by their `click_maps`; what is known of the network inside applies to the whole."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

import interactify
from interactify import ClickMaps, Knowledge
from interactify.adapters import adapter_for, knowledge_of
from interactify.errors import InteractifyWarning, ModelError, OptionError
from tests.fixtures import click_networks, networks

TINY = {"encoder_weights": None, "decoder_channels": (32, 16, 8, 8, 4)}


def unet(**options: Any) -> nn.Module:
    return networks.seeded(lambda: smp.Unet("resnet18", **{**TINY, **options}))


def test_the_network_inside_is_known_under_its_new_names() -> None:
    own, wider = knowledge_of(unet(classes=2)), interactify.reconfigure_stem(unet(classes=2), click_maps=ClickMaps())
    known = knowledge_of(wider)
    assert adapter_for(wider).name == "clicks" and known.click_maps == ClickMaps()
    assert (known.mean, known.std, known.divisor, known.bgr) == (own.mean, own.std, own.divisor, own.bgr)
    assert known.mean is not None
    assert known.points == {letter: f"model.{name}" for letter, name in own.points.items()} and known.points["A"]
    net = interactify.wrap(wider)
    assert net.spec.channels == 3 and net.spec.output.classes == 2 and net.spec.click_maps == ClickMaps()
    assert {letter: layer.name for letter, layer in net.spec.insertion_points().items()} == known.points
    text = net.describe()
    assert "segmentation_models_pytorch, resnet18 encoder, with interaction maps" in text
    assert "distance maps of the positive and of the negative clicks, read beside the image" in text


def test_a_forward_of_the_network_inside_runs_with_the_maps() -> None:
    """smp's Tanh at the end passes no gradient where it saturates: its adapter ends before it."""
    wider = click_networks.reconfigured(unet(activation="tanh"))
    net = interactify.wrap(wider, max_evaluations=0)
    image, maps = networks.random_tensor(1, 3, 64, 64), networks.random_tensor(1, 2, 64, 64, seed=1)
    logits = net.network.plain_logits(image, maps)
    assert torch.allclose(torch.tanh(logits), wider(torch.cat([image, maps], 1)), atol=1e-6)
    assert not torch.allclose(logits, net.network.plain_logits(image))


def test_a_network_of_another_family_may_state_its_maps() -> None:
    """An smp network of 3 + 2 channels: the encoder's normalisation is that of the photo's three."""
    model = unet(in_channels=5)
    model.click_maps = ClickMaps("disk", radius=5)
    known = knowledge_of(model)
    assert known.click_maps == ClickMaps("disk", radius=5) and known.family.startswith("segmentation_models_pytorch")
    assert known.mean == knowledge_of(unet()).mean
    net = interactify.wrap(model)
    assert net.spec.channels == 3
    image = networks.random_tensor(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net.network.plain_logits(image), model(torch.cat([image, torch.zeros(1, 2, 64, 64)], 1)))


def test_a_module_around_a_click_network_is_one() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = click_networks.reconfigured()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

    assert interactify.wrap(Around().eval()).spec.click_maps == ClickMaps()


def test_maps_given_to_wrap_go_before_those_stated() -> None:
    wider = click_networks.reconfigured()
    assert interactify.wrap(wider, click_maps=ClickMaps("gaussian")).spec.click_maps == ClickMaps("gaussian")
    plain = interactify.wrap(unet(in_channels=5), click_maps=ClickMaps("disk"), mean=0, std=1)
    assert plain.spec.click_maps == ClickMaps("disk") and plain.spec.channels == 3


def test_trained_kernels_that_state_no_maps_are_taken_for_those_of_distance() -> None:
    wider = click_networks.reconfigured()
    wider.click_maps = None
    with pytest.warns(InteractifyWarning, match="Assumed distance maps"):
        net = interactify.wrap(wider, mean=0, std=1)
    assert net.spec.click_maps == ClickMaps("distance")


def test_other_numbers_of_maps_have_to_be_stated() -> None:
    wider = interactify.reconfigure_stem(networks.seeded(networks.Plain), maps=3)
    with pytest.raises(ModelError, match=r"3 interaction maps are drawn, got None.*previous_mask=True"):
        interactify.wrap(wider)
    wider.click_maps = ClickMaps()
    with pytest.raises(ModelError, match="2, or 3"):
        interactify.wrap(wider)
    wider.click_maps = ClickMaps(previous_mask=True)
    assert interactify.wrap(wider).spec.click_maps == ClickMaps(previous_mask=True)


def test_a_stem_with_one_map_stays_a_network_of_four_channels() -> None:
    wider = interactify.reconfigure_stem(networks.seeded(networks.Plain), maps=1)
    net = interactify.wrap(wider)
    assert net.spec.channels == 4 and net.spec.click_maps is None and net.variables.name == "input"


def test_an_adapter_may_order_the_channels_as_the_network_reads_them() -> None:
    """As RITM's: the image and the points are two arguments, the previous mask comes before the clicks."""

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.points = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.head = nn.Conv2d(4, 1, 1)

        def forward(self, image: Tensor, points: Tensor) -> dict[str, Tensor]:
            return {"instances": self.head(torch.relu(self.image(image) + self.points(points)))}

    class Adapter:
        name = "theirs"

        def recognises(self, model: nn.Module) -> bool:
            return isinstance(model, Theirs)

        def knows(self, model: nn.Module) -> Knowledge:
            return Knowledge(
                family="theirs",
                forward=lambda network, x: network(x[:, :3], x[:, [5, 3, 4]]),
                click_maps=ClickMaps("disk", radius=5, previous_mask=True),
                mean=0.0,
                std=1.0,
            )

    model = networks.seeded(Theirs)
    net = interactify.wrap(model, adapter=Adapter())
    image, maps = networks.random_tensor(1, 3, 32, 32), networks.random_tensor(1, 3, 32, 32, seed=1)
    with torch.no_grad():
        expected = model(image, maps[:, [2, 0, 1]])["instances"]
    assert torch.equal(net.network.plain_logits(image, maps), expected)
    mirrored = interactify.wrap(model, adapter=Adapter(), mirror=True)
    with torch.no_grad():
        other = model(image.flip(-1), maps[:, [2, 0, 1]].flip(-1))["instances"].flip(-1)
    assert torch.allclose(mirrored.network.plain_logits(image, maps), (expected + other) / 2, atol=1e-6)


# ---- the attribute ---------------------------------------------------------------------------------------------------


def test_copies_and_pickles_keep_how_maps_are_drawn() -> None:
    stated = ClickMaps("tanh", radius=200, previous_mask=True)
    wider = interactify.reconfigure_stem(networks.seeded(networks.Plain), click_maps=stated)
    assert wider.maps == 3 and wider.kernels[0].shape[1] == 3
    assert copy.deepcopy(wider).click_maps == stated == pickle.loads(pickle.dumps(wider)).click_maps
    assert set(wider.state_dict()) == {*(f"model.{name}" for name in wider.model.state_dict()), "kernels.0"}
    net = pickle.loads(pickle.dumps(interactify.wrap(wider)))
    assert net.spec.click_maps == stated


def test_a_wrapped_network_follows_its_click_maps() -> None:
    wider = click_networks.reconfigured()
    net = interactify.wrap(wider)
    session = net.session(networks.random_photo())
    wider.click_maps = ClickMaps("disk")
    assert net.session(networks.random_photo()).wrapped.spec.click_maps == ClickMaps("disk")
    with pytest.raises(interactify.ModelChangedError, match="click_maps"):
        session.click(5, 5)


def test_maps_that_do_not_fit_are_errors_before_any_work() -> None:
    model = networks.seeded(networks.Plain)
    with pytest.raises(OptionError, match="maps=3"):
        interactify.reconfigure_stem(model, maps=2, click_maps=ClickMaps(previous_mask=True))
    with pytest.raises(OptionError, match="kernels='zero'"):
        interactify.reconfigure_stem(model, kernels="image", click_maps=ClickMaps())
    for wrong in ("distance", 2, {}):
        with pytest.raises(OptionError, match="ClickMaps"):
            interactify.reconfigure_stem(model, click_maps=wrong)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="ClickMaps"):
            interactify.wrap(model, click_maps=wrong)  # type: ignore[arg-type]
    for options in ({"kind": "disc"}, {"radius": 0}, {"radius": True}, {"radius": "5"}, {"previous_mask": 1}):
        with pytest.raises(OptionError):
            ClickMaps(**options)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        interactify.wrap(networks.seeded(lambda: networks.Plain(channels=2)), click_maps=ClickMaps())
