"""Networks that were compiled or exported, as modules that can be observed and changed while they run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from interactify.errors import ModelError
from interactify.inspection import exported_graph, script_graph
from interactify.inspection.layered import layered


def in_layers(copied: nn.Module, shared_with: nn.Module | None = None) -> nn.Module:
    """A copied network in which TorchScript and exported graphs are ordinary layers.

    TorchScript that can't be read stays as it is: it runs, but nothing inside is seen.

    Args:
        copied: the copy, which may be changed.
        shared_with: the network it was copied from, where TorchScript's parameters are to be shared with it: the copy
            of a scripted module has a memory of its own. Buffers are copied in any case.

    Raises:
        ModelError: an exported program that takes more than one image.
    """
    if isinstance(copied, fx.GraphModule) and exported_graph.is_exported(copied):
        return layered(exported_graph.flat_graph(copied), exported_graph.weights_of(copied))
    for name, script in _scripts(copied):
        source = script if shared_with is None else dict(nn.Module.named_modules(shared_with))[name]
        assert isinstance(source, torch.jit.ScriptModule)
        try:
            readable = layered(script_graph.flat_graph(source), _weights(source, shared_with is not None))
        except script_graph.Unreadable:
            continue
        readable.train(getattr(copied, "training", False))  # a frozen script has no mode
        if not name:
            return readable
        copied.set_submodule(name, readable)
    return copied


def _scripts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The scripted modules of a network by name, without those inside another one."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in nn.Module.named_modules(model):
        inside = any(not outer or name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, torch.jit.ScriptModule) and not inside:
            found.append((name, module))
    return found


def _weights(script: nn.Module, shared: bool) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in script.named_parameters(remove_duplicate=False):
        yield name, nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad and not shared)
    for name, buffer in script.named_buffers(remove_duplicate=False):
        yield name, buffer.detach().clone()


def check_not_quantised(model: nn.Module) -> None:
    """Raise ModelError for a network of int8 layers: rounding to whole numbers has no gradient."""
    found = ""
    for name, module in nn.Module.named_modules(model):
        if ".quantized" in type(module).__module__ and type(module).__module__.startswith(("torch.ao.", "torch.nn.")):
            found = f"{name or 'itself'}: {type(module).__name__}"
        elif isinstance(module, torch.jit.ScriptModule) and not name and "quantized::" in str(module.inlined_graph):
            found = "TorchScript with quantized:: operators"
        if found:
            break
    if isinstance(model, fx.GraphModule):
        named = [str(node.target) for node in model.graph.nodes if node.op == "call_function"]
        found = next((name for name in named if name.startswith(("quantized", "torchao."))), found)
    if found:
        raise ModelError(
            f"Expected a network in floating point, got {type(model).__name__}, which is quantised to int8 ({found}): "
            "rounding to whole numbers has no gradient, so no click could move it. Try the float network that it was "
            "quantised from; precision='bfloat16' is a quicker one that can be differentiated."
        )
