"""A private replica of the user's model: its own modules, mode and hooks, which share the model's weights.

The library works on the replica alone, so the user's model stays unchanged: its mode, its `requires_grad` and its hooks
are never touched.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from interactify.errors import ModelError, reason_of
from interactify.inspection.forms import check_not_quantised, in_layers
from interactify.inspection.held_tensors import held_in_a_graph

# What is noted at the module of an exported program or of an ONNX graph: the images that it takes.
_SIZES = ("range_constraints", "exported_sizes", "onnx_size", "onnx_size_is_baked_in")


def replica_of(model: nn.Module) -> nn.Module:
    """Copy a model's structure and share its weights, in evaluation mode and without weight gradients.

    Parameters are shared: no second copy in memory, and later training of the model takes effect. Buffers, and tensors
    stored as plain attributes, are copied, since a forward pass may write to them.

    Args:
        model: any `nn.Module`; it is never changed.

    Returns:
        The replica. Its parameters alias the model's memory and have `requires_grad=False`.

    Raises:
        ModelError: `model` is not an `nn.Module`, or can't be copied.

    >>> conv = nn.Conv2d(3, 1, 1)
    >>> replica = replica_of(conv)
    >>> replica.weight.data_ptr() == conv.weight.data_ptr(), replica.training, conv.training
    (True, False, True)
    """
    _check(model)
    check_not_quantised(unwrapped(model))
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        # Built in inference mode, a parameter can't be part of a graph: its values are copied then, and not shared.
        own = parameter.detach().clone() if parameter.is_inference() else parameter.detach()
        memo[id(parameter)] = nn.Parameter(own, requires_grad=False)
    replica = in_layers(_copied(unwrapped(model), memo), unwrapped(model))
    replica.eval()  # not chained: the model's own eval() may return anything
    for module in nn.Module.modules(replica):  # and may skip modules: smp's skips a frozen encoder
        module.training = False
    return replica


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without the wrappers of torch.compile and data parallelism."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def independent_copy_of(model: nn.Module) -> nn.Module:
    """Copy a model with its weights, mode and `requires_grad`, without its wrappers; nothing is shared.

    Raises:
        ModelError: `model` is not an `nn.Module`, or can't be copied.
    """
    _check(model)
    copied = _copied(unwrapped(model), {})
    for name in _SIZES:  # a copied graph has its operators and modules alone
        if name in vars(unwrapped(model)):
            setattr(copied, name, vars(unwrapped(model))[name])
    return copied


def _check(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"Expected a torch.nn.Module, got {type(model).__name__}. Try to build the network first, then wrap it."
        )
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            f"Expected a network with weights, got {type(model).__name__}, whose lazy layers have none yet. Try to "
            "run it once on an image, then wrap it."
        )
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            f"Expected a network with weights, got {type(model).__name__} on the device 'meta', where weights have "
            "shapes and no values. Try to build it on the CPU, or model.to_empty(device='cpu') and load_state_dict."
        )


def _copied(model: nn.Module, memo: dict[int, object]) -> nn.Module:
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().clone()
    for module in nn.Module.modules(model):
        for value in vars(module).values():
            # Weight normalisation and the like keep non-leaf tensors as attributes, which deepcopy refuses.
            if isinstance(value, Tensor) and id(value) not in memo:
                memo[id(value)] = value.detach().clone()
    for value in held_in_a_graph(model):
        if id(value) not in memo:
            memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as cause:  # the model's own code decides what it raises
        raise ModelError(
            f"Expected a network that can be copied, since the library works on a copy, got {type(model).__name__}: "
            f"{reason_of(cause)}. Try to remove what can't be copied (locks, files, generators) from the "
            "module's attributes, or give it a __deepcopy__."
        ) from cause
