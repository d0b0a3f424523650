"""Who says how images are normalised: user, the network as a whole, what is seen inside, its family, ImageNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import OptionError
from interactify.inspection.image_flow import StemSearch
from interactify.inspection.normalisation import IMAGENET, normalisation_of
from interactify.inspection.spec import Knowledge
from tests.fixtures import awkward, networks


def watched(*arithmetic: tuple[str, float]) -> StemSearch:
    watching = StemSearch(torch.zeros(1, 3, 4, 4))
    watching.arithmetic.extend(arithmetic)
    return watching


INSIDE = watched(("sub", 0.45), ("div", 0.22))
NOTHING = watched()
FAMILY = Knowledge(family="theirs", mean=0.1, std=0.2)
WHOLE = Knowledge(family="theirs", mean=0.3, std=0.4, whole=True, normalisation="the network's own")
USER = Knowledge(mean=0.7, std=0.8)


@pytest.mark.parametrize(
    ("given", "known", "search", "expected", "source"),
    [
        (USER, WHOLE, INSIDE, (0.7, 0.8), "given"),
        (Knowledge(), WHOLE, INSIDE, (0.3, 0.4), "the network's own"),
        (Knowledge(), FAMILY, INSIDE, (0.0, 1.0), "normalises inside: sub and div"),
        (Knowledge(), FAMILY, NOTHING, (0.1, 0.2), "theirs's"),
        (Knowledge(), Knowledge(), INSIDE, (0.0, 1.0), "pixels in [0, 1]"),
        (Knowledge(), Knowledge(), NOTHING, (0.485, 0.229), "assumed"),
        (Knowledge(mean=0.7), FAMILY, NOTHING, (0.7, 0.2), "given"),
        (Knowledge(std=0.8), Knowledge(), INSIDE, (0.0, 0.8), "given"),
        (Knowledge(), Knowledge(mean=(0.1,), std=(0.2,)), NOTHING, (0.485, 0.229), "assumed"),
        (Knowledge(), Knowledge(mean=0.1), NOTHING, (0.485, 0.229), "assumed"),
    ],
)
def test_order_of_precedence(given: Any, known: Any, search: Any, expected: tuple[float, float], source: str) -> None:
    found = normalisation_of(3, given, known, search)
    assert (found.mean[0], found.std[0]) == expected and len(found.mean) == len(found.std) == 3
    assert source in found.source


@pytest.mark.parametrize(
    ("arithmetic", "std"),
    [
        ([("div", 255.0)], 1 / 255),
        ([("sub", 123.7), ("div", 58.4)], 1 / 255),
        ([("div", 127.5), ("sub", 1.0)], 1 / 255),
        ([("mul", 1 / 255), ("sub", 0.45), ("div", 0.22)], 1 / 255),
        ([("mul", 1 / 255)], 1 / 255),
        ([("mul", 255.0), ("sub", 123.7), ("div", 58.4)], 1.0),
        ([("mul", 2.0), ("sub", 1.0)], 1.0),
        ([("sub_", 0.45), ("div_", 0.22)], 1.0),
    ],
    ids=str,
)
def test_what_pixels_the_arithmetic_inside_is_made_for(arithmetic: Any, std: float) -> None:
    found = normalisation_of(3, Knowledge(), Knowledge(), watched(*arithmetic))
    assert (found.mean, found.std) == ((0.0,) * 3, (std,) * 3)
    assert ("0 to 255" in found.source) == (std != 1.0)


@pytest.mark.parametrize("arithmetic", [[("add", 0.04)], [("mul", 2.0)], []], ids=str)
def test_what_is_no_normalising(arithmetic: Any) -> None:
    assert normalisation_of(3, Knowledge(), Knowledge(), watched(*arithmetic)).mean == IMAGENET[0]


def test_arithmetic_after_the_first_convolution_says_nothing() -> None:
    class After(networks.Plain):
        def read(self, x: Tensor) -> Tensor:
            return (self.stem(x) - 123.0) / 58.0

    assert interactify.wrap(networks.seeded(After)).spec.mean == IMAGENET[0]


def test_other_numbers_of_channels() -> None:
    found = normalisation_of(4, Knowledge(), FAMILY, NOTHING)
    assert (found.mean, found.std) == ((0.1,) * 4, (0.2,) * 4)
    assert normalisation_of(1, Knowledge(), Knowledge(), NOTHING).mean == (0.0,)
    with pytest.raises(OptionError, match="4 finite values"):
        normalisation_of(4, Knowledge(mean=(0.1, 0.2, 0.3)), Knowledge(), NOTHING)


class BlueFirst:
    """Knows a network that reads blue, green, red, with mean and deviation in that order."""

    name = "blue first"
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)

    def recognises(self, model: nn.Module) -> bool:
        return False

    def knows(self, model: nn.Module) -> Knowledge:
        return Knowledge(family="blue first", mean=self.mean, std=self.std, bgr=True)


def test_blue_first() -> None:
    model = networks.seeded(networks.Plain)
    photo = networks.random_photo()
    net = interactify.wrap(model, adapter=BlueFirst())
    by_hand = np.zeros((1, 3, 64, 96), np.float32)
    for channel, colour in enumerate((2, 1, 0)):
        by_hand[0, channel] = (photo[..., colour] / 255 - BlueFirst.mean[channel]) / BlueFirst.std[channel]
    with torch.no_grad():
        own = model(torch.from_numpy(by_hand))
    assert torch.allclose(net.session(photo).result.logits, own, atol=1e-5)
    assert "in the order blue, green, red, mean 0.1/0.2/0.3" in net.describe()


def test_describe_names_the_arithmetic_found() -> None:
    net = interactify.wrap(networks.seeded(lambda: awkward.Preparing(lambda x: (x - 123.7) / 58.4)))
    assert "it normalises inside: sub and div before its first convolution; pixels from 0 to 255" in net.describe()
