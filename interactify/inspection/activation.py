"""Sigmoid or softmax at a network's end: found, and read before it was applied."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Activation = Literal["none", "sigmoid", "softmax"]
Function = Callable[..., Any]

_SIGMOIDS = {torch.sigmoid, Tensor.sigmoid, torch.special.expit}
_SIGMOIDS_IN_PLACE = {torch.sigmoid_, Tensor.sigmoid_}
_SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax}
_COMPLEMENTS = {torch.rsub, Tensor.__rsub__}  # 1 - p
# What only moves values: done to the logits too, they stay the logits of what comes out.
_MOVES = {
    *(Tensor.squeeze, Tensor.unsqueeze, Tensor.view, Tensor.reshape, Tensor.contiguous, Tensor.permute, Tensor.clone),
    *(torch.squeeze, torch.unsqueeze, torch.reshape, torch.permute, torch.clone, Tensor.transpose, torch.transpose),
    *(Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16, Tensor.to, Tensor.type_as, Tensor.cpu),
}
# What also leaves classes out: of exclusive ones, each that is left needs its log-odds against all the others.
_CUTS = {
    *(Tensor.__getitem__, Tensor.narrow, torch.narrow, Tensor.select, torch.select, torch.index_select),
    *(Tensor.index_select, Tensor.chunk, torch.chunk, Tensor.split, torch.split, Tensor.unbind, torch.unbind),
}
_JOINS = {torch.cat, torch.concat, torch.stack}
# Weighted means of neighbouring probabilities.
_MEANS = {F.interpolate, F.upsample, F.avg_pool2d, F.adaptive_avg_pool2d}

# Operations by the names of their autograd nodes: those that move values,
_MOVING_NODES = (
    *("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Permute", "Transpose", "Clone", "Alias"),
    *("Upsample", "ToCopy", "Expand", "Constant", "Unsafe", "Index", "Split", "Unbind", "CopyBackwards"),
)
# and those whose results are logits, or as good as. What any other gives is judged by its values.
_LOGIT_NODES = (
    *("Convolution", "SlowConv", "ThnnConv", "Mkldnn", "Addmm", "Mm", "Bmm", "Linear", "LogSoftmax", "LogSigmoid"),
    *("NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "NativeLayerNorm", "Relu", "Tanh"),
)


@dataclass(frozen=True)
class _Made:
    """How a live map was made: `logits()` gives what it was made of, computed only when it is asked for."""

    map: weakref.ref[Tensor]
    logits: Callable[[], Tensor]
    kind: Activation


class BeforeActivation(TorchFunctionMode):
    """Runs a forward pass unchanged, and remembers for each live probability map the logits that it was made of.

    Read there, logits are exact: a probability that was rounded to 1 has lost its logit, and its gradient is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, _Made] = {}

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        source = args[0] if args else kwargs.get("input", kwargs.get("tensors"))
        overwritten = source.clone() if func in _SIGMOIDS_IN_PLACE and isinstance(source, Tensor) else None
        out = func(*args, **kwargs)
        if (out is source and func not in _MOVES) or func is Tensor.__setitem__:
            self._known.pop(id(source), None)  # written over: no longer what was seen to be made
        if overwritten is not None:
            self._remember(out, _constantly(overwritten), "sigmoid")
        elif out is source:
            pass
        elif func in _SIGMOIDS:
            self._remember(out, _constantly(source), "sigmoid")
        elif func in _SOFTMAXES:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            if (
                isinstance(source, Tensor) and source.ndim == 4 and dim in (1, -3, None)
            ):  # None: torch's own choice is 1
                self._remember(out, _constantly(source), "softmax")
        elif func in _JOINS:
            self._joined(func, source, args, kwargs, out)
        elif isinstance(source, Tensor) and (made := self._made(source)) is not None:
            self._followed(func, made, source, args, kwargs, out)
        return out

    def before(self, value: Tensor) -> tuple[Tensor, Activation] | None:
        """The logits a map was made of and how; None where it was not seen to be made."""
        made = self._made(value)
        return None if made is None else (made.logits(), made.kind)

    def _made(self, value: Tensor) -> _Made | None:
        made = self._known.get(id(value))
        return made if made is not None and made.map() is value else None  # an id may be used again

    def _followed(
        self, func: Function, made: _Made, source: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """What comes out of a map that was seen to be made, where it still has logits."""
        logits, kind, rest = made.logits, made.kind, args[1:]
        if func in _MOVES:
            self._remember(out, lambda: func(logits(), *rest, **kwargs), kind)
        elif func in _CUTS:
            for place, part in enumerate(out if isinstance(out, (tuple, list)) else [None]):
                taken = out if part is None else part
                whole = kind == "sigmoid" or (taken.ndim == 4 and taken.shape[1] == source.shape[1])
                moved = logits if whole else (lambda: _log_odds(logits()))
                self._remember(
                    taken,
                    _part(func, moved, rest, kwargs, place if part is not None else None),
                    kind if whole else "sigmoid",
                )
        elif func in _MEANS:
            self._remember(out, lambda: _mean(lambda p: func(p, *rest, **kwargs), logits(), kind), kind)
        elif func in _COMPLEMENTS and kind == "sigmoid" and rest[:1] in ((1,), (1.0,)):
            self._remember(out, lambda: -logits(), kind)

    def _joined(self, func: Function, parts: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        made = [self._made(part) if isinstance(part, Tensor) else None for part in parts or ()]
        sources = [part.logits for part in made if part is not None and part.kind == "sigmoid"]
        if made and len(sources) == len(made):
            self._remember(out, lambda: func([logits() for logits in sources], *args[1:], **kwargs), "sigmoid")

    def _remember(self, out: Any, logits: Callable[[], Tensor], kind: Activation) -> None:
        if not isinstance(out, Tensor):
            return
        key, known = id(out), self._known

        def forget(_: object) -> None:  # attention maps go through a softmax too: their logits must not outlive them
            known.pop(key, None)

        known[key] = _Made(weakref.ref(out, forget), logits, kind)


def applied(logits: Tensor, activation: Activation) -> Tensor:
    """The probabilities that logits (N, K, ...) stand for."""
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def _constantly(logits: Any) -> Callable[[], Tensor]:
    return lambda: logits


def _part(
    func: Function, logits: Callable[[], Tensor], rest: tuple[Any, ...], kwargs: dict[str, Any], place: int | None
) -> Callable[[], Tensor]:
    def moved() -> Tensor:
        out = func(logits(), *rest, **kwargs)
        part: Tensor = out if place is None else out[place]
        return part

    return moved


def _log_odds(logits: Tensor) -> Tensor:
    """Each of exclusive classes against all the others, (N, K, ...): exact, also where its probability is 1."""
    classes = range(logits.shape[1])
    others = [logits[:, [k for k in classes if k != this]].logsumexp(1) for this in classes]
    return logits - torch.stack(others, 1)


def _mean(average: Callable[[Tensor], Tensor], logits: Tensor, kind: Activation) -> Tensor:
    """The logits of a mean of probabilities: p and 1 - p are averaged apart, so that neither is lost near 1 or 0.

    In double precision, where there is one, that reaches logits of 700.
    """
    wide = logits if logits.device.type == "mps" else logits.double()
    least = torch.finfo(wide.dtype).tiny
    if kind == "softmax":
        mean = average(wide.softmax(1)).clamp_min(least).log()
    else:
        mean = average(wide.sigmoid()).clamp_min(least).log() - average((-wide).sigmoid()).clamp_min(least).log()
    return mean.to(logits.dtype)


def activation_from_graph(value: Tensor) -> Activation | None:
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
        if name.startswith(_LOGIT_NODES):
            return "none"
        if not name.startswith(_MOVING_NODES) or not node.next_functions:
            return None
        node = node.next_functions[0][0]
    return None


def are_exclusive(value: Tensor) -> bool:
    """Whether the classes of a map (N, K, h, w) of probabilities sum to 1, as a softmax's do."""
    total = value.sum(1)
    return value.shape[1] > 1 and torch.allclose(total, torch.ones_like(total), atol=1e-2)


def activation_from_values(values: Sequence[Tensor]) -> Activation:
    """What maps (N, K, h, w) of several images hold, by their range: probabilities in [0, 1], exclusive ones sum to 1.

    >>> activation_from_values([torch.tensor([0.2, 0.9]).view(1, 1, 1, 2)]), activation_from_values([torch.full((1, 2, 1, 1), 0.5)])
    ('sigmoid', 'softmax')
    """
    if not all(bool(((value >= 0) & (value <= 1)).all()) for value in values):
        return "none"
    exclusive = all(are_exclusive(value) for value in values)
    if not exclusive and all(bool(value.max() == value.min()) for value in values):
        return "none"  # a constant says nothing
    return "softmax" if exclusive else "sigmoid"


def convolution_depths(values: Sequence[Tensor]) -> list[int]:
    """For each of several maps, how many convolutions it was made of; all 0 for a single one.

    A fused map is made of its side outputs and more, a main output of more than an auxiliary one.
    """
    if len(values) < 2:
        return [0] * len(values)
    made_of = [ancestors_of(value) for value in values]
    return [sum(type(node).__name__.startswith("Convolution") for node in nodes) for nodes in made_of]


def ancestors_of(value: Tensor) -> set[Any]:
    """Every operation a tensor was made by, as nodes of the autograd graph; empty where none was kept."""
    nodes: set[Any] = set()
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return nodes
