"""What inference allows: a tape rewritten so that it computes the same with less.

- A batch norm in evaluation mode multiplies and adds by channel: it is folded into the convolution before it, in double
  precision, so that neither its pass nor its part of the gradient is run.
- Under autocast, weights are cast once, and not in each pass.
- Convolutions of single precision on a CPU run on channels-last weights and maps, but for those in groups, which are
  2 to 16 times slower that way (forwards and backwards, measured on one core for depthwise and 4-fold groups).

All of it changes rounding and nothing else, and `suffix.py` sees to that. Where the choice of a rectifier
or a maximum hangs on the last digit, though, it may fall the other way, as it does between two machines: the logits
then agree to rounding, while the gradient differs where that one unit reaches. What is made of the network's own
weights is made once for a network, and again when they are trained on.
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

from interactify.inspection.image_flow import Convolution
from interactify.runtime.tape import Ref, Step, Tape


@dataclass
class FrozenWeights:
    """What was made of a network's weights, by their identity and version; they are held, so that none comes again."""

    made: dict[tuple[object, ...], tuple[tuple[Tensor | None, ...], tuple[Tensor, ...]]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)  # sessions of one network share it

    def get(
        self, sources: tuple[Tensor | None, ...], settings: object, make: Callable[[], tuple[Tensor, ...]], keep: bool
    ) -> tuple[Tensor, ...]:
        """What `make` makes of the sources; kept, where they are the network's own."""
        if not keep:
            return make()
        key = (settings, *(id(source) for source in sources))
        versions = tuple(-1 if source is None or source.is_inference() else source._version for source in sources)
        with self._lock:
            known = self.made.get((key, versions))
            if known is None:
                for old in [found for found in self.made if found[0] == key]:
                    self._drop(old)  # of weights before they were trained on
                known = self.made[key, versions] = (sources, make())
            return known[1]

    def _drop(self, old: tuple[object, ...]) -> None:
        """Let go of one, and of what was made of it."""
        _, gone = self.made.pop(old)
        for key, (sources, _) in list(self.made.items()):
            if key in self.made and any(source is tensor for source in sources for tensor in gone):
                self._drop(key)

    def tensors(self) -> list[Tensor]:
        """All that was made."""
        with self._lock:
            return [tensor for _, made in self.made.values() for tensor in made]


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


def lowered(tape: Tape, frozen: FrozenWeights, own: Callable[[Tensor], bool]) -> Tape:
    """The tape for inference; itself where there is nothing to gain.

    Args:
        tape: as it was recorded.
        frozen: what was made of the network's weights before; added to.
        own: whether a tensor is one of the network's weights.
    """
    made = _folded(tape, frozen, own)
    if _likes_channels_last(made):
        made = _channels_last(made, frozen, own)
    return _cast(made, frozen, own)


def _folded(tape: Tape, frozen: FrozenWeights, own: Callable[[Tensor], bool]) -> Tape:
    uses = tape.uses()
    overwritten = {slot for step in tape.steps for slot in step.writes}
    makers = {slot: index for index, step in enumerate(tape.steps) for slot in step.outs}
    steps: list[Step | None] = list(tape.steps)
    constants = dict(tape.constants)
    size = tape.size
    for index, step in enumerate(tape.steps):
        if step.function is not F.batch_norm:
            continue
        norm = _BatchNorm(*step.args, **step.kwargs)
        given = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        maker = makers.get(norm.input.slot, -1) if isinstance(norm.input, Ref) else -1
        before = steps[maker] if maker >= 0 else None
        if norm.training or before is None or before.function is not torch.conv2d or before.mode != step.mode:
            continue
        call = Convolution(*before.args, **before.kwargs)
        parts = [_constant(ref, constants) for ref in (call.weight, call.bias, *given)]
        weight, mean, variance = parts[0], parts[2], parts[3]
        alone = uses.get(norm.input.slot) == 1 and norm.input.slot not in overwritten
        if not alone or _MOVING in parts or weight is None or mean is None or variance is None:
            continue
        sources: tuple[Any, ...] = tuple(parts)
        made = frozen.get(
            sources,
            ("folded", norm.eps),
            partial(_fold, sources, norm.eps),
            all(own(source) for source in sources if source is not None),
        )
        constants[size], constants[size + 1] = made
        args = (call.input, Ref(size), Ref(size + 1), call.stride, call.padding, call.dilation, call.groups)
        size += 2
        steps[maker] = None
        steps[index] = replace(before, args=args, kwargs={}, outs=step.outs)
    kept = tuple(step for step in steps if step is not None)
    return replace(tape, steps=kept, constants=constants, size=size).pruned()


_MOVING = object()  # an argument that is no constant


def _constant(ref: Any, constants: Mapping[int, Tensor]) -> Any:
    """The constant an argument stands for; None for none."""
    if ref is None:
        return None
    return constants.get(ref.slot, _MOVING) if isinstance(ref, Ref) else _MOVING


def _fold(sources: tuple[Any, ...], eps: float) -> tuple[Tensor, Tensor]:
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


def _likes_channels_last(tape: Tape) -> bool:
    """Whether convolutions that are not in groups are the bulk of it, in single precision on a CPU."""
    convolutions = [step for step in tape.steps if step.function is torch.conv2d]
    grouped = [step for step in convolutions if _in_groups(step)]
    products = [step for step in tape.steps if step.function in (F.linear, torch.matmul, torch.bmm)]
    dtypes = {tensor.dtype for tensor in tape.constants.values() if tensor.is_floating_point()}
    few = len(grouped) <= len(convolutions) / 4  # each changes the layout and back
    return tape.device == "cpu" and dtypes == {torch.float32} and few and len(convolutions) > len(products)


def _in_groups(step: Step) -> bool:
    return step.function is torch.conv2d and Convolution(*step.args, **step.kwargs).groups != 1


def _channels_last(tape: Tape, frozen: FrozenWeights, own: Callable[[Tensor], bool]) -> Tape:
    def moved(tensor: Tensor) -> Tensor:
        if tensor.ndim != 4 or tensor.shape[1] == 1 or tensor.shape[2:].numel() == 1:
            return tensor
        (made,) = frozen.get(
            (tensor,),
            "channels last",
            lambda: (tensor.detach().contiguous(memory_format=torch.channels_last),),
            own(tensor) or any(tensor is made for made in frozen.tensors()),
        )
        return made

    steps: list[Step] = []
    left: set[Any] = set()  # slots of weights
    size = tape.size
    for step in tape.steps:
        if _in_groups(step):
            call = Convolution(*step.args, **step.kwargs)
            left.add(call.weight)
            steps.append(Step(Tensor.contiguous, (call.input,), {}, (size,), (), step.mode))
            args = (Ref(size), call.weight, call.bias, call.stride, call.padding, call.dilation, call.groups)
            step, size = replace(step, args=args, kwargs={}), size + 1
        steps.append(step)
    constants = {slot: tensor if Ref(slot) in left else moved(tensor) for slot, tensor in tape.constants.items()}
    return replace(tape, steps=tuple(steps), constants=constants, size=size)


def _cast(tape: Tape, frozen: FrozenWeights, own: Callable[[Tensor], bool]) -> Tape:
    constants = dict(tape.constants)
    steps: list[Step] = []
    slots: dict[tuple[int, torch.dtype], int] = {}
    size = tape.size
    for step in tape.steps:
        dtype = step.mode.autocast
        if dtype is not None and step.function in (torch.conv2d, F.linear):
            args = list(step.args)
            for place in (1, 2):  # weight and bias, where they are given by their place
                ref: Any = args[place] if place < len(args) else None
                weight = _constant(ref, tape.constants)
                if weight is None or weight is _MOVING or weight.dtype != torch.float32:
                    continue
                if (ref.slot, dtype) not in slots:
                    theirs = own(weight) or any(weight is made for made in frozen.tensors())
                    cast = partial(_to, weight, dtype)
                    (constants[size],) = frozen.get((weight,), ("cast", dtype), cast, theirs)
                    slots[ref.slot, dtype], size = size, size + 1
                args[place] = Ref(slots[ref.slot, dtype])
            step = replace(step, args=tuple(args))
        steps.append(step)
    return replace(tape, steps=tuple(steps), constants=constants, size=size).pruned() if slots else tape


def _to(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor]:
    return (weight.detach().to(dtype),)
