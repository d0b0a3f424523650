"""The text of `describe()` is true and can be read by somebody who has never seen it."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

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
    passes = f"up to {side}×{side} pixels, its last pass too ({most} MB at most)"
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
    assert assumed["size"].endswith("multiples of 32 (assumed, as most accept it; divisor=… for less)")
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


def test_names_that_are_numbers_are_kept_apart_from_shapes() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    net = interactify.wrap(model, mean=0.0, std=1.0)
    lines = lines_of(net)
    assert lines["stem"].startswith("0: 8×1×3×3 (") and lines["input"].startswith("1 channel, mean 0, std 1 (")
    assert (
        lines["point A"] == "1: 8×128×160 (for variables='scale_bias@A' and the like; the map of an image of 128×160)"
    )
    several = networks.seeded(lambda: networks.WithOutput(lambda z: [z, z[..., ::2, ::2]]))
    assert lines_of(interactify.wrap(several))["also"] == "1: 1×64×80 (other maps it returns; output=… takes one)"


def test_the_size_of_the_map_and_of_the_image() -> None:
    quarter = networks.seeded(lambda: networks.WithOutput(networks.as_quarter))
    net = interactify.wrap(quarter, divisor=1, resolution=96)
    assert lines_of(net)["output"].endswith("; 1/4 of the input size")
    assert lines_of(net)["size"] == "longest side 96, not padded"


def test_what_an_adapter_states_is_not_called_given() -> None:
    timm = pytest.importorskip("timm")
    net = interactify.wrap(timm.create_model("test_resnet", num_classes=1000).eval())
    lines = lines_of(net)
    assert lines["output"] == "logits; known of its family; 1/32 of the input size"
    assert lines["classes"] == "1000: tench, goldfish, great white shark, tiger shark, …"
    assert lines_of(interactify.wrap(net.unwrap(), activation="none"))["output"].startswith("logits; as given; ")


def test_no_line_is_longer_than_a_terminal() -> None:
    names = [f"a class with a name that is rather long, number {k}" for k in range(5)]
    model = networks.seeded(lambda: networks.Plain(classes=5))
    for options in ({}, {"class_names": names}, {"mirror": True, "value_range": (0, 4095)}):
        text = interactify.wrap(model, **options).describe()  # type: ignore[arg-type]
        assert max(map(len, text.splitlines())) <= 120, text


def test_it_says_the_same_before_and_after_a_click() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=4)
    before = net.describe()
    net.session(networks.random_photo()).click(10, 10)
    assert net.describe() == before
