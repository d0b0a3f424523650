"""Log-odds of one class against all the others, read in strips that stay in the processor's cache, both ways.

Of exclusive classes with logits z that is z_k − logsumexp of the others. The logits of 150 classes on 1024 × 192 pixels
are 118 MB: the formula as it is written copies them five times, and its gradient five times more, though an energy
looks at a few clicked pixels of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

STRIP: Final = 2**19  # numbers that are read at a time
FEW: Final = 16  # where at most one of so many pixels has a gradient, these are worked out by themselves


def against_rest(logits: Tensor, target: int) -> Tensor:
    """Log-odds (N, 1, h, w) of a class against the rest, from logits (N, K, h, w), K ≥ 2; differentiable once.

    >>> logits = torch.tensor([0.5, 0.2, 0.3]).log().view(1, 3, 1, 1)
    >>> against_rest(logits, 0).item() == 0, torch.sigmoid(against_rest(logits, 1)).item()
    (True, 0.2...)
    """
    odds: Tensor = _AgainstRest.apply(logits, target)
    return odds


class _AgainstRest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: int) -> Tensor:
        odds = logits.new_empty(len(logits), 1, *logits.shape[2:])
        for rows in _strips(logits):
            part = logits[:, :, rows]
            others = torch.cat((part[:, :target], part[:, target + 1 :]), 1)
            odds[:, :, rows] = part[:, target : target + 1] - others.logsumexp(1, keepdim=True)
        ctx.save_for_backward(logits, odds)
        ctx.target = target
        return odds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, odds = ctx.saved_tensors
        slopes = torch.zeros_like(logits)
        # A device that is asked where there is a gradient has to be waited for, and needs no strips.
        places = gradient[:, 0].nonzero() if gradient.device.type == "cpu" else None
        if places is not None and FEW * len(places) <= gradient.numel():
            image, row, column = places.unbind(1)
            at = (image, slice(None), row, column)
            slopes[at] = _slopes(logits[at], odds[at], gradient[at], ctx.target)
        else:
            for rows in _strips(logits):
                part = _slopes(logits[:, :, rows], odds[:, :, rows], gradient[:, :, rows], ctx.target)
                slopes[:, :, rows] = part
        return slopes, None


def _slopes(logits: Tensor, odds: Tensor, gradient: Tensor, target: int) -> Tensor:
    """(n, K, …): by the class's own logit 1, by another one's less its share of all that is not the class."""
    own = slice(target, target + 1)
    rest = logits[:, own] - odds
    slopes = (logits - rest).exp_().mul_(-gradient)
    slopes[:, own] = gradient
    return slopes


def _strips(logits: Tensor) -> Iterator[slice]:
    """Rows of the maps, so many at a time that a strip of all classes stays in the cache; on a device all at once."""
    height, numbers = logits.shape[2], logits[:, :, :1].numel()
    step = max(1, STRIP // max(1, numbers)) if logits.device.type == "cpu" else height
    for top in range(0, height, step):
        yield slice(top, min(height, top + step))
