"""wrap(): what it accepts, what it refuses before any work, and what it reports."""

from __future__ import annotations

import inspect
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import interactify
from interactify.errors import InteractifyError, ModelError, OptionError
from tests.fixtures import networks


def test_the_same_object_comes_back() -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model)
    assert net.unwrap() is model and net.spec is net.network.spec
    assert repr(net) == "Interactive(Plain, variables='input', energy='settling')"


def test_the_defaults_are_the_documented_ones() -> None:
    defaults = {p.name: p.default for p in inspect.signature(interactify.wrap).parameters.values()}
    expected = {"energy": None, "solver": "lbfgs"}
    assert {name: defaults[name] for name in expected} == expected
    for name in ("variables", "click_maps", "output", "target", "mean", "std", "resolution", "stem"):
        assert defaults[name] is None


@pytest.mark.parametrize(
    "wrong", [None, "unet", networks.Plain, lambda x: x, {"state": 1}, np.zeros(3)], ids=lambda w: type(w).__name__
)
def test_invalid_networks(wrong: Any) -> None:
    with pytest.raises(ModelError, match=r"nn\.Module"):
        interactify.wrap(wrong)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (networks.Classifier(), "per-pixel map"),
        (networks.NeverRuns(), "takes no images"),
        (networks.Uncopiable(), "copied"),
        (networks.LinearPatches(), "convolution"),
        (nn.Linear(8, 8), "."),
        (nn.Identity(), "."),
        (nn.Sequential(nn.Flatten(), nn.Linear(100, 3)), "."),
        (nn.Sequential(nn.LazyConv2d(4, 3)), "."),
        (nn.Sequential(), "."),
        (nn.ModuleList([nn.Conv2d(3, 1, 1)]), "."),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)), "per-pixel map"),
        (nn.Sequential(nn.Conv1d(3, 4, 3)), "."),
    ],
    ids=lambda m: type(m).__name__ if isinstance(m, nn.Module) else "",
)
def test_networks_it_cannot_work_with(model: nn.Module, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        interactify.wrap(model)


WRONG: list[dict[str, Any]] = [
    {"bgr": 1},
    {"activation": "tanh"},
    {"points": {"D": "stem"}},
    {"points": ["stem"]},
    {"adapter": "nonsense"},
    {"target": "tabby"},
    {"variables": "nonsense"},
    {"variables": "scale_bias@"},
    {"variables": "bias_field@"},
    {"variables": 3},
    {"energy": "nonsense"},
    {"solver": "nonsense"},
    {"solver": None},
    {"solver": ["lbfgs"]},
    {"mean": (0.5, 0.5)},
    {"mean": "grey"},
    {"mean": float("nan")},
    {"std": 0},
    {"std": (1, 1, 0)},
    {"fit": "crop"},
    {"fit": 1},
    {"resolution": 0},
    {"resolution": "large"},
    {"resolution": 2.5},
    {"divisor": 0},
    {"divisor": "32"},
    {"max_evaluations": 0},
    {"max_evaluations": 1.5},
    {"max_evaluations": True},
    {"target": -1},
    {"target": 1},
    {"target": "cat"},
    {"zoom": "no"},
]


@pytest.mark.parametrize(
    "options",
    WRONG,
    ids=str,
)
def test_invalid_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        interactify.wrap(networks.seeded(networks.Plain), **options)
    ((name, value),) = options.items()
    assert name in str(caught.value) or repr(value) in str(caught.value)


def test_to_squash_needs_the_side_of_the_square() -> None:
    with pytest.raises(OptionError, match="resolution=512"):
        interactify.wrap(networks.seeded(networks.Plain), fit="squash")
    model = networks.seeded(networks.Plain)
    model.pretrained_cfg = {"input_size": (3, 96, 96)}
    assert interactify.wrap(model, fit="squash").network.view((40, 90)).network_size == (96, 96)


@pytest.mark.parametrize(
    "options",
    [o for o in WRONG if not {"target", "mean", "std"} & set(o)],
    ids=str,
)
def test_options_are_checked_before_any_work(options: dict[str, Any]) -> None:
    model = networks.seeded(networks.Counted)
    runs = model.counter.runs
    with pytest.raises(InteractifyError):
        interactify.wrap(model, **options)
    assert model.counter.runs == runs


@pytest.mark.parametrize(
    "options",
    [
        {"stem": "nowhere"},
        {"stem": 3},
        {"stem": ["stem"]},
        {"variables": "scale_bias@nowhere"},
        {"variables": "conv1x1@nowhere"},
        {"output": "nowhere"},
        {"output": 4},
        {"output": "stem.weight"},
    ],
    ids=str,
)
def test_names_that_the_network_does_not_have(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        interactify.wrap(networks.seeded(networks.Plain), **options)
    assert str(caught.value).count("\n") == 0 and len(str(caught.value)) < 400


def test_positional_options_are_refused() -> None:
    with pytest.raises(TypeError):
        interactify.wrap(networks.seeded(networks.Plain), "maps")  # type: ignore[misc]


def test_an_untrained_looking_network_in_training_mode_is_run_in_evaluation_mode() -> None:
    model = networks.seeded(networks.Stateful, evaluating=False)
    photo = networks.random_photo()
    one, two = (interactify.wrap(model).session(photo).result.logits for _ in range(2))
    assert torch.equal(one, two), "no dropout"
    assert model.training and not model.norm.training


@pytest.mark.parametrize("output", [None, "out", lambda raw: raw["out"]])
def test_output_named(output: Any) -> None:
    model = networks.seeded(lambda: networks.WithOutput(networks.as_dict))
    plain = networks.seeded(networks.Plain)
    session = interactify.wrap(model, output=output).session(networks.random_photo())
    assert torch.equal(session.result.logits, interactify.wrap(plain).session(networks.random_photo()).result.logits)
    other = interactify.wrap(model, output="aux").session(networks.random_photo())
    assert torch.equal(other.result.logits, -session.result.logits)
    assert "'aux'" in interactify.wrap(model, output="aux").describe()


def test_describe() -> None:
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(classes=3)), energy="brs", solver="scipy", max_evaluations=17
    )
    lines = {line.split()[0]: line for line in net.describe().splitlines()[1:]}
    assert net.describe().splitlines()[0] == "Plain"
    assert "stem: 8×3×3×3" in lines["stem"] and "logits" in lines["output"] and "3" in lines["classes"]
    points = [line for line in net.describe().splitlines() if line.startswith("  point")]
    assert [line.split()[1] for line in points] == list(net.spec.insertion_points())
    for line, layer in zip(points, net.spec.insertion_points().values(), strict=True):
        assert layer.name in line and "×".join(map(str, layer.shape)) in line
    assert (
        "input" in lines["variables"]
        and "brs" in lines["energy"]
        and "scipy" in lines["solver"]
        and "17" in lines["solver"]
    )
    assert "first click" in lines["target"]


def test_every_field_can_be_overridden() -> None:
    model = networks.seeded(lambda: networks.WithOutput(lambda z: {"a": z, "out": z * 2}, classes=3))
    net = interactify.wrap(
        model,
        output="a",
        activation="sigmoid-logits",
        class_names=["sky", "road", "car"],
        target="car",
        mean=np.array([0.1, 0.2, 0.3]),
        std=torch.tensor([1.0, 2.0, 3.0]),
        bgr=True,
        resolution=80,
        divisor=20,
        stem="down",
        points={"A": "stem", "B": "up"},
        adapter="generic",
    )
    spec = net.spec
    assert (spec.output.name, spec.output.activation, spec.output.sure) == ("a", "sigmoid-logits", "as given")
    assert (net.target, spec.class_names[2], spec.bgr) == (2, "car", True)
    assert spec.mean == pytest.approx((0.1, 0.2, 0.3)) and spec.std == (1.0, 2.0, 3.0)
    assert (spec.resolution, spec.divisor) == (80, 20)
    assert [spec.insertion_points()[letter].name for letter in "AB"] == ["stem", "up"]
    assert [call.module for call in spec.stem] == ["down"]
    assert "class 2 (car)" in net.describe()


def test_as_many_class_names_as_classes() -> None:
    with pytest.raises(OptionError, match="Expected 3 class names"):
        interactify.wrap(networks.seeded(lambda: networks.Plain(classes=3)), class_names=["one", "two"])


def test_wrapping_costs_less_than_three_passes() -> None:
    """Of a ResNet-50 Unet at 256²; measured 0.7 passes, so that a busy machine does not fail it."""
    import segmentation_models_pytorch as smp

    model = networks.seeded(lambda: smp.Unet("resnet50", encoder_weights=None))
    image = torch.zeros(1, 3, 256, 256)
    passes, wraps = [], []
    for _ in range(3):
        started = time.perf_counter()
        with torch.no_grad():
            model(image)
        passes.append(time.perf_counter() - started)
        started = time.perf_counter()
        interactify.wrap(model)
        wraps.append(time.perf_counter() - started)
    assert min(wraps) < 3 * min(passes)


def test_on_another_device() -> None:
    """A copy with the same options. "cpu:0" is another name of the same device, so that this runs everywhere."""
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model, variables="maps", energy="brs", max_evaluations=5, resolution=64)
    there = net.to(torch.device("cpu", 0))
    assert there is not net and there.unwrap() is not model and net.to("cpu") is net
    assert (there.variables.name, there.energy.name, there.max_evaluations, there.spec.resolution) == (
        "maps", "brs", 5, 64,
    )  # fmt: skip
    photo = networks.random_photo()
    one, two = (each.session(photo).click(30, 20) for each in (net, there))
    assert np.array_equal(one.mask, two.mask) and torch.equal(one.logits, two.logits)
    with torch.no_grad():
        next(there.unwrap().parameters()).zero_()
    assert not torch.equal(next(model.parameters()), next(there.unwrap().parameters())), "nothing is shared"


@pytest.mark.parametrize(
    "device", ["cuda:77", "mps" if not torch.backends.mps.is_available() else "xpu", "tpu", "meta", 3.5, None]
)
def test_invalid_devices(device: Any) -> None:
    with pytest.raises(OptionError, match="device"):
        interactify.wrap(networks.seeded(networks.Plain)).to(device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    there = net.to("cuda")
    photo = networks.random_photo()
    assert there.session(photo).click(30, 20).satisfied and there.spec.device.type == "cuda"
    assert net.spec.device.type == "cpu" and next(net.unwrap().parameters()).device.type == "cpu"
