"""A tape in bfloat16: the same calls on half as many bits, for passes that only steer a refinement.

Processors with AMX multiply such matrices several times as fast. Everything between the variables and
the logits is in bfloat16, so that nothing is converted on the way: weights, constants, maps, and the types that calls
name. In a network that is mostly convolutions they take maps in channels-last order, which is quick in this type for
grouped ones too, unless they are grouped and dilated (measured on one core with AMX, forward and backward).

The logits differ from those in single precision by some percent, so they are displayed in previews alone, and never
decide whether a click is satisfied (`brs.refine(steering=…)`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.inspection.image_flow import CONVOLUTIONS, Convolution
from interactify.runtime.lowering import FrozenWeights, folded
from interactify.runtime.tape import Nested, Ref, Step, Tape

STEERS: Final = 0.15  # of how much the logits vary (root mean squares): with a larger difference, they steer elsewhere
_CONVOLUTIONS = tuple(CONVOLUTIONS.values())
_MATRIX_PRODUCTS = (F.linear, torch.matmul, torch.bmm, F.scaled_dot_product_attention)
_PRODUCTS = (*_CONVOLUTIONS, *_MATRIX_PRODUCTS)
_NORMS = (F.group_norm, F.layer_norm, F.instance_norm, F.batch_norm)  # those that were not folded
_TYPED: dict[Any, Any] = {torch.float32: torch.bfloat16, Tensor.float: Tensor.bfloat16}


class Unreducible(Exception):
    """Internal signal, with the reason: a tape that has no equal in bfloat16. Never reaches a user."""


def reduced(tape: Tape, frozen: FrozenWeights, is_weight: Callable[[Tensor], bool]) -> Tape:
    """A recorded tape in bfloat16; its values are taken, and its logits returned, in that type.

    Args:
        tape: as it was recorded, in single precision.
        frozen: what was derived from the network's weights so far; this call adds to it.
        is_weight: whether a tensor is one of the network's weights.

    Raises Unreducible where that is not sensible.
    """
    tape = folded(tape, frozen, is_weight)
    _check(tape)
    moves = sum(step.function in _CONVOLUTIONS for step in tape.steps) > sum(
        step.function in _MATRIX_PRODUCTS for step in tape.steps
    )
    steps: list[Step] = []
    unmoved: set[Any] = set()  # refs to weights that keep their layout
    size = tape.size
    for step in tape.steps:
        if moves and _keeps_layout(step):
            call = Convolution(*step.args, **step.kwargs)
            unmoved.add(call.weight)
            steps.append(Step(Tensor.contiguous, (call.input,), {}, (size,), (), step.mode))
            args = (Ref(size), call.weight, call.bias, call.stride, call.padding, call.dilation, call.groups)
            step, size = replace(step, args=args, kwargs={}), size + 1
        function = _TYPED.get(step.function, step.function)
        arguments = {name: _typed(value) for name, value in step.kwargs.items()}
        steps.append(replace(step, function=function, args=_typed(step.args), kwargs=arguments))
    own = set(map(id, frozen.tensors()))

    def converted(slot: int, tensor: Tensor) -> Tensor:
        stays = not moves or Ref(slot) in unmoved or tensor.ndim != 4
        layout = torch.preserve_format if stays else torch.channels_last
        convert = partial(_converted, tensor, layout)
        (found,) = frozen.get((tensor,), ("reduced", layout), convert, is_weight(tensor) or id(tensor) in own)
        return found

    constants = {
        slot: converted(slot, tensor) if tensor.dtype == torch.float32 else tensor
        for slot, tensor in tape.constants.items()
    }
    return replace(tape, steps=tuple(steps), constants=constants, size=size)


def _check(tape: Tape) -> None:
    """Raise Unreducible for a tape that would decide otherwise in bfloat16, or gain nothing by it."""
    if any(step.expected or step.shapes is not None for step in tape.steps):
        raise Unreducible("its code branches on values")
    if any(step.mode.autocast is not None for step in tape.steps):
        raise Unreducible("it chooses precisions by itself")
    if any(tensor.dtype == torch.float64 for tensor in tape.constants.values()):
        raise Unreducible("it computes in double precision")
    products = sum(step.function in _PRODUCTS for step in tape.steps)
    norms = sum(step.function in _NORMS for step in tape.steps)
    if products <= norms:
        raise Unreducible("most of its work is not convolutions or matrix products")


def _keeps_layout(step: Step) -> bool:
    if step.function is not torch.conv2d:
        return False
    call = Convolution(*step.args, **step.kwargs)
    dilation = call.dilation if isinstance(call.dilation, (tuple, list)) else (call.dilation,)
    return call.groups != 1 and max(dilation) > 1


def _typed(value: Any) -> Any:
    """Arguments with the type that they name exchanged; tensors stay."""
    if isinstance(value, Nested):
        return value._replace(items=_typed(value.items))
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_typed(item) for item in value)
    return _TYPED.get(value, value) if isinstance(value, torch.dtype) else value


def _converted(tensor: Tensor, layout: torch.memory_format) -> tuple[Tensor]:
    return (tensor.detach().to(torch.bfloat16, memory_format=layout),)
