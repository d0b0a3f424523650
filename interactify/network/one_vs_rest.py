"""Log-odds of one class against all others, computed in strips that fit into the processor's cache, as is the gradient.

For exclusive classes with logits z they are z_k − logsumexp of the others. The logits of 150 classes on 1024 × 192
pixels are 118 MB: the plain formula copies them five times, and its gradient five times more, although an energy reads
only a few clicked pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

STRIP: Final = 2**19  # numbers read at a time
FEW: Final = 16  # if at most one in so many pixels has a gradient, compute those alone


def against_rest(logits: Tensor, target: int) -> Tensor:
    """Log-odds (N, 1, h, w) of a class against the rest, from logits (N, K, h, w), K ≥ 2; differentiable once.

    >>> logits = torch.tensor([0.5, 0.2, 0.3]).log().view(1, 3, 1, 1)
    >>> round(against_rest(logits, 0).item(), 6) == 0, torch.sigmoid(against_rest(logits, 1)).item()
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
        # Not on a GPU: finding the pixels with a gradient would synchronise, and strips are not needed there.
        pixels = gradient[:, 0].nonzero() if gradient.device.type == "cpu" else None
        if pixels is not None and FEW * len(pixels) <= gradient.numel():
            image, *place = pixels.unbind(1)
            at: tuple[slice | Tensor, ...] = (image, slice(None), *place)
            slopes[at] = _slopes(logits[at], odds[at], gradient[at], ctx.target)
        else:
            for rows in _strips(logits):
                part = _slopes(logits[:, :, rows], odds[:, :, rows], gradient[:, :, rows], ctx.target)
                slopes[:, :, rows] = part
        return slopes, None


def _slopes(logits: Tensor, odds: Tensor, gradient: Tensor, target: int) -> Tensor:
    """(n, K, …): 1 by the class's own logit, and by another class's minus its share of all other classes."""
    own = slice(target, target + 1)
    rest = logits[:, own] - odds
    slopes = (logits - rest).exp_().mul_(-gradient)
    slopes[:, own] = gradient
    return slopes


def _strips(logits: Tensor) -> Iterator[slice]:
    """Rows of the maps, as many at a time as fit into the cache with all classes; on a GPU all at once.

    Of volumes (N, K, d, h, w), slices.
    """
    height, numbers = logits.shape[2], logits[:, :, :1].numel()
    step = max(1, STRIP // max(1, numbers)) if logits.device.type == "cpu" else height
    for top in range(0, height, step):
        yield slice(top, min(height, top + step))
