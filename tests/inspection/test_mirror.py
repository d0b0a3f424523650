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
from tests.fixtures import networks


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


@pytest.mark.parametrize(
    "options", [{"mirror": 1}, {"variables": "maps", "mirror": True}, {"variables": "kernels", "mirror": True}]
)
def test_where_it_can_not_be(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="mirror"):
        interactify.wrap(networks.seeded(networks.Plain), **options)
