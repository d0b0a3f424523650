"""Running out of memory is reported as one of the library's errors, and changes no state."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify

PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


class Hungry(nn.Module):
    """A network whose passes raise `problem` once it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    problem: ClassVar[list[Exception]] = []

    def forward(self, image: Tensor) -> Tensor:
        if self.problem:
            raise self.problem[0]
        return self.conv(image)


class HungryBackwards(torch.autograd.Function):
    """The identity, whose backward pass runs out of memory."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Hungry:
    monkeypatch.setattr(Hungry, "problem", [])
    torch.manual_seed(0)
    return Hungry().eval()


@pytest.mark.parametrize(
    "problem",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["device", "host"],
)
def test_out_of_memory_is_one_of_the_librarys_errors(network: Hungry, problem: Exception) -> None:
    net = interactify.wrap(network)
    session = net.session(PHOTO)
    session.click(10, 10)
    before = session.result
    Hungry.problem = [problem]
    with pytest.raises(interactify.NotEnoughMemoryError, match="resolution="):
        net.session(PHOTO)
    with pytest.raises(interactify.NotEnoughMemoryError, match="resolution="):
        net.refine(PHOTO, [[interactify.Click(5, 5)]])
    assert session.result is before and len(session.interactions) == 1
    Hungry.problem = []
    assert session.click(40, 40, positive=False).satisfied


def test_out_of_memory_in_the_backward_pass(network: Hungry) -> None:
    with pytest.raises(interactify.NotEnoughMemoryError, match="Tried to allocate"):
        interactify.brs.refine(
            lambda values: HungryBackwards.apply(values) - 1.0,
            torch.zeros(1, 1, 8, 8),
            torch.tensor([[2.0, 3.0]]),
            torch.tensor([True]),
        )


def test_other_errors_of_a_network_stay_errors_of_the_model(network: Hungry) -> None:
    net = interactify.wrap(network)
    Hungry.problem = [RuntimeError("shapes do not fit")]
    with pytest.raises(interactify.ModelError, match="shapes do not fit"):
        net.session(PHOTO)
