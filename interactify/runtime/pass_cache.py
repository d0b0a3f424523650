"""The pass that a click ended with, gone on from by the next click.

A click ends at the evaluation that finds every clicked pixel on its side, and of that one no gradient is taken. The
next click begins at the same values: the same pass again, with one more pixel to look at. So that pass is kept with
what its gradient needs, and each click saves a forward pass: of the two or three that most clicks take, one.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interactify.interactions.click import Click
from interactify.runtime.suffix import Suffix

ROOM = 128 * 2**20  # bytes that a pass may take for being kept, while the person thinks


@dataclass(frozen=True, eq=False)
class _Pass:
    suffix: Suffix
    valid_for: object
    values: Tensor
    logits: Tensor  # with the graph that leads to the values


class PassCache:
    """Runs suffixes for one session, and keeps the last pass until a gradient is taken of it or another one begins."""

    def __init__(self) -> None:
        self._kept: _Pass | None = None

    def __bool__(self) -> bool:
        return self._kept is not None

    def ready(self, suffix: Suffix) -> None:
        """Run the pass that the first click on a photo begins with, so that the click need not."""
        if suffix.shared and 0 < suffix.bytes_made <= ROOM:
            with torch.enable_grad(), suppress(torch.cuda.OutOfMemoryError):  # the click may find what this did not
                self(suffix, suffix.start.clone().requires_grad_(True), ())

    def __call__(self, suffix: Suffix, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """What the suffix gives: logits (1, K, h, w), differentiable in the values."""
        now = suffix.valid_for(clicks)
        last, self._kept = self._kept, None
        same = last is not None and last.suffix is suffix and last.valid_for == now and suffix.whole is None
        if last is not None and same and torch.equal(last.values, values):
            self._kept = last
            resumed: Tensor = _ResumedPass.apply(values, last)
            return resumed
        del last  # its memory is free for the pass to come
        logits = suffix(values, clicks)
        if logits.requires_grad and values.requires_grad and 0 < suffix.bytes_made <= ROOM:
            self._kept = kept = _Pass(suffix, now, values, logits)
            keeper, this = weakref.ref(self), weakref.ref(kept)  # the graph holds the hook, and must hold no more

            def spent(_gradient: Tensor) -> None:  # once a gradient has been taken, what it needed is gone
                if (owner := keeper()) is not None and owner._kept is this():
                    owner._kept = None

            logits.register_hook(spent)
        return logits


class SharedFirstPass:
    """The pass that all objects of a photo begin with: run once, and its gradient taken for each, in any thread."""

    def __init__(self, suffix: Suffix) -> None:
        with torch.enable_grad():
            values = suffix.start.clone().requires_grad_(True)
            self._pass = _Pass(suffix, suffix.valid_for(()), values, suffix(values, ()))

    def __call__(self, suffix: Suffix, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """What the suffix gives: logits (1, K, h, w), differentiable in the values."""
        if suffix is self._pass.suffix and torch.equal(values, self._pass.values):
            begun: Tensor = _ResumedPass.apply(values, self._pass, True)
            return begun
        return suffix(values, clicks)


class _ResumedPass(torch.autograd.Function):
    """The logits of a pass that was run before, whose gradient is taken through that pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, last: _Pass, again: bool = False) -> Tensor:
        ctx.last, ctx.again = last, again
        return last.logits.detach()

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        last = ctx.last
        (gradient,) = torch.autograd.grad(last.logits, last.values, cotangents[0], retain_graph=ctx.again)
        return gradient, None, None
