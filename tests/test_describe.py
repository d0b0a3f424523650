"""The text of `describe()` is true and can be read by somebody who has never seen it."""

from __future__ import annotations

import re

import torch

import interactify
from interactify.runtime.pass_cache import ROOM
from tests.fixtures import networks


def lines_of(net: interactify.Interactive) -> dict[str, str]:
    """Each line by its label."""
    found = re.findall(r"^  (\w[\w -]{0,10}?)  +(.+(?:\n {14}.+)*)", net.describe(), re.MULTILINE)
    return {label: " ".join(text.split()) for label, text in found}


def test_memory_is_in_plain_numbers() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    lines = lines_of(net)
    assert lines["click runs"] == "only what depends on the variables"
    numbers = re.findall(r"[\d.]+", lines["memory"])
    kept, side, _, most = numbers
    passes = f"up to {side}×{side} pixels the last pass too ({most} MB at most)"
    assert lines["memory"] == f"{kept} MB for each megapixel that the network sees; {passes}"
    assert int(most) == round(ROOM / 1e6)
    suffix = net.session(networks.random_photo(128, 160)).initial_step.crop.suffix
    pixels = 128 * 160
    assert abs(float(kept) - suffix.bytes_kept / pixels) < 0.6
    of_that_side = int(side) ** 2 * suffix.bytes_made / pixels
    assert of_that_side <= ROOM < of_that_side * (1 + 3 / int(side))
    assert "e+" not in net.describe()


def test_padding_says_whether_it_is_assumed() -> None:
    model = networks.seeded(networks.Plain)
    assumed = lines_of(interactify.wrap(model))
    assert assumed["size"].endswith("multiples of 32 (assumed, since most networks accept it: divisor=… for less)")
    assert lines_of(interactify.wrap(model, divisor=4))["size"].endswith("padded to multiples of 4")


def test_what_the_classes_mean() -> None:
    def classes(activation: str | None, count: int, last: object = lambda z: z) -> str:
        model = networks.seeded(lambda: networks.WithOutput(last, count))  # type: ignore[arg-type]
        return lines_of(interactify.wrap(model, activation=activation))["classes"]  # type: ignore[arg-type]

    assert classes(None, 1) == "1 (one logit: object or not)"
    assert classes(None, 3) == "3 (a pixel has one; activation='sigmoid-logits' if it may have several)"
    assert classes("none", 3) == "3"
    assert classes("sigmoid-logits", 3) == "3 (a pixel may have several)"
    assert classes(None, 3, torch.sigmoid) == "3 (a pixel may have several)"
    assert classes(None, 3, lambda z: torch.softmax(z, 1)) == "3"


def test_how_the_activation_is_known() -> None:
    model = networks.seeded(lambda: networks.WithOutput(lambda z: torch.sigmoid(z) * 1.0))
    judged = "probabilities (sigmoid), undone numerically; judged by its values, which are all in [0, 1]; input size"
    assert lines_of(interactify.wrap(model))["output"] == judged
