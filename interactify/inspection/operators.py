"""Operators called directly (`torch.ops.aten.…`), as the torch functions that they are.

Exported programs, and TorchScript as `script_graph.py` reads it, call operators; networks in Python call torch's
functions. Whatever follows a pass looks for the latter, so every mode passes what it intercepts through `ordinary`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

Function = Callable[..., Any]
Call = tuple[Function, tuple[Any, ...], dict[str, Any]]
_aten = torch.ops.aten

# The same arguments in the same order.
_SAME: dict[OpOverload, Function] = {
    _aten.conv2d.default: torch.conv2d,
    _aten.conv2d.padding: torch.conv2d,
    _aten.conv3d.default: torch.conv3d,
    _aten.conv3d.padding: torch.conv3d,
    _aten.sigmoid.default: torch.sigmoid,
    _aten.sigmoid_.default: torch.sigmoid_,
    _aten.special_expit.default: torch.sigmoid,
    _aten.softmax.int: torch.softmax,
    _aten.linear.default: F.linear,
    _aten.matmul.default: torch.matmul,
    _aten.bmm.default: torch.bmm,
    _aten.cat.default: torch.cat,
    _aten.stack.default: torch.stack,
    _aten.rsub.Scalar: torch.rsub,
    _aten.pad.default: F.pad,
    _aten.sym_size.int: Tensor.size,
    _aten.sym_size.default: Tensor.size,
}
_PADS: dict[OpOverload, str] = {
    _aten.constant_pad_nd.default: "constant",
    _aten.reflection_pad2d.default: "reflect",
    _aten.replication_pad2d.default: "replicate",
    _aten.reflection_pad3d.default: "reflect",
    _aten.replication_pad3d.default: "replicate",
}
_CONVOLUTIONS = {_aten.convolution.default, _aten._convolution.default, _aten._convolution.deprecated}


def ordinary(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """The call of a torch function that computes the same; the call itself where it is no operator, or has none.

    >>> ordinary(torch.ops.aten.sigmoid.default, (), {})[0] is torch.sigmoid
    True
    """
    if isinstance(function, OpOverloadPacket) and len(function.overloads()) == 1:
        function = getattr(function, function.overloads()[0])
    if not isinstance(function, OpOverload):
        return function, args, dict(kwargs)
    if function in _SAME:
        return _SAME[function], args, dict(kwargs)
    if function in _CONVOLUTIONS:
        return _convolution(function, args, kwargs)
    if function is _aten.batch_norm.default:
        given = _by_name(function, args, kwargs)
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        return F.batch_norm, tuple(given[name] for name in names), {}
    if function is _aten._softmax.default:
        given = _by_name(function, args, kwargs)
        if not given["half_to_float"]:
            return torch.softmax, (given["self"], given["dim"]), {}
    if function in _PADS:
        given = _by_name(function, args, kwargs)
        value = {"value": given["value"]} if "value" in given else {}
        return F.pad, (given["self"], given.get("pad", given.get("padding"))), {"mode": _PADS[function], **value}
    return function, args, dict(kwargs)


def name_of(function: Function) -> str:
    """The name of a torch function, and that of an operator without its overload.

    >>> name_of(torch.ops.aten.add.Tensor), name_of(torch.add)
    ('add', 'add')
    """
    name: str = getattr(function, "__name__", "")
    return name.partition(".")[0] if isinstance(function, OpOverload) else name


def _convolution(function: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    given = _by_name(function, args, kwargs)
    forward = {4: torch.conv2d, 5: torch.conv3d}.get(given["weight"].ndim)
    if given["transposed"] or forward is None:
        return function, args, dict(kwargs)
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    return forward, tuple(given[name] for name in names), {}


def _by_name(function: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of an operator by name, with the defaults of those that were not given."""
    arguments = function._schema.arguments
    given = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
    given.update({argument.name: value for argument, value in zip(arguments, args, strict=False)})
    given.update(kwargs)
    return given
