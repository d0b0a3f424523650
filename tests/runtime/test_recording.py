"""Recording: ways of computing that a tape must get right, and those that it must refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from tests.fixtures import networks
from tests.runtime.test_suffix import Base, both, somewhere, suffix_of


class WritesIntoTheSkip(Base):
    """A map from before the insertion point is written over by what depends on the variables."""

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        deep = self.deep(torch.tanh(skip))
        skip += deep
        return self.head(skip)


class WritesThroughAView(Base):
    """What is written through one view is read through another one that is older."""

    def forward(self, x: Tensor) -> Tensor:
        buffer = torch.zeros(len(x), 6, *x.shape[-2:], dtype=x.dtype)
        half, flat = buffer[:, :3], buffer.flatten(2)
        deep = self.deep(self.stem(x))
        half.copy_(deep[:, :3])
        return self.head(flat.view_as(buffer) + deep)


class ChangesAConstantAfterUse(Base):
    def forward(self, x: Tensor) -> Tensor:
        skip = F.avg_pool2d(self.stem(x), 3, 1, 1)
        deep = self.deep(torch.tanh(skip)) + skip
        skip.mul_(0.0)
        return self.head(deep + skip)


class Branches(Base):
    """Which branch it takes depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        deep = self.deep(self.stem(x))
        return self.head(deep * 2 if deep.abs().mean() > 0.5 else deep)


class WithoutGradients(Base):
    """A gate that is computed without a gradient, but depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        deep = self.deep(self.stem(x))
        with torch.no_grad():
            gate = torch.sigmoid(deep.mean((2, 3), keepdim=True))
        return self.head(deep * gate)


class ByHalf(Base):
    """Autocast inside the network."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            deep = self.deep(self.stem(x))
        return self.head(deep.to(x.dtype))


@pytest.mark.parametrize(
    "build", [WritesIntoTheSkip, WritesThroughAView, ChangesAConstantAfterUse, Branches, WithoutGradients, ByHalf]
)
@pytest.mark.parametrize(
    "variables",
    [
        *("input", "scale_bias@deep", "scale_bias@stem", "bias_field@stem", "conv1x1@deep", "rows_columns@stem"),
    ],
)
def test_exact_however_it_computes(build: Callable[[], nn.Module], variables: str) -> None:
    dtype = torch.float32 if build is ByHalf else torch.float64
    net = interactify.wrap(networks.seeded(build).eval().to(dtype), variables=variables)
    suffix = suffix_of(net, networks.random_photo(64, 96))
    within = 2e-2 if build is ByHalf else 1e-10
    for size in (0.0, 0.1, 30.0, 0.1):  # and back: a run leaves no state behind
        assert max(both(suffix, somewhere(suffix, 1, size), [])) <= within, size
    assert suffix.diverged == 0 or build is Branches


class Own(torch.autograd.Function):
    """Straight-through estimator: rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class StraightThrough(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(Own.apply(self.deep(self.stem(x))))


class Scripted(Base):
    def __init__(self) -> None:
        super().__init__()
        self.part = torch.jit.script(networks.Double())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.part(self.deep(self.stem(x))))


class ThroughNumpy(Base):
    def forward(self, x: Tensor) -> Tensor:
        deep = self.deep(self.stem(x))
        return self.head(deep) * float(deep.detach().numpy().std())


@pytest.mark.parametrize(
    ("build", "why"),
    [(StraightThrough, "autograd function"), (Scripted, "can't be recorded"), (ThroughNumpy, "leaves torch")],
)
def test_what_cannot_be_recorded_runs_as_a_whole(build: Callable[[], nn.Module], why: str) -> None:
    net = interactify.wrap(networks.seeded(build).eval(), variables="scale_bias@deep")
    session = net.session(networks.random_photo())
    suffix = session.initial_step.crop.suffix
    assert why in str(suffix.whole)
    assert both(suffix, somewhere(suffix), []) == (0.0, 0.0)
