"""Who says how images are normalised: user, the network as a whole, what is seen inside, its family, ImageNet."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import InteractifyWarning, OptionError
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


def warned(model: nn.Module, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        interactify.wrap(model, **options)
    return [str(each.message) for each in caught if each.category is InteractifyWarning]


def test_assuming_it_warns_once_and_tells_what_to_write() -> None:
    with pytest.warns(InteractifyWarning, match="Assumed ImageNet's mean and deviation") as caught:
        net = interactify.wrap(networks.seeded(networks.Plain))
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert "of Plain" in text and "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)" in text
    assert "check_normalisation" in text and "interactify inspect --photos" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.session(networks.random_photo()).click(3, 4)
        net.describe()
    grey = networks.seeded(lambda: networks.Plain(channels=1))
    (text,) = warned(grey)
    assert text.startswith("Assumed pixels in [0, 1], not normalised, as the input of Plain")
    assert "mean=0.0, std=1.0 in" in text
    # The line to write is one that can be written.
    written = re.search(r"mean=(.*?), std=(.*?) in", text)
    assert written is not None
    assert warned(grey, mean=ast.literal_eval(written[1]), std=ast.literal_eval(written[2])) == []


@pytest.mark.parametrize("options", [{"mean": 0.5}, {"std": 0.5}], ids=str)
def test_half_of_it_is_assumed(options: dict[str, Any]) -> None:
    (text,) = warned(networks.seeded(networks.Plain), **options)
    assert text.startswith("Assumed")


def test_where_it_is_known_nobody_is_warned() -> None:
    stated = networks.seeded(networks.Plain)
    stated.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    assert warned(networks.seeded(networks.Plain), mean=0.5, std=0.5) == []
    assert warned(networks.seeded(networks.Plain), mean=IMAGENET[0], std=IMAGENET[1]) == []
    assert warned(stated) == []
    assert warned(networks.seeded(networks.NormalisingInside)) == []
    assert warned(interactify.zoo.load("saliency")) == [] == warned(interactify.zoo.load("clicks"))
    assert warned(networks.seeded(networks.Plain), adapter=BlueFirst()) == []


def test_a_copy_on_another_device_does_not_warn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(InteractifyWarning):
        net = interactify.wrap(networks.seeded(networks.Plain))
    seen: list[Any] = []
    monkeypatch.setattr(interactify.interactive, "independent_copy_of", lambda model: seen.append(1) or model)
    object.__setattr__(net.network, "spec", replace(net.spec, device=torch.device("cuda")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.to("cpu")
    assert seen == [1]


def test_a_deviation_below_zero_inverts() -> None:
    model, photo = networks.seeded(networks.Plain), networks.random_photo()
    inverted = interactify.wrap(model, mean=1, std=-1)
    plain = interactify.wrap(model, mean=0, std=1)
    result = inverted.session(photo).result
    assert torch.allclose(result.logits, plain.session(255 - photo).result.logits, atol=1e-5)
    assert (inverted.spec.mean, inverted.spec.std) == ((1.0,) * 3, (-1.0,) * 3)
    # Corrections follow the photo's own colours, not the inverted ones.
    crop = inverted.session(photo).initial_step.crop
    assert torch.allclose(crop.guide[0, :, :64, :96], torch.from_numpy(photo).permute(2, 0, 1) / 255, atol=1e-6)
    session = inverted.session(photo)
    wanted = not session.result.mask[4, 3]
    assert session.click(3, 4, positive=bool(wanted)).satisfied
    with pytest.raises(OptionError, match="other than 0"):
        interactify.wrap(model, mean=1, std=(-1, 0, -1))
