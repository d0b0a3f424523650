"""precision=: convolutions in half precision under autocast, variables and energy in single precision."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import interactify
from interactify.runtime.lowering import FrozenWeights
from tests.fixtures import networks

pytestmark = pytest.mark.filterwarnings("ignore:float16 on a processor:UserWarning")


@pytest.mark.parametrize(
    ("variables", "precision"),
    [
        *(("input", "bfloat16"), ("input", "float16"), ("scale_bias@B", "bfloat16"), ("bias_field@B", "float16")),
        *(("conv1x1@B", "bfloat16"), ("rows_columns@B", "float16")),
        *(pytest.param(f"{each}@B", "float16", marks=pytest.mark.slow) for each in ("scale_bias", "conv1x1")),
        *(pytest.param(f"{each}@B", "bfloat16", marks=pytest.mark.slow) for each in ("bias_field", "rows_columns")),
    ],
)
def test_clicks_in_half_precision_are_about_those_in_single(variables: str, precision: str) -> None:
    model, photo = networks.slim_saliency(), networks.random_photo(64, 64)
    plain, half = (
        interactify.wrap(model, variables=variables, precision=each, resolution=64).session(photo)
        for each in ("float32", precision)
    )
    assert np.abs(plain.result.probability - half.result.probability).max() < 0.05
    result = half.click(x=20, y=30)
    assert result.satisfied and result.logits.dtype == torch.float32
    assert half.steps[-1].values.dtype == torch.float32


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_is_run_is_the_networks_own_autocast(precision: str) -> None:
    """Against torch.autocast around the user's own model, to what half precision can tell."""
    model, photo = networks.slim_saliency(), networks.random_photo(64, 64)
    net = interactify.wrap(model, precision=precision, resolution=64)
    crop = net.session(photo).initial_step.crop
    with torch.no_grad(), torch.autocast("cpu", getattr(torch, precision)):
        expected = model(crop.image).float()
    found = crop.suffix(crop.start, [])
    assert any(key[0][0] == ("cast", getattr(torch, precision)) for key in net.runtime.suffixes.frozen.derived)
    assert float((found - expected).abs().max() / expected.abs().max()) < (0.05 if precision == "bfloat16" else 0.01)


def test_weights_are_cast_once() -> None:
    net = interactify.wrap(networks.slim_saliency(), precision="bfloat16", resolution=64)
    suffixes = [net.session(networks.random_photo(64, 64, seed)).initial_step.crop.suffix for seed in (1, 2)]
    frozen: FrozenWeights = net.runtime.suffixes.frozen
    casts = [key for key in frozen.derived if key[0][0] == ("cast", torch.bfloat16)]
    convolutions = sum(isinstance(module, nn.Conv2d) for module in networks.slim_saliency().modules())
    assert convolutions <= len(casts) <= 2 * convolutions  # weights, and biases where there are any
    for suffix in suffixes:
        tape = suffix.lowered_tape
        steps = [step for step in tape.steps if step.function in (torch.conv2d, F.linear)]
        assert steps and all(tape.constants[step.args[1].slot].dtype == torch.bfloat16 for step in steps)


def test_the_model_and_the_callers_autocast_are_left_alone() -> None:
    model = networks.slim_saliency()
    session = interactify.wrap(model, precision="bfloat16", resolution=64).session(networks.random_photo(64, 64))
    session.click(x=5, y=5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_float16_on_a_processor_warns() -> None:
    """Nothing else says that it is slow; where the network is wrapped on a GPU, or computes in bfloat16, it is not."""
    model = networks.slim_saliency()
    with pytest.warns(
        interactify.InteractifyWarning, match=r"float16 on a processor.* Try precision='bfloat16'"
    ) as told:
        interactify.wrap(model, precision="float16", resolution=64)
    assert [Path(each.filename).name for each in told] == ["test_precision.py"], "once, at the line that wraps"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in ("float32", "bfloat16"):
            interactify.wrap(model, precision=other, resolution=64)


@pytest.mark.parametrize("given", ["half", "bf16", torch.bfloat16, None, 16])
def test_other_precisions_are_refused(given: object) -> None:
    with pytest.raises(interactify.OptionError, match="float32, auto, bfloat16, float16"):
        interactify.wrap(networks.slim_saliency(), precision=given)  # type: ignore[arg-type]


def test_a_network_in_double_precision_keeps_it() -> None:
    with pytest.raises(interactify.OptionError, match="got float64"):
        interactify.wrap(networks.slim_saliency().double(), precision="bfloat16")
    net = interactify.wrap(networks.slim_saliency(), precision="bfloat16")
    assert "precision   autocast to bfloat16" in net.describe()
