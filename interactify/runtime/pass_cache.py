"""The last forward pass of a click, reused as the first one of the next click.

A click ends at the evaluation that finds every click satisfied, and that evaluation takes no gradient. The next click
starts at the same values, so it would run the same pass again and only read one more pixel. The pass is therefore
cached with its gradient graph. Each click saves one forward pass of the two or three that most clicks take. Where the
pass had to make room for other sessions (`cache.py`), it runs again.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interactify.brs import SteeringEnded
from interactify.interactions.click import Click
from interactify.runtime.cache import Kept
from interactify.runtime.steering import Steering
from interactify.runtime.suffix import Suffix

Passes = Suffix | Steering
"""What runs a pass: a photo's suffix, or what steers its refinements in lower precision."""

ROOM = 128 * 2**20  # bytes: a larger pass is not cached between two clicks


@dataclass(frozen=True, eq=False)
class _Pass:
    suffix: Passes
    valid_for: object
    values: Tensor
    logits: Tensor  # with the graph that leads to the values


class PassCache:
    """Runs suffixes for one session, and caches the last pass until its gradient is taken or another pass starts."""

    def __init__(self) -> None:
        self._kept = Kept[_Pass]()

    def __bool__(self) -> bool:
        return bool(self._kept)

    def ready(self, suffix: Passes) -> None:
        """Run the first pass of the first click on a photo in advance."""
        if suffix.shared and 0 < suffix.bytes_made <= ROOM:
            with torch.enable_grad(), suppress(torch.cuda.OutOfMemoryError, SteeringEnded):  # the click may find more
                self(suffix, suffix.start.clone().requires_grad_(True), ())

    def __call__(self, suffix: Passes, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The suffix's logits (1, K, h, w), differentiable in the values; without gradients nothing is cached."""
        if not torch.is_grad_enabled():  # no later pass takes its gradient: the cached one stays
            return suffix(values, clicks)
        now = suffix.valid_for(clicks)
        last = self._kept.take()
        same = last is not None and last.suffix is suffix and last.valid_for == now and suffix.whole is None
        if last is not None and same and torch.equal(last.values, values):
            self._kept.put(last, suffix.bytes_made, suffix.image.device)
            resumed: Tensor = _ResumedPass.apply(values, last)
            return resumed
        del last  # frees its memory for the pass that follows
        logits = suffix(values, clicks)
        # A suffix with maps answers one set of clicks: no later click begins with its last pass.
        if logits.requires_grad and values.requires_grad and 0 < suffix.bytes_made <= ROOM and suffix.maps is None:
            kept = _Pass(suffix, now, values, logits)
            self._kept.put(kept, suffix.bytes_made, suffix.image.device)
            # Weak references: the graph holds the hook, and a cycle would leak.
            cache, this = weakref.ref(self._kept), weakref.ref(kept)

            def drop(
                _gradient: Tensor,
            ) -> None:  # once its gradient is taken, the graph is freed and the pass is of no use
                if (owner := cache()) is not None and (own := this()) is not None:
                    owner.drop(own)

            logits.register_hook(drop)
        return logits


class SharedFirstPass:
    """The first pass of all objects of a photo: run once; each object takes its own gradient, in any thread."""

    def __init__(self, suffix: Passes) -> None:
        with torch.enable_grad():
            values = suffix.start.clone().requires_grad_(True)
            self._pass = _Pass(suffix, suffix.valid_for(()), values, suffix(values, ()))

    def __call__(self, suffix: Passes, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The suffix's logits (1, K, h, w), differentiable in the values."""
        if suffix is self._pass.suffix and torch.equal(values, self._pass.values):
            resumed: Tensor = _ResumedPass.apply(values, self._pass, True)
            return resumed
        return suffix(values, clicks)


class ForwardPass:
    """A click network's forward pass for some clicks: its answer, and the first pass of a refinement that goes on.

    The pass is held, with its gradient graph, until the refinement has taken the gradient.
    """

    def __init__(self, suffix: Suffix, clicks: Sequence[Click]) -> None:
        values = suffix.start.clone().requires_grad_(True)
        logits = suffix.answer(values, clicks)
        self.logits = logits.detach()  # (1, K, h, w)
        self._pass = _Pass(suffix, None, values, logits) if logits.requires_grad else None

    def begins(self, values: Tensor) -> bool:
        """Whether a refinement that begins at these values begins with this pass."""
        return self._pass is not None and torch.equal(self._pass.values, values)

    def __call__(self, suffix: Passes, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The suffix's logits (1, K, h, w), differentiable in the values; the first time without another pass."""
        begins, first, self._pass = self.begins(values), self._pass, None
        if not begins or first is None:
            return suffix(values, clicks)
        resumed: Tensor = _ResumedPass.apply(values, first)
        return resumed


class _ResumedPass(torch.autograd.Function):
    """The logits of an earlier pass; the gradient goes through that pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, last: _Pass, retain_graph: bool = False) -> Tensor:
        ctx.last, ctx.retain_graph = last, retain_graph
        return last.logits.detach()

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        last = ctx.last
        (gradient,) = torch.autograd.grad(last.logits, last.values, cotangents[0], retain_graph=ctx.retain_graph)
        return gradient, None, None
