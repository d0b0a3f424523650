"""Lowers a tape for inference: it computes the same with fewer operations.

- A batch norm in evaluation mode is a scale and a bias for each channel. It is folded into the convolution before it,
  in double precision, so that neither its forward nor its backward pass runs.
- Under autocast, weights are cast once instead of in each pass.
- Convolutions in single precision on a CPU use channels-last weights and maps, except grouped ones, which are 2 to 16
  times slower that way (forward and backward, measured on one core for depthwise and 4-fold groups).

Lowering changes rounding and nothing else; `suffix.py` checks that. Rounding can flip a choice, though, if a ReLU or a
maximum is decided by the last digit, as happens between two machines: the logits then agree to rounding, while the
gradient differs in the field of that one unit. What is derived from the network's weights is computed once for a
network, and again after the weights change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.inspection.image_flow import CONVOLUTIONS, Convolution
from interactify.runtime.tape import Ref, Step, Tape

_CONVOLUTIONS = tuple(CONVOLUTIONS.values())


@dataclass
class FrozenWeights:
    """What was derived from a network's weights, by their id and version. The weights are held, so no id is reused."""

    derived: dict[tuple[object, ...], tuple[tuple[Tensor | None, ...], tuple[Tensor, ...]]] = field(
        default_factory=dict
    )
    _lock: threading.RLock = field(default_factory=threading.RLock)  # sessions of one network share it

    def get(
        self,
        sources: tuple[Tensor | None, ...],
        settings: object,
        derive: Callable[[], tuple[Tensor, ...]],
        cache: bool,
    ) -> tuple[Tensor, ...]:
        """What `derive` computes from the sources; cached if they are the network's weights."""
        if not cache:
            return derive()
        key = (settings, *(id(source) for source in sources))
        versions = tuple(-1 if source is None or source.is_inference() else source._version for source in sources)
        with self._lock:
            known = self.derived.get((key, versions))
            if known is None:
                for old in [found for found in self.derived if found[0] == key]:
                    self._drop(old)  # derived from an older version of the weights
                known = self.derived[key, versions] = (sources, derive())
            return known[1]

    def _drop(self, old: tuple[object, ...]) -> None:
        """Forget one entry, and what was derived from it in turn."""
        _, dropped = self.derived.pop(old)
        for key, (sources, _) in list(self.derived.items()):
            if key in self.derived and any(source is tensor for source in sources for tensor in dropped):
                self._drop(key)

    def tensors(self) -> list[Tensor]:
        """Everything that was derived."""
        with self._lock:
            return [tensor for _, tensors in self.derived.values() for tensor in tensors]


@dataclass
class _BatchNorm:
    """The arguments of a batch_norm call, by name."""

    input: Any
    running_mean: Any
    running_var: Any
    weight: Any = None
    bias: Any = None
    training: Any = False
    momentum: Any = 0.1
    eps: float = 1e-5


def lowered(tape: Tape, frozen: FrozenWeights, is_weight: Callable[[Tensor], bool]) -> Tape:
    """The tape lowered for inference; the tape itself if there is nothing to gain.

    Args:
        tape: as it was recorded.
        frozen: what was derived from the network's weights so far; this call adds to it.
        is_weight: whether a tensor is one of the network's weights.
    """
    tape = folded(tape, frozen, is_weight)
    if _gains_by_channels_last(tape):
        tape = _channels_last(tape, frozen, is_weight)
    return _cast(tape, frozen, is_weight)


def folded(tape: Tape, frozen: FrozenWeights, is_weight: Callable[[Tensor], bool]) -> Tape:
    """The tape without batch norms that follow a convolution: its weights and bias do their work."""
    uses = tape.uses()
    overwritten = {slot for step in tape.steps for slot in step.writes}
    producers = {slot: index for index, step in enumerate(tape.steps) for slot in step.outs}
    steps: list[Step | None] = list(tape.steps)
    constants = dict(tape.constants)
    size = tape.size
    for index, step in enumerate(tape.steps):
        if step.function is not F.batch_norm:
            continue
        norm = _BatchNorm(*step.args, **step.kwargs)
        producer = producers.get(norm.input.slot, -1) if isinstance(norm.input, Ref) else -1
        before = steps[producer] if producer >= 0 else None
        if norm.training or before is None or before.function not in _CONVOLUTIONS or before.mode != step.mode:
            continue
        call = Convolution(*before.args, **before.kwargs)
        parts = [
            _constant(ref, constants)
            for ref in (call.weight, call.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        ]
        weight, mean, variance = parts[0], parts[2], parts[3]
        only_reader = uses.get(norm.input.slot) == 1 and norm.input.slot not in overwritten
        if not only_reader or _NOT_CONSTANT in parts or weight is None or mean is None or variance is None:
            continue
        sources: tuple[Any, ...] = tuple(parts)
        weight_and_bias = frozen.get(
            sources,
            ("folded", norm.eps),
            partial(_fold, sources, norm.eps),
            all(is_weight(source) for source in sources if source is not None),
        )
        constants[size], constants[size + 1] = weight_and_bias
        args = (call.input, Ref(size), Ref(size + 1), call.stride, call.padding, call.dilation, call.groups)
        size += 2
        steps[producer] = None
        steps[index] = replace(before, args=args, kwargs={}, outs=step.outs)
    remaining = tuple(step for step in steps if step is not None)
    return replace(tape, steps=remaining, constants=constants, size=size).pruned()


_NOT_CONSTANT = object()  # stands for an argument that depends on the variables


def _constant(ref: Any, constants: Mapping[int, Tensor]) -> Any:
    """The constant that an argument refers to; None if there is no argument."""
    if ref is None:
        return None
    return constants.get(ref.slot, _NOT_CONSTANT) if isinstance(ref, Ref) else _NOT_CONSTANT


def _fold(sources: tuple[Any, ...], eps: float) -> tuple[Tensor, Tensor]:
    # Not torch.nn.utils.fusion.fuse_conv_bn_weights: it multiplies the bias by 1/σ, then by the scale. In double
    # precision the last bit of every fifth bias would differ (of 200000 compared; in single precision of none).
    weight, bias, mean, variance, scale, shift = sources
    wide = torch.float32 if weight.device.type == "mps" else torch.float64
    factor = torch.rsqrt(variance.to(wide) + eps)
    if scale is not None:
        factor = factor * scale.to(wide)
    offset = -mean.to(wide) * factor if bias is None else (bias.to(wide) - mean.to(wide)) * factor
    if shift is not None:
        offset = offset + shift.to(wide)
    folded = weight.to(wide) * factor.view(-1, *[1] * (weight.ndim - 1))
    return folded.to(weight.dtype).detach(), offset.to(weight.dtype).detach()


def _gains_by_channels_last(tape: Tape) -> bool:
    """Whether most of its work is convolutions without groups, in single precision on a CPU."""
    convolutions = [step for step in tape.steps if step.function is torch.conv2d]
    grouped = [step for step in convolutions if _is_grouped(step)]
    products = [step for step in tape.steps if step.function in (F.linear, torch.matmul, torch.bmm)]
    dtypes = {tensor.dtype for tensor in tape.constants.values() if tensor.is_floating_point()}
    few = len(grouped) <= len(convolutions) / 4  # each converts the layout and back
    return tape.device == "cpu" and dtypes == {torch.float32} and few and len(convolutions) > len(products)


def _is_grouped(step: Step) -> bool:
    return step.function is torch.conv2d and Convolution(*step.args, **step.kwargs).groups != 1


def _channels_last(tape: Tape, frozen: FrozenWeights, is_weight: Callable[[Tensor], bool]) -> Tape:
    def moved(tensor: Tensor) -> Tensor:
        if tensor.ndim != 4 or tensor.shape[1] == 1 or tensor.shape[2:].numel() == 1:
            return tensor
        (result,) = frozen.get(
            (tensor,),
            "channels last",
            lambda: (tensor.detach().contiguous(memory_format=torch.channels_last),),
            is_weight(tensor) or any(tensor is each for each in frozen.tensors()),
        )
        return result

    steps: list[Step] = []
    unmoved: set[Any] = set()  # refs to weights of grouped convolutions
    size = tape.size
    for step in tape.steps:
        if _is_grouped(step):
            call = Convolution(*step.args, **step.kwargs)
            unmoved.add(call.weight)
            steps.append(Step(Tensor.contiguous, (call.input,), {}, (size,), (), step.mode))
            args = (Ref(size), call.weight, call.bias, call.stride, call.padding, call.dilation, call.groups)
            step, size = replace(step, args=args, kwargs={}), size + 1
        steps.append(step)
    constants = {slot: tensor if Ref(slot) in unmoved else moved(tensor) for slot, tensor in tape.constants.items()}
    return replace(tape, steps=tuple(steps), constants=constants, size=size)


def _cast(tape: Tape, frozen: FrozenWeights, is_weight: Callable[[Tensor], bool]) -> Tape:
    constants = dict(tape.constants)
    steps: list[Step] = []
    slots: dict[tuple[int, torch.dtype], int] = {}
    size = tape.size
    for step in tape.steps:
        dtype = step.mode.autocast
        if dtype is not None and step.function in (*_CONVOLUTIONS, F.linear):
            args = list(step.args)
            for position in (1, 2):  # weight and bias, if they are positional arguments
                ref: Any = args[position] if position < len(args) else None
                weight = _constant(ref, tape.constants)
                if weight is None or weight is _NOT_CONSTANT or weight.dtype != torch.float32:
                    continue
                if (ref.slot, dtype) not in slots:
                    cache = is_weight(weight) or any(weight is each for each in frozen.tensors())
                    cast = partial(_to, weight, dtype)
                    (constants[size],) = frozen.get((weight,), ("cast", dtype), cast, cache)
                    slots[ref.slot, dtype], size = size, size + 1
                args[position] = Ref(slots[ref.slot, dtype])
            step = replace(step, args=tuple(args))
        steps.append(step)
    return replace(tape, steps=tuple(steps), constants=constants, size=size).pruned() if slots else tape


def _to(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor]:
    return (weight.detach().to(dtype),)
