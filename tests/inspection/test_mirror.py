"""With mirror averaging the network's answer is the mean of the image's and, mirrored back, of the mirror image's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import interactify
from interactify.errors import OptionError
from tests.fixtures import forms, networks


class Several(networks.Plain):
    """Returns a map, a list of it and one that is smaller, and a number an image."""

    def forward(self, x: torch.Tensor) -> Any:
        out = super().forward(x)
        return {"out": out, "rest": [out, nn.functional.avg_pool2d(out, 2)], "mean": out.mean((1, 2, 3)), "k": 3}


@pytest.mark.parametrize("build", [networks.Plain, Several, lambda: networks.Plain(classes=3)])
def test_the_map_is_the_mean_of_both(build: Callable[[], nn.Module]) -> None:
    model = networks.seeded(build).double()
    net, plain = (interactify.wrap(model, mirror=mirror) for mirror in (True, False))
    session, own = net.session(networks.random_photo()), plain.session(networks.random_photo())
    image = session.refiner.first_crop.image
    found = net.network.plain_logits(image)
    mean = (plain.network.plain_logits(image) + plain.network.plain_logits(image.flip(-1)).flip(-1)) / 2
    assert torch.allclose(found, mean, atol=1e-12)
    assert not torch.allclose(found, own.refiner.initial_logits, atol=1e-3), "which is not the same as without"
    assert session.click(30, 20).satisfied and session.click(80, 5, positive=False).satisfied


def test_a_photo_that_is_its_own_mirror_image_has_such_a_mask() -> None:
    half = networks.random_photo(64, 48)
    photo = np.concatenate([half, half[:, ::-1]], 1)
    net = interactify.wrap(
        networks.seeded(networks.Plain), mirror=True, variables="scale_bias@down", max_evaluations=20
    )
    session = net.session(photo)
    assert np.abs(session.result.probability - session.result.probability[:, ::-1]).max() < 1e-5
    probability = session.click(20, 30, not session.result.mask[30, 20]).probability
    assert "mirror" in net.describe() and probability.shape == (64, 96)


def test_saved_sessions_know_of_it(tmp_path: Any) -> None:
    model, photo = networks.seeded(networks.Plain), networks.random_photo()
    net = interactify.wrap(model, mirror=True, max_evaluations=4)
    session = net.session(photo)
    session.click(30, 20)
    path = session.save(tmp_path / "s.npz")
    assert np.array_equal(interactify.load_session(path, net, photo).result.mask, session.result.mask)
    with pytest.raises(interactify.CheckpointError):
        interactify.load_session(path, interactify.wrap(model, max_evaluations=4), photo)


class OneImage(networks.Plain):
    """A batch of one is written into it, as into many exported graphs: two images become twice the channels."""

    def forward(self, x: torch.Tensor) -> Any:
        out = super().forward(x)
        return out.reshape(1, -1, *out.shape[-2:])


class ChannelsLast(networks.Plain):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x).permute(0, 2, 3, 1)


class WithoutChannels(networks.Plain):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x)[:, 0]


def exported() -> nn.Module:
    return forms.exported(64, 96).module()  # for one image of this size


@pytest.mark.parametrize("build", [OneImage, exported, ChannelsLast, WithoutChannels])
def test_networks_of_one_image_and_maps_in_other_orders(build: Callable[[], nn.Module]) -> None:
    model = build() if build is exported else networks.seeded(build)
    options = {"mean": 0.0, "std": 1.0, "zoom": False}
    net, plain = (interactify.wrap(model, mirror=mirror, **options) for mirror in (True, False))
    photo = networks.random_photo(64, 96)
    own, other = (plain.session(each).result.probability for each in (photo, photo[:, ::-1].copy()))
    session = net.session(photo)
    logit, turned = (torch.logit(torch.tensor(each)) for each in (own, other[:, ::-1].copy()))
    means = [torch.sigmoid((logit + turned) / 2).numpy(), (own + other[:, ::-1]) / 2]  # of logits, or of probabilities
    found = session.result.probability
    assert min(np.abs(found - mean).max() for mean in means) < 2e-5 and np.abs(found - own).max() > 3e-3
    assert session.click(20, 30, not session.result.mask[30, 20]).satisfied
    assert net.describe().count("encoder.0: 8" if build is exported else "stem: 8") == 1
    layer = net.spec.insertion_points()["A"].name
    deeper = interactify.wrap(model, mirror=True, variables=f"scale_bias@{layer}", max_evaluations=20, **options)
    assert deeper.session(photo).click(20, 30).evaluations > 0


def test_a_forward_that_is_replaced_later_is_seen() -> None:
    model = networks.seeded(networks.Plain)
    net, photo = interactify.wrap(model, mirror=True), networks.random_photo()
    net.session(photo)
    forward = model.forward
    model.forward = lambda x: forward(x) + 1  # type: ignore[method-assign]
    expected = interactify.wrap(model, mirror=True).session(photo).result.probability
    assert np.array_equal(net.session(photo).result.probability, expected)


@pytest.mark.parametrize(
    "options", [{"mirror": 1}, {"variables": "maps", "mirror": True}, {"variables": "kernels", "mirror": True}]
)
def test_where_it_can_not_be(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="mirror"):
        interactify.wrap(networks.seeded(networks.Plain), **options)


def test_a_network_of_one_image_is_not_tried_at_every_size() -> None:
    sides = []

    class Counted(OneImage):
        def forward(self, x: torch.Tensor) -> Any:
            sides.append(tuple(x.shape[-2:]))
            return super().forward(x)

    interactify.wrap(networks.seeded(Counted), mirror=True)
    assert len(set(sides)) < 4
