"""A flat list of operators, run as the layers that it was traced from.

Exported programs and inlined TorchScript are flat, but remember for each operator in which module it was called. Here
they become a tree of modules with the names of the original, which run their own operators: so hooks on a layer work,
and layers have maps, as in the network that was exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor, nn

Values = dict[str, Any]


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module: its name, a key that sets the call apart from others of it, and the name of its class."""

    name: str
    key: str
    kind: str


@dataclass(frozen=True, eq=False)
class Operation:
    """One operator: the names of the values it reads and writes, and what computes them.

    `run` gets the root module and the values, and returns what it writes, in their order. `calls` are the module calls
    around it, the outermost first.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    run: Callable[[nn.Module, Values], Sequence[Any]]
    calls: tuple[ModuleCall, ...] = ()


@dataclass(frozen=True, eq=False)
class _Part:
    """Operations of one module call in the order they run, some of them in calls inside it."""

    call: ModuleCall
    body: tuple[Operation | _Part, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    dead: tuple[tuple[str, ...], ...]  # for each entry of the body, the values that nothing after it reads


class _Layer(nn.Module):
    """A module of the original: its weights, and a forward that runs one of its calls."""

    def forward(self, *values: Any, part: _Part, root: nn.Module) -> Any:
        found = dict(zip(part.reads, values, strict=True))
        _run(part, root, found)
        results = tuple(found[name] for name in part.writes)
        return results[0] if len(results) == 1 else results


@dataclass(frozen=True)
class Flat:
    """What a network consists of, as a flat list.

    Attributes:
        kind: the name of its class.
        inputs: for each argument of its forward, the argument's name, the value's name, and the default.
        operations: in the order they run.
        ends: names of the values that `result` reads.
        result: from the values to what the network returns.
    """

    kind: str
    inputs: tuple[tuple[str, str, Any], ...]
    operations: tuple[Operation, ...]
    ends: frozenset[str]
    result: Callable[[Values], Any]


class Layered(nn.Module):
    """A network over a flat list of operations, with the layers of the original."""

    def start(self, flat: Flat) -> None:
        """Set what runs."""
        self._flat = flat
        self._whole = _part(ModuleCall("", "", ""), list(flat.operations), 0, set(flat.ends))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run all operations on an image (N, C, H, W), or on whatever the original's forward takes."""
        values: Values = {}
        for index, (argument, value, default) in enumerate(self._flat.inputs):
            values[value] = args[index] if index < len(args) else kwargs.get(argument, default)
        _run(self._whole, self, values)
        return self._flat.result(values)


def layered(flat: Flat, tensors: Iterable[tuple[str, Tensor]]) -> Layered:
    """The tree of modules that runs a flat list; `tensors` are its parameters and buffers by their whole names."""
    root: Layered = type(flat.kind, (Layered,), {})()
    kinds = {call.name: call.kind for operation in flat.operations for call in operation.calls}
    tensors = list(tensors)
    for name in (*(name.rpartition(".")[0] for name, _ in tensors), *kinds):
        if name:
            _make(root, name, kinds)
    for name, tensor in tensors:
        owner, _, own = name.rpartition(".")
        module = root.get_submodule(owner)
        if isinstance(tensor, nn.Parameter):
            module.register_parameter(own, tensor)
        else:
            module.register_buffer(own, tensor)
    root.start(flat)
    return root


def _make(root: nn.Module, name: str, kinds: dict[str, str]) -> None:
    """Make the module of that name, and those above it."""
    module, path = root, ""
    for step in name.split("."):
        path = f"{path}.{step}" if path else step
        if step not in module._modules:
            # The class has the original's name, which `describe` and the table of insertion points show.
            module.add_module(step, type(kinds.get(path) or "Module", (_Layer,), {})())
        child = module._modules[step]
        assert child is not None
        module = child


def _part(call: ModuleCall, operations: list[Operation], level: int, ends: set[str]) -> _Part:
    """Operations as the body of one call; `ends` are the values that are read after it."""
    read_after: list[set[str]] = [set(ends)]  # for each operation, from the last: what is read later
    for operation in reversed(operations):
        read_after.append(read_after[-1] | set(operation.reads))
    read_after = read_after[::-1][1:]
    body: list[Operation | _Part] = []
    ended: list[set[str]] = []
    at = 0
    for inner, group in groupby(operations, key=lambda each: each.calls[level] if len(each.calls) > level else None):
        members = list(group)
        if inner is None:
            body += members
            ended += read_after[at : at + len(members)]
        else:
            body.append(_part(inner, members, level + 1, read_after[at + len(members) - 1]))
            ended.append(read_after[at + len(members) - 1])
        at += len(members)
    written = {name for operation in operations for name in operation.writes}
    reads = tuple(dict.fromkeys(name for op in operations for name in op.reads if name not in written))
    writes = tuple(dict.fromkeys(name for op in operations for name in op.writes if name in ends))
    dead, known = [], set(reads)
    for entry, later in zip(body, ended, strict=True):
        known |= set(entry.writes)
        dead.append(tuple(sorted(known - later)))
        known &= later
    return _Part(call, tuple(body), reads, writes, tuple(dead))


def weight(root: nn.Module, name: str) -> Tensor:
    """The tensor of that name, as it is now."""
    owner, _, own = name.rpartition(".")
    tensor: Tensor = getattr(root.get_submodule(owner), own)
    return tensor


def _run(part: _Part, root: nn.Module, values: Values) -> None:
    """Run a body; values that nothing reads any more are freed, as Python's own variables would be."""
    for entry, dead in zip(part.body, part.dead, strict=True):
        if isinstance(entry, _Part):
            out = root.get_submodule(entry.call.name)(*(values[name] for name in entry.reads), part=entry, root=root)
            results: Sequence[Any] = (out,) if len(entry.writes) == 1 else out
        else:
            results = entry.run(root, values)
        values.update(zip(entry.writes, results, strict=True))
        for name in dead:
            values.pop(name, None)
