"""Variables at a layer: what each computes, mirrored, in windows and tiles, for classes; which layers are refused."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify import Box, Click
from interactify.commands import network_options
from interactify.errors import ModelError, OptionError
from interactify.network.layer_variables import AT_LAYER, MOST_CHANNELS
from interactify.network.variables import KINDS, target_logits
from tests.fixtures import networks
from tests.network.test_variables import IMAGE, forward_of, smooth

PHOTO = networks.random_photo()
NEW = ("bias_field", "conv1x1", "rows_columns")


def by_hand(kind: str, values: Tensor, x: Tensor) -> Tensor:
    """x′ from the formulas of the papers; x is (1, 8, 16, 16)."""
    if kind == "bias_field":
        return x + values
    if kind == "conv1x1":
        weight, bias = values[:, :8], values[:, 8]
        return x + torch.einsum("dc,nchw->ndhw", weight, x) + bias[None, :, None, None]
    rows, columns, scale, bias = values[:16], values[16:32], values[32:40], values[40:]
    factor = 1 + rows[None, None, :, None] + columns[None, None, None, :] + scale[None, :, None, None]
    return factor * x + bias[None, :, None, None]


@pytest.mark.parametrize(
    ("kind", "shape"), [("bias_field", (1, 8, 16, 16)), ("conv1x1", (8, 9)), ("rows_columns", (16 + 16 + 8 + 8,))]
)
def test_by_hand(kind: str, shape: tuple[int, ...]) -> None:
    model = smooth()
    net = interactify.wrap(model, variables=f"{kind}@deep")
    values = networks.random_tensor(*shape, dtype=torch.float64) * 0.3
    assert net.variables.start(net.network, IMAGE).shape == values.shape
    with torch.no_grad():
        first = torch.tanh(model.stem(IMAGE))
        down = model.down(first)
        deep = by_hand(kind, values, model.deep(down))
        expected = model.head(model.fine(model.middle(deep) + down) + first) * 3
        assert torch.allclose(forward_of(net, IMAGE)(values), expected, atol=1e-12)
        assert torch.equal(net.network.replica(IMAGE), model(IMAGE)), "outside a run, nothing is changed"


@pytest.mark.parametrize(
    ("kind", "layer"), [("bias_field", "down"), ("bias_field", "up"), ("conv1x1", "deep"), ("rows_columns", "deep")]
)
def test_clicks_are_satisfied_and_undone(kind: str, layer: str) -> None:
    session = interactify.wrap(networks.seeded(networks.Plain), variables=f"{kind}@{layer}").session(PHOTO)
    before = session.result.probability
    for x, y in ((30, 20), (90, 60), (0, 63)):
        result = session.click(x, y, positive=not bool(session.result.mask[y, x]))
        assert result.satisfied and result.evaluations >= 2
    last = result.probability
    for _ in range(3):
        session.undo()
    assert np.array_equal(session.result.probability, before)
    for _ in range(3):
        session.redo()
    assert np.array_equal(session.result.probability, last)


# ---- the size of the map ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NEW)
def test_the_network_runs_once_more_for_a_size_of_images(kind: str) -> None:
    class Counted(networks.Plain):
        runs = 0

        def forward(self, x: Tensor) -> Any:
            self.runs += 1
            return super().forward(x)

    net = interactify.wrap(networks.seeded(Counted), variables=f"{kind}@deep")
    replica, before = net.network.replica, net.network.replica.runs
    for height, width, more in ((64, 96, 1), (96, 64, 1), (64, 96, 0), (21, 33, 1)):
        start = net.variables.start(net.network, torch.zeros(1, 3, height, width))
        h, w = -(-height // 4), -(-width // 4)
        expected = {"bias_field": (1, 12, h, w), "conv1x1": (12, 13), "rows_columns": (h + w + 24,)}
        assert start.shape == expected[kind] and start.untyped_storage().nbytes() == 4
        more = more if kind != "conv1x1" else 0
        assert replica.runs - before == more
        before = replica.runs


@pytest.mark.parametrize("kind", NEW)
def test_in_a_new_window_it_begins_at_zero(kind: str) -> None:
    """As a change of the image does; and in the same window, where the last click ended."""
    options = {"resolution": 96, "divisor": 16, "max_evaluations": 4}
    net = interactify.wrap(networks.seeded(networks.Plain), variables=f"{kind}@down", **options)
    session = net.session(networks.random_photo(192, 256))
    session.click(30, 30, positive=not bool(session.result.mask[30, 30]))
    session.add([Box(20, 20, 60, 100)])
    first, second = session.steps[-2:]
    assert first.window != second.window and first.values.any() and second.values.any()
    for step in (first, second):
        h, w = (-(-side // 2) for side in step.crop.image.shape[-2:])
        expected = {"bias_field": (1, 12, h, w), "conv1x1": (12, 13), "rows_columns": (h + w + 24,)}
        assert step.values.shape == expected[kind]
    assert first.crop.image.shape != second.crop.image.shape
    problem = session.refiner.problem((first,), second.interactions, None)
    assert problem.crop.window == second.window and not problem.start.any()
    problem = session.refiner.problem((first, second), (*second.interactions, Click(40, 60)), None)
    assert problem.crop.window == second.window and torch.equal(problem.start, second.values)


@pytest.mark.parametrize("kind", NEW)
def test_tiles_several_objects_and_classes(kind: str) -> None:
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(classes=4)), variables=f"{kind}@up", resolution=64, max_evaluations=20
    )
    session = net.session(PHOTO, tile=48)
    assert session.click(20, 30, label=2).satisfied
    session = net.session(PHOTO)
    assert session.click(20, 30, label=2).satisfied and session.class_map()[30, 20] == 2
    session.add_object("other")
    assert session.click(70, 10).satisfied
    assert all(result.satisfied for result in net.refine(PHOTO, [[Click(20, 30)], [Click(70, 10)]]))


def test_maps_of_several_sizes_are_refused_for_what_has_a_place() -> None:
    class Levels(nn.Module):
        """One convolution for two levels of a pyramid."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Conv2d(4, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            first = self.stem(x)
            coarse = self.shared(nn.functional.avg_pool2d(first, 2))
            return self.head(self.shared(first) + nn.functional.interpolate(coarse, x.shape[-2:]))

    model = networks.seeded(Levels)
    for kind in ("bias_field", "rows_columns"):
        with pytest.raises(
            ModelError, match=r"one size.*'shared' with \d+×\d+, .*Try another layer, or 'scale_bias@sh"
        ):
            interactify.wrap(model, variables=f"{kind}@shared")
    for kind in ("scale_bias", "conv1x1"):
        session = interactify.wrap(model, variables=f"{kind}@shared").session(PHOTO)
        assert session.click(20, 30, positive=not bool(session.result.mask[30, 20])).satisfied


# ---- which layers ----------------------------------------------------------------------------------------------------


def test_too_many_channels_for_a_convolution() -> None:
    def of_channels(count: int) -> nn.Module:
        return networks.seeded(lambda: nn.Sequential(nn.Conv2d(3, count, 1), nn.Conv2d(count, 1, 1)))

    interactify.wrap(of_channels(MOST_CHANNELS), variables="conv1x1@0")
    model = of_channels(MOST_CHANNELS + 1)
    with pytest.raises(OptionError, match=r"at most 512 channels .*'conv1x1@0', got 513 .*Try 'scale_bias@0'"):
        interactify.wrap(model, variables="conv1x1@0")
    interactify.wrap(model, variables="bias_field@0")


@pytest.mark.parametrize("kind", AT_LAYER)
def test_layers_that_are_none_are_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="deep"):
        interactify.wrap(smooth(), variables=f"{kind}@deeper")
    with pytest.raises(ModelError, match=r"insertion points .none., got A"):
        interactify.wrap(nn.Conv2d(3, 1, 1), variables=f"{kind}@A")
    for wrong in (kind, f"{kind}@", f"{kind}@ ", f"{kind}s@deep"):
        with pytest.raises(OptionError, match=f"{kind}@LAYER"):
            interactify.wrap(smooth(), variables=wrong)


# ---- a mirrored network ----------------------------------------------------------------------------------------------


class OneImage(networks.Plain):
    """A batch of one is written into it: image and mirror image run one after the other."""

    def forward(self, x: Tensor) -> Any:
        out = super().forward(x)
        return out.reshape(1, -1, *out.shape[-2:])


@pytest.mark.parametrize("build", [networks.Plain, OneImage])
@pytest.mark.parametrize("kind", AT_LAYER)
def test_mirrored_a_place_is_one_place_of_the_photo(build: type[nn.Module], kind: str) -> None:
    model = networks.seeded(build).double()
    options = {"variables": f"{kind}@down", "max_evaluations": 3}
    net, plain = (interactify.wrap(model, mirror=mirror, **options) for mirror in (True, False))
    values = networks.random_tensor(*plain.variables.start(plain.network, IMAGE).shape, dtype=torch.float64) * 0.1
    turned = values
    if kind == "bias_field":
        turned = values.flip(-1)
    elif kind == "rows_columns":  # rows, columns, then channels
        turned = torch.cat([values[:32], values[32:64].flip(0), values[64:]])
    with torch.no_grad():
        found = forward_of(net, IMAGE)(values)
        other = target_logits(plain.network, plain.variables, IMAGE.flip(-1), turned, (), None).flip(-1)
        assert torch.allclose(found, (forward_of(plain, IMAGE)(values) + other) / 2, atol=1e-12)
    suffix = net.session(PHOTO).refiner.first_crop.suffix
    at = torch.full(suffix.start.shape, 0.1, dtype=torch.float64)
    whole = target_logits(net.network, net.variables, suffix.image, at, (), None)
    assert torch.allclose(suffix(at, ()), whole, atol=1e-12) and suffix.whole is None


# ---- where they are named --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NEW)
def test_copies_and_descriptions(kind: str) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), variables=f"{kind}@deep", max_evaluations=3)
    (line,) = [each for each in net.describe().splitlines() if each.split()[:1] == ["variables"]]
    assert f"{kind}@deep (" in line and "as asked for" not in line
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again.session(PHOTO).click(5, 5).probability, net.session(PHOTO).click(5, 5).probability)


def test_every_kind_is_named_where_kinds_are_listed() -> None:
    parser = argparse.ArgumentParser()
    network_options.add_network_options(parser)
    text = " ".join(parser.format_help().split())
    page = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    for name in (*KINDS, *(f"{kind}@LAYER" for kind in AT_LAYER)):
        assert name in text and f'| `"{name}"` |' in page, name
