"""Log-odds of one class against the rest: the formula as it is written, and its gradient, few pixels or all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from interactify.network import one_vs_rest as module
from interactify.network.one_vs_rest import against_rest


def as_written(logits: Tensor, target: int) -> Tensor:
    others = [k for k in range(logits.shape[1]) if k != target]
    return logits[:, target : target + 1] - logits[:, others].logsumexp(1, keepdim=True)


def both(logits: Tensor, target: int, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
    found = []
    for odds_of in (as_written, against_rest):
        at = logits.detach().requires_grad_()
        odds = odds_of(at, target)
        found.append((odds.detach(), torch.autograd.grad((odds * weights).sum(), at)[0]))
    return found


@pytest.mark.parametrize("strip", [1, 700, 2**19])
@pytest.mark.parametrize("shape", [(1, 2, 5, 7), (2, 5, 9, 31), (1, 21, 40, 30), (1, 150, 1, 1)])
@pytest.mark.parametrize("few", [True, False])
def test_it_is_the_formula_in_strips_of_any_size(shape, strip, few, monkeypatch):
    monkeypatch.setattr(module, "STRIP", strip)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 6
    weights = torch.randn(shape[0], 1, *shape[2:], generator=generator, dtype=torch.float64)
    if few:
        weights.view(-1)[1:] = 0
    for target in (0, shape[1] // 2, shape[1] - 1):
        for layout in (logits, logits.contiguous(memory_format=torch.channels_last)):
            (expected, slope), (odds, gradient) = both(layout, target, weights)
            assert torch.allclose(odds, expected, rtol=0, atol=1e-12)
            assert torch.allclose(gradient, slope, rtol=0, atol=1e-12)
            assert gradient.stride() == layout.stride(), "or what is before it copies all of it again"


@pytest.mark.parametrize("few", [True, False])
def test_the_gradient_is_that_of_finite_differences(few):
    logits = torch.randn(1, 4, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    read = (lambda odds: odds[..., 2, 3:5]) if few else (lambda odds: odds)
    assert torch.autograd.gradcheck(lambda z: read(against_rest(z, 1)), logits)


def test_what_is_certain_keeps_its_gradient():
    logits = torch.tensor([90.0, 0.0, -90.0]).view(1, 3, 1, 1).requires_grad_()
    odds = against_rest(logits, 0)
    assert odds.item() == 90.0, "and not the infinity of a probability that is 1"
    assert torch.autograd.grad(odds, logits)[0].flatten().tolist() == pytest.approx([1, -1, 0])


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_does_not_become_one(broken):
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 2, 1, 1] = broken
    assert not torch.isfinite(against_rest(logits, 0)[0, 0, 1, 1])
