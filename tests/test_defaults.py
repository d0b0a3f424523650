"""Whatever torch's default device and type are, masks are the same; a network without weights says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import interactify
from interactify import Box, Click, Scribble, brs
from interactify.errors import ModelError
from interactify.interactions.click_maps import interaction_maps
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 90)
LARGE = networks.random_photo(2100, 2000)


@contextmanager
def defaults(device: str, dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def results(model: nn.Module, classes: nn.Module) -> list[np.ndarray]:
    """What sessions of every kind give, with every variable."""
    found: list[np.ndarray] = []
    for variables in (
        "input",
        "maps",
        "kernels",
        "scale_bias@down",
        "bias_field@down",
        "conv1x1@down",
        "rows_columns@down",
    ):
        net = interactify.wrap(model, variables=variables, max_evaluations=3)
        session = net.session(PHOTO)
        session.click(20, 30)
        found.append(session.click(70, 10, positive=False).probability)
    session.add_object("other")
    session.add([Scribble([(5, 5), (60, 8)], width=5), Box(2, 2, 80, 50)])
    found += [session.result.probability, session.label_map()]
    found += [result.probability for result in net.refine(PHOTO, [[Click(20, 30)], [Click(70, 10, False)]])]
    several = interactify.wrap(classes, max_evaluations=3).session(PHOTO)
    several.click(20, 30, label=2)
    found += [several.class_map(), several.result.probability]
    tiled = interactify.wrap(model, max_evaluations=2, resolution=64).session(PHOTO, tile=48)
    found.append(tiled.click(20, 30).mask_in(interactify.Window(0, 0, 60, 90)))
    big = interactify.wrap(model, max_evaluations=2, resolution=64).session(LARGE)
    found.append(big.click(900, 900).mask_in(interactify.Window(0, 0, 90, 90)))
    predictor = interactify.Predictor(interactify.wrap(model, max_evaluations=2))
    predictor.set_image(PHOTO)
    found += list(predictor.predict(np.array([[20, 30]]), np.array([1])))
    found.append(np.asarray(interaction_maps([Click(3, 4)], (9, 12))))
    return found


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    """Those under torch's own defaults."""
    return results(networks.seeded(networks.Plain), networks.seeded(lambda: networks.Plain(classes=4)))


@pytest.mark.parametrize(
    ("device", "dtype"), [("meta", torch.float32), ("cpu", torch.bfloat16), ("cpu", torch.float64)]
)
def test_results_do_not_depend_on_torchs_defaults(expected, device, dtype):
    model, classes = networks.seeded(networks.Plain), networks.seeded(lambda: networks.Plain(classes=4))
    with defaults(device, dtype):
        got = results(model, classes)
        assert torch.get_default_dtype() == dtype
    assert len(got) == len(expected) and all(map(np.array_equal, got, expected))


@pytest.mark.parametrize(("device", "dtype"), [("meta", torch.float32), ("cpu", torch.bfloat16)])
def test_the_embedded_network_is_the_same(device, dtype):
    expected = interactify.zoo.load().state_dict()
    with defaults(device, dtype):
        got = interactify.zoo.load().state_dict()
    assert all(got[name].dtype == value.dtype and torch.equal(got[name], value) for name, value in expected.items())


def test_the_core_takes_lists_under_any_default_device():
    image = torch.full((1, 1, 8, 8), -0.2)

    def refined() -> brs.Refinement:
        start = torch.zeros(1, 1, 8, 8, device="cpu", dtype=torch.float32)
        return brs.refine(lambda v: image + v, start, [[2.0, 3.0]], [True])

    expected = refined()
    with defaults("meta", torch.float64):
        assert torch.equal(refined().values, expected.values)


@pytest.mark.parametrize(
    "build", [lambda: networks.Plain(), lambda: nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1))]
)
def test_a_network_on_meta_is_refused_by_name(build):
    with torch.device("meta"):
        model = build()
    with pytest.raises(ModelError, match=r"on the device 'meta'.*to_empty\(device='cpu'\)"):
        interactify.wrap(model)
    partly = networks.seeded(networks.Plain)
    partly.head.to("meta")
    with pytest.raises(ModelError, match="on the device 'meta'"):
        interactify.wrap(partly)
