"""Exported programs (`torch.export`): the sizes they take, and their graph as layers.

`ExportedProgram.module()` is one flat graph of operators. The graph remembers which module each operator came from, and
which sizes of the image it was exported for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from interactify.errors import ModelError
from interactify.inspection.layered import Flat, ModuleCall, Operation, Values, weight


@dataclass(frozen=True)
class Sizes:
    """The images that an exported program takes.

    `exact`: (H, W), where it takes one size only. `divisor`: what both sides must be divisible by. `smallest`,
    `largest`: limits of both sides; None where there are none.
    """

    exact: tuple[int, int] | None
    divisor: int | None = None
    smallest: int | None = None
    largest: int | None = None


def is_exported(model: object) -> bool:
    """Whether a module is the graph of an exported program: `ExportedProgram.module()`.

    >>> is_exported(torch.fx.symbolic_trace(nn.Conv2d(3, 1, 1)))
    False
    """
    if not isinstance(model, fx.GraphModule):
        return False
    called = [node.target for node in model.graph.nodes if node.op == "call_function"]
    return isinstance(_image(model), Tensor) and any(isinstance(target, torch._ops.OpOverload) for target in called)


def sizes_of(model: fx.GraphModule) -> Sizes:
    """The sizes that the graph was exported for."""
    stated = vars(model).get("exported_sizes")  # of a graph from a pickle, which has no symbols
    if isinstance(stated, Sizes):
        return stated
    image = _image(model)
    height, width = image.shape[-2:]
    if isinstance(height, int) and isinstance(width, int):
        return Sizes((height, width))
    sides = [_limits(model, side) for side in (height, width)]
    divisors, least, most = ([found for side in sides if (found := side[k]) is not None] for k in range(3))
    return Sizes(None, max(divisors, default=None), max(least, default=None), min(most, default=None))


def flat_graph(model: fx.GraphModule) -> Flat:
    """What the graph runs.

    Raises:
        ModelError: it was exported for several images at once, or takes more than an image.
    """
    images = [node for node in model.graph.nodes if node.op == "placeholder"]
    batch = _image(model).shape[0]
    if len(images) != 1:
        raise ModelError(
            f"Expected a program exported for one image tensor (N, C, H, W), got one for {len(images)} inputs "
            f"({', '.join(node.name for node in images[:4])}). Try exporting a module that fills in the others."
        )
    if isinstance(batch, int) and batch != 1:
        raise ModelError(
            f"Expected a program exported for one image, or any number of them, got one for {batch} at once. Try "
            "exporting it with an example of one image (1, C, H, W)."
        )
    operations = [
        _operation(model, node)
        for node in model.graph.nodes
        if node.op in ("call_function", "call_method", "call_module")
    ]
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    ends = frozenset(node.name for node in output.all_input_nodes if node.op != "get_attr")
    out_spec = getattr(getattr(model.graph._codegen, "pytree_info", None), "out_spec", None)

    def result(values: Values) -> Any:
        flat = fx.node.map_arg(output.args[0], lambda node: values[node.name])
        if out_spec is None:
            return flat
        return torch.utils._pytree.tree_unflatten(flat if isinstance(flat, (list, tuple)) else [flat], out_spec)

    inputs = ((images[0].name, images[0].name, None),)
    return Flat(type(model).__name__, inputs, tuple(operations), ends, result)


def weights_of(model: fx.GraphModule) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and constants that the graph reads, by their whole name; shared ones under each name."""
    for name in dict.fromkeys(node.target for node in model.graph.nodes if node.op == "get_attr"):
        value = _attribute(model, name)
        if isinstance(value, Tensor):
            yield name, value


def _image(model: fx.GraphModule) -> Any:
    """What the graph's first input was exported with: a tensor of its shape, some sizes of which may be symbols."""
    first = next((node for node in model.graph.nodes if node.op == "placeholder"), None)
    value = None if first is None else first.meta.get("val")
    return value if isinstance(value, Tensor) and value.ndim == 4 else None


def _limits(model: fx.GraphModule, side: Any) -> tuple[int | None, int | None, int | None]:
    """Divisor, least and largest value of one side."""
    if isinstance(side, int):
        return None, side, side
    expression = side.node.expr
    symbols = list(expression.free_symbols)
    if len(symbols) != 1:
        return None, None, None
    steps = expression.subs(symbols[0], 1) - expression.subs(symbols[0], 0)  # sizes such as 32·s are multiples of 32
    whole = expression.subs(symbols[0], 0) == 0
    limits = getattr(model, "range_constraints", {}).get(symbols[0])
    bounds: list[int | None] = [None, None]
    for k, limit in enumerate(() if limits is None else (limits.lower, limits.upper)):
        value = int(expression.subs(symbols[0], limit)) if limit.is_Integer else 0
        if 2 < value < 2**31:  # 2 is where torch begins by itself
            bounds[k] = value
    return (int(steps) if whole and int(steps) > 1 else None), bounds[0], bounds[1]


def _operation(model: fx.GraphModule, node: fx.Node) -> Operation:
    reads = tuple(each.name for each in node.all_input_nodes if each.op != "get_attr")
    # Graphs of control flow, and the check of the sizes, are modules of the exported program's own.
    own = {each.name: _attribute(model, each.target) for each in node.all_input_nodes if each.op == "get_attr"}
    own = {name: value for name, value in own.items() if not isinstance(value, Tensor)}
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def run(root: nn.Module, values: Values) -> Sequence[Any]:
        def value(each: fx.Node) -> Any:
            if each.op != "get_attr":
                return values[each.name]
            return own[each.name] if each.name in own else weight(root, str(each.target))

        args, kwargs = fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)
        if node.op == "call_method":
            return (getattr(args[0], str(node.target))(*args[1:], **kwargs),)
        function = node.target if module is None else module
        assert callable(function)
        return (function(*args, **kwargs),)

    return Operation(reads, (node.name,), run, _calls(node))


def _attribute(root: nn.Module, name: Any) -> Any:
    return functools.reduce(getattr, str(name).split("."), root)


def _calls(node: fx.Node) -> tuple[ModuleCall, ...]:
    """The modules around an operator. The same module called again has the suffix "@1" to its name."""
    stack = node.meta.get("nn_module_stack") or {}
    calls = []
    for key, (path, kind) in stack.items():
        name = str(path).partition("@")[0]
        if name:
            kind = kind if isinstance(kind, str) else kind.__name__
            calls.append(ModuleCall(name, f"{key} {path}", kind.rpartition(".")[2]))
    return tuple(calls)
