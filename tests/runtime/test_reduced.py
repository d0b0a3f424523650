"""A tape in bfloat16: nearly the same logits and gradients, all of it in that type, or a reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from interactify.inspection.image_flow import Convolution
from interactify.network import precision
from interactify.runtime.reduced import STEERS
from interactify.runtime.steering import Steering
from interactify.runtime.suffix import Suffix
from interactify.runtime.tape import Tape
from interactify.session.session import Session
from tests.fixtures import networks


@pytest.fixture(autouse=True)
def fast_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has it: the arithmetic is the same on others, and only slower."""
    monkeypatch.setenv(precision.VARIABLE, "bfloat16")


def opened(model: nn.Module, size: int = 64, **options: Any) -> Suffix:
    net = interactify.wrap(model.eval(), resolution=size, precision="auto", mean=0.5, std=0.25, **options)
    return net.session(networks.random_photo(size, size)).initial_step.crop.suffix


def gradient(passes: Suffix | Steering, values: Tensor) -> tuple[Tensor, Tensor]:
    values = values.clone().requires_grad_(True)
    logits = passes(values, ())
    return logits.detach(), torch.autograd.grad(logits[..., 20, 24].sum(), values)[0]


NETWORKS = {
    "the embedded network": interactify.zoo.load,
    "batch norms": networks.slim_saliency,
    "group norms": lambda: smp.Unet(
        "tu-resnet50_gn", encoder_weights=None, encoder_depth=3, decoder_channels=(32, 16, 8)
    ),
    "attention": lambda: smp.Segformer("mit_b0", encoder_weights=None),
    "dilated": networks.small_fcn,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradient_are_nearly_those_in_single_precision(name: str) -> None:
    suffix = opened(NETWORKS[name]())
    assert suffix.unsteered == ""
    values = suffix.start + 0.01 * networks.random_tensor(*suffix.start.shape, seed=3)
    (expected, slope), (logits, found) = gradient(suffix, values), gradient(Steering(suffix), values)
    assert logits.dtype == found.dtype == torch.float32
    assert not torch.equal(logits, expected), "it is another type"
    assert (logits - expected).norm() <= STEERS * (expected - expected.mean()).norm()
    assert float(torch.cosine_similarity(found.flatten(), slope.flatten(), 0)) > 0.7


def test_everything_on_the_way_is_in_bfloat16() -> None:
    suffix = opened(networks.slim_saliency())
    tape = suffix.reduced_tape()
    assert tape is not None
    assert {tensor.dtype for tensor in tape.constants.values() if tensor.is_floating_point()} == {torch.bfloat16}
    dtypes: set[torch.dtype] = set()

    class Noted(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.is_floating_point():
                dtypes.add(out.dtype)
            return out

    with Noted():
        tape(suffix.start.to(torch.bfloat16))
    assert dtypes == {torch.bfloat16}
    assert not any(step.function is F.batch_norm for step in tape.steps), "they are folded"


def test_only_dilated_convolutions_in_groups_keep_their_layout() -> None:
    class Groups(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1)
            self.plain, self.dilated = (nn.Conv2d(8, 8, 3, padding=d, dilation=d, groups=4) for d in (1, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.dilated(F.relu(self.plain(F.relu(self.stem(x))))))

    tape = opened(Groups()).reduced_tape()
    assert tape is not None
    calls = [Convolution(*step.args, **step.kwargs) for step in tape.steps if step.function is torch.conv2d]
    last = torch.channels_last
    assert [_weight(tape, call).is_contiguous(memory_format=last) for call in calls[:3]] == [True, True, False]
    assert sum(step.function is Tensor.contiguous for step in tape.steps) == 1


def _weight(tape: Tape, call: Convolution) -> Tensor:
    return tape.constants[call.weight.slot]  # type: ignore[attr-defined]


def test_weights_are_converted_once_for_all_photos_and_again_when_they_change() -> None:
    net = interactify.wrap(model := networks.slim_saliency(), resolution=64, precision="auto")
    tapes = [
        net.session(networks.random_photo(64, 64, seed)).initial_step.crop.suffix.reduced_tape() for seed in (1, 2)
    ]
    kernels = [
        {id(tape.constants[step.args[1].slot]) for step in tape.steps if step.function is torch.conv2d}
        for tape in tapes
        if tape is not None
    ]
    assert len(kernels) == 2 and kernels[0] == kernels[1] and kernels[0]
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    suffix = net.session(networks.random_photo(64, 64, 1)).initial_step.crop.suffix
    expected = suffix(suffix.start, ())
    off = (Steering(suffix)(suffix.start, ()) - expected).norm() / (expected - expected.mean()).norm()
    assert float(off) <= STEERS


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return y * 2 if bool(y.mean() > -1e9) else y


class Faint(nn.Module):
    """Logits that vary by far less than the constant that they are beside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.stem(x) * 0.01 + 100.0) - 99.9


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.Sequential(*(nn.GroupNorm(2, 4) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.norms(self.stem(x))[:, :1]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Branching, "branches on values"),
        (Faint, "off by"),
        (Norms, "not convolutions"),
    ],
)
def test_why_there_is_none(model: type[nn.Module], why: str) -> None:
    suffix = opened(model())
    assert suffix.unsteered and why in suffix.unsteered and suffix.reduced_tape() is None


@pytest.mark.parametrize("options", [{"compile": True}, {"cuda_graphs": True}, {"variables": "kernels"}])
def test_other_ways_to_run_are_left_alone(options: dict[str, Any]) -> None:
    net = interactify.wrap(networks.slim_saliency(), resolution=64, precision="auto", **options)
    image = networks.random_tensor(1, 3, 64, 64)
    assert Suffix(net.runtime, net.variables, image, net.variables.start(net.network, image)).unsteered


def test_a_shape_at_which_it_fails_is_refined_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    model, photo = networks.slim_saliency(), networks.random_photo(64, 64)
    net = interactify.wrap(model, resolution=64, precision="auto")
    session = Session(net, photo, ready=False)
    run = Tape.__call__

    def fails(self: Tape, values: Tensor, constants: Any = None) -> Tensor:
        if values.dtype == torch.bfloat16:
            raise RuntimeError("view size is not compatible with input tensor's size and stride")
        return run(self, values, constants)

    monkeypatch.setattr(Tape, "__call__", fails)
    assert session.click(20, 30).satisfied
    assert "view size" in session.initial_step.crop.suffix.unsteered
