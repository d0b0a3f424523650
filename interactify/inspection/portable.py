"""Networks in the forms of other tools, as something that pickle takes: it refuses some, and loses a part of others.

TorchScript travels as the file that `torch.jit.save` writes. The graph of an exported program travels as torch.fx
pickles graphs, which keeps operators and weights; beside it travels what fx leaves out: the modules that the operators
came from, the sizes of image that the program takes, and the structure of what it returns.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from interactify.errors import ModelError
from interactify.inspection.exported_graph import Sizes, is_exported, sizes_of


def portable(model: nn.Module) -> Any:
    """What to pickle in place of a network. Unpickled, it is the network again; most are it themselves.

    Raises:
        ModelError: TorchScript inside of another module, or an exported program with branches, which no form holds.
    """
    if isinstance(model, torch.jit.ScriptModule):
        return _Script(model)
    if isinstance(model, fx.GraphModule) and is_exported(model):
        return _Graph(model)
    for name, module in nn.Module.named_modules(model):
        if isinstance(module, torch.jit.ScriptModule):
            raise _refused(f"{type(model).__name__} with TorchScript inside ({name})", "script all of it")
    return model


def _refused(got: str, instead: str) -> ModelError:
    return ModelError(
        f"Expected a network that can be pickled, got {got}. Try to {instead}; or build and wrap it in the other "
        "process, and hand over session.save(path) or session.log()."
    )


@dataclass(frozen=True)
class _Script:
    """TorchScript; `pickle` refuses it."""

    script: torch.jit.ScriptModule

    def __reduce__(self) -> tuple[Any, ...]:
        content = io.BytesIO()
        with warnings.catch_warnings():  # torch announces the end of TorchScript
            warnings.simplefilter("ignore")
            torch.jit.save(self.script, content)
        return _script_from, (content.getvalue(),)


def _script_from(content: bytes) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: nn.Module = torch.jit.load(io.BytesIO(content))
    return script


@dataclass(frozen=True)
class _Graph:
    """The module of an exported program."""

    module: fx.GraphModule

    def __reduce__(self) -> tuple[Any, ...]:
        graph = copy.deepcopy(self.module.graph)
        structure = getattr(graph._codegen, "pytree_info", None)
        graph.set_codegen(fx.graph.CodeGen())
        graph._tracer_cls = None  # that of torch.export can't trace by itself
        for node in list(graph.nodes):
            if node.op == "call_module" and not node.users:  # the check of the sizes, which is a function of torch's
                graph.erase_node(node)
            elif isinstance(node.target, torch._ops.HigherOrderOperator):
                raise _refused(f"an exported program with branches or loops ({node.target})", "export it without them")
        # The nodes themselves go through fx, which writes them as code and traces that: calls keep their order.
        stacks = [_stack(node) for node in graph.nodes if node.op.startswith("call_")]
        shape = next(node for node in graph.nodes if node.op == "placeholder").meta["val"].shape
        example = tuple(side if isinstance(side, int) else 64 for side in shape)
        for node in graph.nodes:
            node.meta = {}
        return _graph_from, (fx.GraphModule(self.module, graph), stacks, example, structure, sizes_of(self.module))


def _stack(node: fx.Node) -> dict[str, tuple[str, str]]:
    """The modules around an operator, as in the graph, with the names of their classes."""
    found = {}
    for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        found[key] = str(path), kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return found


def _graph_from(
    module: fx.GraphModule,
    stacks: Sequence[dict[str, tuple[str, str]]],
    example: tuple[int, ...],
    structure: Any,
    sizes: Sizes,
) -> fx.GraphModule:
    """The module of an exported program, with all that is read of one.

    Args:
        module: the graph, as fx pickles it.
        stacks: of each call, the modules that it came from.
        example: the shape of an image that it takes.
        structure: of what it takes and returns; None for tensors.
        sizes: the images that it takes.
    """
    calls = (node for node in module.graph.nodes if node.op.startswith("call_"))
    for node, stack in zip(calls, stacks, strict=True):
        node.meta["nn_module_stack"] = stack
    for node in module.graph.nodes:
        if node.op == "placeholder":
            node.meta["val"] = torch.empty(example, device="meta")
    if structure is not None:
        module.graph.set_codegen(fx.graph._PyTreeCodeGen(structure))
        module.recompile()
    module.exported_sizes = sizes  # type: ignore[assignment]
    return module
