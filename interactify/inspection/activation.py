"""Sigmoid or softmax at a network's end: recognised, and the logits before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from interactify.inspection.operators import ordinary
from interactify.inspection.weak_map import WeakTensorMap

Activation = Literal["none", "sigmoid", "softmax", "sigmoid-logits"]
"""What a network has applied to its map: "none" to logits, which a softmax over the classes is meant for; "sigmoid" or
"softmax"; "sigmoid-logits" for logits too, which a sigmoid for each class is meant for."""

ACTIVATIONS: Final[tuple[Activation, ...]] = ("none", "sigmoid", "softmax", "sigmoid-logits")
PROBABILITIES: Final[tuple[Activation, ...]] = ("sigmoid", "softmax")
INDEPENDENT: Final[tuple[Activation, ...]] = ("sigmoid", "sigmoid-logits")  # a pixel may have several of the classes

Function = Callable[..., Any]
_aten = torch.ops.aten

_SIGMOIDS = {torch.sigmoid, Tensor.sigmoid, torch.special.expit}
_SIGMOIDS_IN_PLACE = {torch.sigmoid_, Tensor.sigmoid_}
_SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax}
_COMPLEMENTS = {torch.rsub, Tensor.__rsub__}  # 1 - p
# Operations that only move values: applied to the logits too, they give the logits of the result.
_MOVES = {
    *(Tensor.squeeze, Tensor.unsqueeze, Tensor.view, Tensor.reshape, Tensor.contiguous, Tensor.permute, Tensor.clone),
    *(torch.squeeze, torch.unsqueeze, torch.reshape, torch.permute, torch.clone, Tensor.transpose, torch.transpose),
    *(Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16, Tensor.to, Tensor.type_as, Tensor.cpu),
    *(_aten.squeeze.default, _aten.squeeze.dim, _aten.squeeze.dims, _aten.unsqueeze.default, _aten.view.default),
    *(_aten.reshape.default, _aten.contiguous.default, _aten.permute.default, _aten.transpose.int, _aten.alias.default),
    *(_aten.clone.default, _aten.to.dtype, _aten.to.dtype_layout, _aten.to.device, _aten._to_copy.default),
}
# Operations that may also drop classes: of exclusive classes, each remaining one needs its log-odds against all others.
_CUTS = {
    *(Tensor.__getitem__, Tensor.narrow, torch.narrow, Tensor.select, torch.select, torch.index_select),
    *(Tensor.index_select, Tensor.chunk, torch.chunk, Tensor.split, torch.split, Tensor.unbind, torch.unbind),
    *(_aten.slice.Tensor, _aten.narrow.default, _aten.select.int, _aten.index_select.default, _aten.chunk.default),
    *(_aten.split.Tensor, _aten.split_with_sizes.default, _aten.split.sizes, _aten.unbind.int),
}
_JOINS = {torch.cat, torch.concat, torch.stack}
# Weighted means of neighbouring probabilities.
_MEANS = {
    *(F.interpolate, F.upsample, F.avg_pool2d, F.adaptive_avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool3d),
    *(_aten.upsample_bilinear2d.vec, _aten.upsample_bilinear2d.default, _aten.upsample_nearest2d.vec),
    *(_aten.upsample_nearest2d.default, _aten._upsample_bilinear2d_aa.vec, _aten.avg_pool2d.default),
    *(_aten.adaptive_avg_pool2d.default, _aten._adaptive_avg_pool2d.default),
}

# Names of autograd nodes whose operations only move values.
_MOVING_NODES = (
    *("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Permute", "Transpose", "Clone", "Alias"),
    *("Upsample", "ToCopy", "Expand", "Constant", "Unsafe", "Index", "Split", "Unbind", "CopyBackwards"),
)
# Names of those whose results may have either sign, and are logits.
_SIGNED_NODES = (
    *("Convolution", "SlowConv", "ThnnConv", "Mkldnn", "Addmm", "Mm", "Bmm", "Linear", "LogSoftmax"),
    *("NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "NativeLayerNorm", "Tanh"),
)
# Names of those whose results are logits, or can be taken for them. Other results are judged by their values.
_LOGIT_NODES = (*_SIGNED_NODES, "LogSigmoid", "Relu")


@dataclass(frozen=True)
class _Activated:
    """How a live probability map was computed: `logits()` returns its logits, computed only when called."""

    logits: Callable[[], Tensor]
    kind: Activation


class BeforeActivation(TorchFunctionMode):
    """Runs a forward pass unchanged, and remembers the logits of each live probability map.

    Read there, logits are exact: a probability that was rounded to 1 has lost its logit, and its gradient is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        # Attention maps go through a softmax too: their logits must not outlive them.
        self._activated = WeakTensorMap[_Activated]()

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = ordinary(func, args, kwargs or {})
        source = args[0] if args else kwargs.get("input", kwargs.get("tensors"))
        overwritten = source.clone() if func in _SIGMOIDS_IN_PLACE and isinstance(source, Tensor) else None
        out = func(*args, **kwargs)
        if isinstance(source, Tensor) and ((out is source and func not in _MOVES) or func is Tensor.__setitem__):
            self._activated.discard(source)  # written over: these are no longer its logits
        if overwritten is not None:
            self._remember(out, _constant(overwritten), "sigmoid")
        elif out is source:
            pass
        elif func in _SIGMOIDS:
            self._remember(out, _constant(source), "sigmoid")
        elif func in _SOFTMAXES:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            if isinstance(source, Tensor) and _over_classes(source, dim):
                self._remember(out, _constant(source), "softmax")
        elif func in _JOINS:
            self._join(func, source, args, kwargs, out)
        elif isinstance(source, Tensor) and (origin := self._activated.get(source)) is not None:
            self._propagate(func, origin, source, args, kwargs, out)
        return out

    def logits_of(self, value: Tensor) -> tuple[Tensor, Activation] | None:
        """A map's logits and the activation applied to them; None where no activation was observed."""
        origin = self._activated.get(value)
        return None if origin is None else (origin.logits(), origin.kind)

    def _propagate(
        self,
        func: Function,
        origin: _Activated,
        source: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
    ) -> None:
        """Remember the logits of what `func` computed from a probability map, where it still has logits."""
        logits, kind, rest = origin.logits, origin.kind, args[1:]
        if func in _MOVES:
            self._remember(out, lambda: func(logits(), *rest, **kwargs), kind)
        elif func in _CUTS:
            for index, part in enumerate(out if isinstance(out, (tuple, list)) else [None]):
                taken = out if part is None else part
                whole = kind == "sigmoid" or (taken.ndim in (4, 5) and taken.shape[1] == source.shape[1])
                moved = logits if whole else (lambda: _log_odds(logits()))
                self._remember(
                    taken,
                    _part(func, moved, rest, kwargs, index if part is not None else None),
                    kind if whole else "sigmoid",
                )
        elif func in _MEANS:
            self._remember(out, lambda: _mean(lambda p: func(p, *rest, **kwargs), logits(), kind), kind)
        elif func in _COMPLEMENTS and kind == "sigmoid" and rest[:1] in ((1,), (1.0,)):
            self._remember(out, lambda: -logits(), kind)

    def _join(self, func: Function, parts: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        origins = [self._activated.get(part) if isinstance(part, Tensor) else None for part in parts or ()]
        sources = [origin.logits for origin in origins if origin is not None and origin.kind == "sigmoid"]
        if origins and len(sources) == len(origins):
            self._remember(out, lambda: func([logits() for logits in sources], *args[1:], **kwargs), "sigmoid")

    def _remember(self, out: Any, logits: Callable[[], Tensor], kind: Activation) -> None:
        if isinstance(out, Tensor):
            self._activated[out] = _Activated(logits, kind)


def probabilities(logits: Tensor, activation: Activation) -> Tensor:
    """The probabilities of logits (N, K, ...)."""
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def _over_classes(maps: Tensor, dim: int | None) -> bool:
    """Whether a softmax over `dim` is over the classes of maps (N, K, h, w) or (N, h, w, K), and not of attention.

    Maps of volumes have a third side.

    Whoever reads the logits compares them with the map, so that a wrong guess does no harm. Attention (N, heads, n, m)
    is left out because its logits would stay in memory.
    """
    if maps.ndim not in (4, 5):
        return False
    last = maps.ndim - 1
    # None: torch's own choice is 1.
    return dim in (1, 1 - maps.ndim, None) or (dim in (last, -1) and maps.shape[last] < maps.shape[1])


def _constant(logits: Any) -> Callable[[], Tensor]:
    return lambda: logits


def _part(
    func: Function, logits: Callable[[], Tensor], rest: tuple[Any, ...], kwargs: dict[str, Any], index: int | None
) -> Callable[[], Tensor]:
    def moved() -> Tensor:
        out = func(logits(), *rest, **kwargs)
        part: Tensor = out if index is None else out[index]
        return part

    return moved


def _log_odds(logits: Tensor) -> Tensor:
    """Log-odds of each exclusive class against all others, (N, K, ...): exact, also where its probability is 1."""
    classes = range(logits.shape[1])
    others = [logits[:, [k for k in classes if k != this]].logsumexp(1) for this in classes]
    return logits - torch.stack(others, 1)


def _mean(average: Callable[[Tensor], Tensor], logits: Tensor, kind: Activation) -> Tensor:
    """The logits of a mean of probabilities: p and 1 - p are averaged separately, so that neither is lost near 1 or 0.

    In double precision, where the device has it, that works up to logits of 700.
    """
    wide = logits if logits.device.type == "mps" else logits.double()
    least = torch.finfo(wide.dtype).tiny
    if kind == "softmax":
        mean = average(wide.softmax(1)).clamp_min(least).log()
    else:
        mean = average(wide.sigmoid()).clamp_min(least).log() - average((-wide).sigmoid()).clamp_min(least).log()
    return mean.to(logits.dtype)


def last_operation(value: Tensor) -> str:
    """Name of the last operation that changed values, in the autograd graph: "Softplus"; "" without a graph.

    >>> last_operation(F.interpolate(F.softplus(torch.zeros(1, 1, 2, 2, requires_grad=True)), scale_factor=2.0))
    'Softplus'
    """
    node = value.grad_fn
    for _ in range(12):
        if node is None:
            return ""
        name = type(node).__name__
        if name.startswith(_MOVING_NODES) and node.next_functions:
            node = node.next_functions[0][0]
        else:
            return name.partition("Backward")[0]
    return ""


def activation_from_graph(value: Tensor) -> Activation | None:
    """The activation that the last operation tells, from the autograd graph; None where the graph does not tell."""
    name = last_operation(value)
    if name == "Sigmoid":
        return "sigmoid"
    if name == "Softmax":
        return "softmax"
    return "none" if name.startswith(_LOGIT_NODES) else None


def may_have_either_sign(value: Tensor) -> bool:
    """Whether the last operation, such as a convolution, gives values above and below 0 for some images."""
    return last_operation(value).startswith(_SIGNED_NODES)


def are_exclusive(value: Tensor) -> bool:
    """Whether the classes of a map (N, K, h, w) of probabilities sum to 1, as a softmax's do."""
    total = value.sum(1)
    return value.shape[1] > 1 and torch.allclose(total, torch.ones_like(total), atol=1e-2)


def activation_from_values(values: Sequence[Tensor]) -> Activation:
    """The activation of maps (N, K, h, w) of several images: probabilities are in [0, 1], exclusive ones sum to 1.

    Maps that are not finite tell nothing: networks that normalise by an image's own deviation give NaN for a black one.

    >>> activation_from_values([torch.tensor([0.2, 0.9]).view(1, 1, 1, 2)])
    'sigmoid'
    >>> activation_from_values([torch.full((1, 2, 1, 1), 0.5)])
    'softmax'
    """
    values = [value for value in values if bool(value.isfinite().all())]
    if not values or not all(bool(((value >= 0) & (value <= 1)).all()) for value in values):
        return "none"
    exclusive = all(are_exclusive(value) for value in values)
    if not exclusive and all(bool(value.max() == value.min()) for value in values):
        return "none"  # a constant map tells nothing
    return "softmax" if exclusive else "sigmoid"


def convolutions_before(values: Sequence[Tensor]) -> list[set[Any]]:
    """For each of several maps, the convolutions on which it depends; empty sets for a single map.

    A fused map depends on its side outputs' and more, a main output on more than an auxiliary one, and a map on those
    of the features that it was computed from.
    """
    if len(values) < 2:
        return [set() for _ in values]
    ancestors = [ancestors_of(value) for value in values]
    return [{node for node in nodes if type(node).__name__.startswith("Convolution")} for nodes in ancestors]


def ancestors_of(value: Tensor) -> set[Any]:
    """All operations a tensor was computed by, as nodes of the autograd graph; empty without a graph."""
    nodes: set[Any] = set()
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return nodes
