"""Sigmoid or softmax at a network's end: found, and read before it was applied."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Activation = Literal["none", "sigmoid", "softmax"]

_SIGMOIDS = {torch.sigmoid, Tensor.sigmoid, torch.special.expit}
_SOFTMAXES = {torch.softmax, Tensor.softmax}
# What only moves values: done to the logits too, they stay the logits of what comes out.
_MOVES = {
    *(Tensor.squeeze, Tensor.unsqueeze, Tensor.view, Tensor.reshape, Tensor.contiguous, Tensor.permute, Tensor.clone),
    *(Tensor.__getitem__, Tensor.float, torch.squeeze, torch.unsqueeze, torch.reshape, torch.permute, torch.clone),
}

# Operations by the names of their autograd nodes.
_MOVING_NODES = (
    *("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Permute", "Transpose", "Clone", "Alias"),
    *("Upsample", "ToCopy", "Expand", "Constant", "Unsafe", "Index", "Split", "Clamp"),
)
# Operations that may put probabilities together by hand: what they give is judged by its values.
_MAY_KEEP = ("Cat", "Stack", "Mul", "Div", "Mean", "Add", "Sub", "Rsub")


class BeforeActivation(TorchFunctionMode):
    """Runs a forward pass unchanged, and remembers for each live probability map the logits that it was made of.

    Read there, logits are exact: a probability that was rounded to 1 has lost its logit, and its gradient is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[weakref.ref[Tensor], Tensor, Activation]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        source = args[0] if args else kwargs.get("input")
        if not isinstance(source, Tensor):
            return out
        if out is source or func is Tensor.__setitem__:  # written over: no longer what was seen to be made
            self._known.pop(id(source), None)
        if not isinstance(out, Tensor) or out is source:
            return out
        if func in _SIGMOIDS:
            self._remember(out, source, "sigmoid")
        elif func in _SOFTMAXES:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            if source.ndim == 4 and dim in (1, -3):
                self._remember(out, source, "softmax")
        elif func in _MOVES and (before := self.before(source)) is not None:
            self._remember(out, func(before[0], *args[1:], **kwargs), before[1])
        return out

    def before(self, value: Tensor) -> tuple[Tensor, Activation] | None:
        """The logits a map was made of and how; None where it was not seen to be made."""
        known = self._known.get(id(value))
        return (known[1], known[2]) if known is not None and known[0]() is value else None

    def _remember(self, out: Tensor, logits: Tensor, kind: Activation) -> None:
        key, known = id(out), self._known

        def forget(_: object) -> None:  # attention maps go through a softmax too: their logits must not outlive them
            known.pop(key, None)

        known[key] = weakref.ref(out, forget), logits, kind


def read_from_graph(value: Tensor) -> Activation | None:
    """The last operation that changed values, from the autograd graph; None where that can't be said."""
    node = value.grad_fn
    for _ in range(12):
        if node is None:
            return None
        name = type(node).__name__
        if name.startswith("Sigmoid"):
            return "sigmoid"
        if name.startswith("Softmax"):
            return "softmax"
        if name.startswith(_MAY_KEEP):
            return None
        if not name.startswith(_MOVING_NODES) or not node.next_functions:
            return "none"
        node = node.next_functions[0][0]
    return None


def judged_by_values(values: Sequence[Tensor]) -> Activation:
    """What maps (N, K, h, w) of several images hold, by their range: probabilities in [0, 1], exclusive ones sum to 1.

    >>> judged_by_values([torch.tensor([0.2, 0.9]).view(1, 1, 1, 2)]), judged_by_values([torch.full((1, 2, 1, 1), 0.5)])
    ('sigmoid', 'softmax')
    """
    if not all(bool(((value >= 0) & (value <= 1)).all()) for value in values):
        return "none"
    sums = [value.sum(1) for value in values]
    exclusive = values[0].shape[1] > 1 and all(torch.allclose(s, torch.ones_like(s), atol=1e-3) for s in sums)
    if not exclusive and all(bool(value.max() == value.min()) for value in values):
        return "none"  # a constant says nothing
    return "softmax" if exclusive else "sigmoid"


def depths_of(values: Sequence[Tensor]) -> list[int]:
    """For each of several maps, how many convolutions it was made of; all 0 for a single one.

    A fused map is made of its side outputs and more, a main output of more than an auxiliary one.
    """
    if len(values) < 2:
        return [0] * len(values)
    depths = []
    for value in values:
        nodes, waiting = set(), [value.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in nodes:
                nodes.add(node)
                waiting.extend(following for following, _ in node.next_functions)
        depths.append(sum(type(node).__name__.startswith("Convolution") for node in nodes))
    return depths
