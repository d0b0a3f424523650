"""Modules around a network of smp: what the adapter knows about the network inside also applies to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.adapters import adapter_for, knowledge_of
from tests.adapters.test_smp import INCEPTION, SIZE, network, picture
from tests.fixtures import networks


class Around(nn.Module):
    """A module around a network, like a LightningModule."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.model = network("FPN", encoder="xception", **options)
        self.loss = smp.losses.DiceLoss("binary")

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.model(image)
        return out


class Normalising(Around):
    """As in smp's own examples, the module holds mean and deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return super().forward((image - self.mean) / self.std)


def test_a_module_around_a_network_uses_what_is_known_about_it():
    model = networks.seeded(Around)
    assert adapter_for(model).name == "generic"
    net = interactify.wrap(model)
    assert net.spec.mean == INCEPTION[0]
    assert net.spec.normalisation == "assumed: the xception encoder's usual, of the FPN inside"
    assert net.spec.points == {"A": "model.encoder", "B": "model.decoder.p3", "C": "model.decoder"}


def test_a_module_that_normalises_inside_gets_plain_pixels():
    model = networks.seeded(Normalising)
    net = interactify.wrap(model)
    assert (net.spec.mean, net.spec.std) == ((0.0,) * 3, (1.0,) * 3)
    assert net.spec.points["A"] == "model.encoder"
    photo = picture()
    pixels = F.pad(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255, (0, 9, 0, 3), mode="replicate")
    with torch.no_grad():
        own = model(pixels)[0, 0, : SIZE[0], : SIZE[1]]
    np.testing.assert_allclose(net.session(photo).result.probability, own.sigmoid().numpy(), atol=1e-5)


def test_two_networks_side_by_side_are_of_no_family():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = network(), network()

        def forward(self, image: Tensor) -> Tensor:
            out: Tensor = self.a(image) + self.b(image)
            return out

    assert knowledge_of(networks.seeded(Two)).family == ""
