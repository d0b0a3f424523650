"""Tiny networks, one for each quirk met in real ones; random weights from a seed, nothing downloaded."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seeded(build: Callable[[], Any], seed: int = 0, evaluating: bool = True) -> Any:
    """A network with random weights, in evaluation mode unless told, without touching the global random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        if isinstance(model, Plain):
            _centre(model)
    if evaluating:
        model.train(False)
    return model


def acquaint(model: nn.Module, side: int, channels: int = 3) -> None:
    """Give batch norms the statistics of random pictures, side × side: with those they start with, signals die out."""
    norms = [module for module in nn.Module.modules(model) if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()(F.interpolate(torch.randn(4, channels, 9, 9), (side, side), mode="bicubic"))
    for norm in norms:
        norm.momentum = 0.1


def _centre(model: Plain) -> None:
    """Spread the logits of a random picture around 0 as a trained network's are, so that masks hold both labels."""
    seen: list[Tensor] = []
    handle = model.head.register_forward_hook(lambda module, args, out: seen.append(out))
    modes = {module: module.training for module in nn.Module.modules(model)}
    model.train(False)
    with torch.no_grad():
        model(F.interpolate(torch.randn(1, model.channels, 8, 8), scale_factor=8.0, mode="bilinear"))
        model.head.bias -= seen[0].mean((0, 2, 3))
        model.gain = 2.0 / float(seen[0].std((0, 2, 3)).mean())
    handle.remove()
    for module, training in modes.items():
        module.training = training


def random_photo(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """A blurred random picture (H, W, 3) uint8, the same for the same seed."""
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    return (fine * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().copy()


def random_tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Plain(nn.Module):
    """Encoder and decoder with a skip connection; `smooth` where it has to be differentiable everywhere."""

    def __init__(self, channels: int = 3, classes: int = 1, smooth: bool = False) -> None:
        super().__init__()
        self.act: nn.Module = nn.Softplus() if smooth else nn.ReLU()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(12, 12, 3, stride=2, padding=1)
        self.up = nn.Conv2d(20, 8, 3, padding=1)
        self.head = nn.Conv2d(8, classes, 1)
        self.gain, self.channels = 1.0, channels

    def read(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def rest(self, first: Tensor) -> Tensor:
        skip = self.act(first)
        deep = self.act(self.deep(self.act(self.down(skip))))
        up = F.interpolate(deep, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(self.act(self.up(torch.cat([skip, up], 1)))) * self.gain

    def forward(self, x: Tensor) -> Any:
        return self.rest(self.read(x))


# ---- stems -----------------------------------------------------------------------------------------------------------


class Functional(Plain):
    """No Conv2d at the front: F.conv2d on the network's own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.offset = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.3), nn.Parameter(torch.randn(8))
        del self.stem

    def read(self, x: Tensor) -> Tensor:
        return F.conv2d(x, weight=self.kernel, bias=self.offset, padding=1)


class ParallelStems(Plain):
    """Two convolutions of different sizes read the image side by side (repvgg, mobileone)."""

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Conv2d(3, 8, 1)

    def read(self, x: Tensor) -> Tensor:
        return self.stem(x) + self.point(x)


class SameStem(Plain):
    """'Same' padding as TensorFlow's: more on the right and at the bottom, by F.pad, before a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)

    def read(self, x: Tensor) -> Tensor:
        return F.interpolate(self.stem(F.pad(x, (0, 1, 0, 1))), scale_factor=2)


class SpaceToDepth(Plain):
    """Each 2 × 2 block of pixels becomes channels before the stem (tresnet)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(12, 8, 3, padding=1)

    def read(self, x: Tensor) -> Tensor:
        return F.interpolate(self.stem(F.pixel_unshuffle(x, 2)), scale_factor=2)


class WeightStandardised(Plain):
    """The stem's kernels are brought to mean 0 and variance 1 in each forward pass (BiT, NFNet)."""

    def standard(self) -> Tensor:
        weight = self.stem.weight
        return (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)

    def read(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standard(), self.stem.bias, padding=1)


class ImageAgain(Plain):
    """The image is joined to the features before the head; `again` is what is joined instead, for comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor, again: Tensor | None = None) -> Tensor:
        features = self.act(self.up.weight.mean() + self.read(x)).mean(1, keepdim=True)
        return self.head(torch.cat([features, x if again is None else again], 1)) * self.gain


class NormalisingInside(Plain):
    """Mean and deviation are buffers of the network, which takes plain images."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1))

    def read(self, x: Tensor) -> Tensor:
        return self.stem((x - self.mean) / self.deviation)


class NormalisingInPlace(Plain):
    """Writes the normalised image over the one it was given."""

    def read(self, x: Tensor) -> Tensor:
        return self.stem(x.sub_(0.45).div_(0.25))


class Doubling(torch.autograd.Function):
    """2 x, by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class OwnFunctionFirst(Plain):
    """An autograd.Function of the network's own stands between image and stem."""

    def read(self, x: Tensor) -> Tensor:
        return self.stem(Doubling.apply(x))


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class ScriptFirst(Plain):
    """A TorchScript part stands between image and stem, inside which nothing can be followed."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():  # torch announces the end of TorchScript; networks with it will be around
            warnings.simplefilter("ignore")
            self.first = torch.jit.script(Double())

    def read(self, x: Tensor) -> Tensor:
        return self.stem(self.first(x))


class LinearPatches(nn.Module):
    """No convolution at all: patches through a linear layer, folded back to the image's size."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(3 * 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.pixel_unshuffle(x, 4).permute(0, 2, 3, 1)
        return F.pixel_shuffle(self.patch(patches).permute(0, 3, 1, 2), 4) * 8


# ---- outputs ---------------------------------------------------------------------------------------------------------


class WithOutput(Plain):
    """Passes the logits through a function: `WithOutput(lambda z: {"out": z})`."""

    def __init__(self, shape: Callable[[Tensor], Any], classes: int = 1) -> None:
        super().__init__(classes=classes)
        self.shape = shape

    def forward(self, x: Tensor) -> Any:
        return self.shape(super().forward(x))


@dataclass
class Prediction:
    """As transformers' output objects: attributes, not keys."""

    loss: Tensor | None
    logits: Tensor


def as_dict(z: Tensor) -> Any:
    return OrderedDict(aux=-z, out=z)


def as_masks_and_labels(z: Tensor) -> Any:
    return z, z.mean((2, 3))


def as_dataclass(z: Tensor) -> Any:
    return Prediction(None, z)


def as_side_outputs(z: Tensor) -> Any:
    """U²-Net: the fused map first, then coarser and coarser ones."""
    return [z, F.avg_pool2d(z, 2), F.avg_pool2d(z, 4)]


def as_quarter(z: Tensor) -> Any:
    return F.avg_pool2d(z, 4)


# ---- trouble ---------------------------------------------------------------------------------------------------------


class Switch:
    """On or off for every copy of the network that holds it: a deep copy is the switch itself."""

    def __init__(self) -> None:
        self.on = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Switch:
        return self


class Failing(Plain):
    """While its switch is on, returns NaN at one pixel, infinity, or raises."""

    def __init__(self, how: str = "nan") -> None:
        super().__init__()
        self.switch, self.how = Switch(), how

    def turn(self, on: bool) -> None:
        """Break, or be whole again; as far as anyone can tell, the weights were trained on in between."""
        self.switch.on = on
        with torch.no_grad():
            next(self.parameters()).mul_(1)

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if not self.switch.on:
            return out
        if self.how == "raise":
            raise RuntimeError("the network's own trouble")
        hole = torch.zeros_like(out)
        hole[..., -1, 0] = float(self.how)
        return out + hole


class Counter:
    """How often any copy of a network was run."""

    def __init__(self) -> None:
        self.runs = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Counter:
        return self


class Counted(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()

    def forward(self, x: Tensor) -> Tensor:
        self.counter.runs += 1
        return super().forward(x)


class Classifier(nn.Module):
    """One vector for an image: no map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).mean((2, 3)))


class NeverRuns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("this network takes no images")


class Uncopiable(Plain):
    """Holds what deepcopy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Stateful(Plain):
    """Everything a forward pass may change: running statistics, dropout's random numbers, a plain tensor attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.register_buffer("passes", torch.zeros(()))
        self.last = torch.zeros(1)
        self.train()
        self.norm.eval()
        self.head.requires_grad_(False)
        self.stem.weight.grad = torch.ones_like(self.stem.weight)

    def read(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.last.fill_(float(x.detach().mean()))
        return self.drop(self.norm(self.stem(x)))


class Noisy(Plain):
    """Draws random numbers in evaluation mode too."""

    def read(self, x: Tensor) -> Tensor:
        return self.stem(x + 0.01 * torch.randn_like(x))


class TrainReturnsNothing(Plain):
    """Overrides train() without returning self, as many do that keep their batch norm frozen."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


class OwnModules(Plain):
    """Overrides modules(): here with a list of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.modules = ["stem", "head"]  # type: ignore[assignment]
