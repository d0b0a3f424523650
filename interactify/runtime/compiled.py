"""A compiled tape: its steps as one graph for torch.compile, with the tape's constants as inputs of the graph.

One compilation serves all photos of a shape, as long as their tapes have the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from interactify.runtime.tape import Nested, Ref, Step, Tape, tensors_in

Run = Callable[..., Tensor]
"""From values and constants to logits."""


class Compiled:
    """The compiled steps of one tape; runs any tape that has the same steps."""

    def __init__(self, tape: Tape, backend: str | Callable[..., Any] = "inductor") -> None:
        self._slots = tuple(sorted(tape.constants))
        self._autocast = tape.mode.autocast, tape.device
        self._run: Run = torch.compile(graph_of(tape), backend=backend, dynamic=False)

    def __call__(self, tape: Tape, values: Tensor) -> Tensor:
        """Logits (1, K, h, w), differentiable in the values."""
        dtype, device = self._autocast
        with torch.autocast(device, dtype, enabled=dtype is not None):
            return self._run(values, *(tape.constants[slot] for slot in self._slots))


def graph_of(tape: Tape) -> fx.GraphModule:
    """The tape's steps as a graph of (values, *constants in the order of their slots) → logits."""
    graph = fx.Graph()
    nodes: dict[int, Any] = {0: graph.placeholder("values")}
    for slot in sorted(tape.constants):
        nodes[slot] = graph.placeholder(f"constant_{slot}")
    for step in tape.steps:
        args = tuple(_with_nodes(value, nodes) for value in step.args)
        kwargs = {name: _with_nodes(value, nodes) for name, value in step.kwargs.items()}
        out = graph.call_function(step.function, args, kwargs)
        nodes.update((slot, graph.call_function(_item, (out, index))) for index, slot in enumerate(step.outs))
    graph.output(nodes[tape.result])
    return fx.GraphModule(torch.nn.Module(), graph)


# Functions that autocast does not change: whether it is on makes no difference.
_CASTS_AND_VIEWS = {
    "to",
    "float",
    "double",
    "contiguous",
    "clone",
    "detach",
    "view",
    "reshape",
    "__getitem__",
    "__get__",
}


def uncompilable(tape: Tape) -> str:
    """Why a tape can't be one graph for the compiler; "" if it can."""
    others = [step for step in tape.steps if step.mode != tape.mode]
    if any(step.mode.gradients != tape.mode.gradients or _name(step) not in _CASTS_AND_VIEWS for step in others):
        return "it switches gradients or autocast within a pass"
    return waits_for_values(tape)


def waits_for_values(tape: Tape) -> str:
    """Why a tape can't run without reading computed values; "" if it can."""
    if any(step.expected or step.shapes is not None for step in tape.steps):
        return "which branches the network takes depends on values"
    return ""


def _name(step: Step) -> str:
    return str(getattr(step.function, "__name__", ""))


def signature(tape: Tape) -> tuple[object, ...]:
    """Equal (==) for two tapes that differ in nothing but the values of their constants."""
    known: tuple[object, ...] | None = tape.__dict__.get("_signature")
    if known is None:
        steps = tuple(
            (step.function, _plain(step.args), _plain(step.kwargs), step.outs, step.writes, step.mode)
            for step in tape.steps
        )
        kinds = tuple((slot, t.shape, t.stride(), t.dtype, t.device) for slot, t in sorted(tape.constants.items()))
        known = (tape.result, tape.size, tape.mode, tape.device, steps, kinds)
        object.__setattr__(tape, "_signature", known)
    return known


def _plain(value: Any) -> Any:
    """Arguments in a form that compares by content: without the functions that rebuild containers with refs."""
    if isinstance(value, Ref):
        return value
    if isinstance(value, Nested):
        return Nested, tuple(_plain(item) for item in value.items)
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_plain(item) for item in value)
    if isinstance(value, Mapping):
        return dict, tuple((name, _plain(item)) for name, item in value.items())
    return type(value), value


def _with_nodes(value: Any, nodes: Mapping[int, Any]) -> Any:
    if isinstance(value, Ref):
        return nodes[value.slot]
    if isinstance(value, Nested):
        return value.rebuild([_with_nodes(item, nodes) for item in value.items])
    return value


def _item(out: Any, index: int) -> Tensor:
    """One of the tensors that a function returned."""
    return out if isinstance(out, Tensor) else list(tensors_in(out))[index]
