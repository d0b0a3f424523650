"""TorchScript (`torch.jit.script`, `torch.jit.trace`) as ordinary layers, read from its graph.

Nothing that runs inside TorchScript's own interpreter can be observed: not the convolution that reads the image, not
the sigmoid at the end, not what a click's variables change. So the graph, with all functions and methods inlined, is
read once, and its operators are called from Python. They are the same operators, on the same weights.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from interactify.inspection.layered import Flat, ModuleCall, Operation, Values, weight

_Place = tuple[tuple[str, str], ...]  # the modules around an operation, each a step of a name and a class


class Unreadable(Exception):
    """Internal signal: the graph has an operation that is not known here. Never reaches a user."""


def flat_graph(model: torch.jit.ScriptModule) -> Flat:
    """What a scripted module's forward runs in evaluation mode.

    Raises:
        Unreadable: it calls Python, writes to its own attributes, or makes objects.
    """
    try:
        graph, arguments = model.inlined_graph, model._c._get_method("forward").schema.arguments[1:]
    except (AttributeError, RuntimeError) as cause:
        raise Unreadable(str(cause)) from cause
    root, *inputs = graph.inputs()
    reader = _Reader(model, root.debugName())
    operations = _with_calls(list(reader.operations(graph)), reader.places, set(reader.named))
    outputs = [value.debugName() for value in graph.outputs()]

    def result(values: Values) -> Any:
        found = tuple(reader.value(name, values) for name in outputs)
        return found[0] if len(found) == 1 else found

    named = zip(arguments, inputs, strict=True)
    return Flat(
        str(getattr(model, "original_name", "") or type(model).__name__),
        tuple((argument.name, value.debugName(), argument.default_value) for argument, value in named),
        operations,
        frozenset(name for name in outputs if name not in reader.constants),
        result,
    )


class _Reader:
    """Turns nodes of a graph into operations. What is known without an image is computed once: `constants`."""

    def __init__(self, model: torch.jit.ScriptModule, root: str) -> None:
        self.named = dict(nn.Module.named_modules(model))
        self.constants: dict[str, Any] = {}
        self.modules: dict[str, str] = {root: ""}  # values that are modules: their names
        self.tensors: dict[str, str] = {}  # values that are weights: their whole names
        self.places: dict[Operation, tuple[_Place, str]] = {}  # where an operation was called, and a weight it reads

    def value(self, name: str, values: Values) -> Any:
        """A value by its name: a constant, or one computed in this pass."""
        return values[name] if name in values else self.constants[name]

    def operations(self, block: Any) -> Iterator[Operation]:
        """The operations of a graph or block, in order."""
        for node in block.nodes():
            kind, outputs = node.kind(), [value.debugName() for value in node.outputs()]
            if kind == "prim::Constant":
                self.constants[outputs[0]] = node.output().toIValue()
            elif kind == "prim::GetAttr":
                self._attribute(node, outputs[0])
            elif kind in _SKIPPED:
                continue
            else:
                yield self._operation(node, outputs)

    def _attribute(self, node: Any, output: str) -> None:
        owner, name = self.modules.get(node.input().debugName()), node.s("name")
        if owner is None:
            raise Unreadable(f"it reads {name} of an object")
        path = f"{owner}.{name}" if owner else name
        value = getattr(self.named[owner], name)
        if isinstance(value, nn.Module):
            self.modules[output] = path
        elif isinstance(value, Tensor):
            self.tensors[output] = path
        else:
            self.constants[output] = False if name == "training" else value

    def _operation(self, node: Any, outputs: list[str]) -> Operation:
        compute = self._computed(node)
        reads = tuple(name for name in dict.fromkeys(_read_by(node)) if name not in self.constants)
        if not self.modules.keys().isdisjoint(reads):
            raise Unreadable("it passes modules on")
        weights = {name: self.tensors[name] for name in reads if name in self.tensors}

        def run(root: nn.Module, values: Values) -> Sequence[Any]:
            if weights:
                own = {name: weight(root, path) for name, path in weights.items()}
                values = {**values, **own}
            return compute(root, values)

        dynamic = tuple(name for name in reads if name not in weights)
        operation = Operation(dynamic, tuple(outputs), run)
        called = re.findall(r"([^.()]+)\(([^()]*)\)", node.getModuleHierarchy())
        place = tuple((name, kind) for name, kind in called if name not in ("SELF", "UNKNOWN_INSTANCE"))
        self.places[operation] = place, next(iter(weights.values()), "")
        return operation

    def _computed(self, node: Any) -> Callable[[nn.Module, Values], Sequence[Any]]:
        """What computes a node's outputs."""
        kind, names = node.kind(), [value.debugName() for value in node.inputs()]
        if kind == "prim::If":
            return self._choice(node, names[0])
        if kind == "prim::Loop":
            return self._loop(node, names)
        many = kind in _UNPACKED
        function = _UNPACKED.get(kind) or _BUILT.get(kind) or self._function(node)

        def compute(root: nn.Module, values: Values) -> Sequence[Any]:
            out = function([self.value(name, values) for name in names])
            if many:
                return tuple(out)
            return (out,) if node.outputsSize() == 1 else () if node.outputsSize() == 0 else tuple(out)

        return compute

    def _function(self, node: Any) -> Callable[[list[Any]], Any]:
        """The function of a node's inputs: Python's own for lists and numbers, the operator for tensors."""
        kind = node.kind()
        if kind in _OF_ANYTHING:
            plain = _OF_ANYTHING[kind]
            return lambda given: plain(*given)
        of_numbers, called, arguments = _OF_NUMBERS.get(kind), None, []
        if kind.startswith("aten::") and node.schema() != "(no schema)":
            schema = torch._C.parse_schema(node.schema())
            packet = getattr(torch.ops.aten, schema.name.partition("::")[2], None)
            called, arguments = getattr(packet, schema.overload_name or "default", None), schema.arguments
        if called is None and of_numbers is None:
            raise Unreadable(f"it has {kind}")

        def function(given: list[Any]) -> Any:
            if called is None or (of_numbers is not None and not any(isinstance(value, Tensor) for value in given)):
                assert of_numbers is not None
                return of_numbers(*given)
            pairs = [(a, _typed(value, a)) for value, a in zip(given, arguments, strict=True)]
            named = {a.name: value for a, value in pairs if a.kwarg_only}
            return called(*(value for a, value in pairs if not a.kwarg_only), **named)

        return function

    def _block(self, block: Any) -> tuple[list[str], list[Operation], list[str]]:
        names = [[value.debugName() for value in values] for values in (block.inputs(), block.outputs())]
        return names[0], list(self.operations(block)), names[1]

    def _results(self, names: list[str], root: nn.Module, values: Values) -> list[Any]:
        return [
            weight(root, self.tensors[name]) if name in self.tensors else self.value(name, values) for name in names
        ]

    def _choice(self, node: Any, condition: str) -> Callable[[nn.Module, Values], Sequence[Any]]:
        blocks = [self._block(block) for block in node.blocks()]

        def compute(root: nn.Module, values: Values) -> Sequence[Any]:
            _, operations, outputs = blocks[0 if bool(self.value(condition, values)) else 1]
            own = dict(values)
            _run_all(operations, root, own)
            return self._results(outputs, root, own)

        return compute

    def _loop(self, node: Any, names: list[str]) -> Callable[[nn.Module, Values], Sequence[Any]]:
        ((inputs, operations, outputs),) = [self._block(block) for block in node.blocks()]
        most, condition, *carried = names

        def compute(root: nn.Module, values: Values) -> Sequence[Any]:
            state, goes_on = self._results(carried, root, values), bool(self.value(condition, values))
            limit, turn = int(self.value(most, values)), 0
            while goes_on and turn < limit:
                own = {**values, **dict(zip(inputs, [turn, *state], strict=True))}
                _run_all(operations, root, own)
                again, *state = self._results(outputs, root, own)
                goes_on, turn = bool(again), turn + 1
            return state

        return compute


def _run_all(operations: list[Operation], root: nn.Module, values: Values) -> None:
    for operation in operations:
        values.update(zip(operation.writes, operation.run(root, values), strict=True))


def _read_by(node: Any) -> Iterator[str]:
    """The values from outside that a node reads, those that its blocks read included; modules are no values."""
    if node.kind() == "prim::GetAttr":
        return
    yield from (value.debugName() for value in node.inputs())
    for block in node.blocks():
        inside = {value.debugName() for value in block.inputs()}
        for each in block.nodes():
            yield from (name for name in _read_by(each) if name not in inside)
            inside |= {value.debugName() for value in each.outputs()}
        yield from (value.debugName() for value in block.outputs() if value.debugName() not in inside)


def _with_calls(
    operations: list[Operation], places: dict[Operation, tuple[_Place, str]], names: set[str]
) -> tuple[Operation, ...]:
    """The operations with the modules that called them.

    TorchScript remembers only the last step of each module's name: "0" for `blocks[0]`. What reads a weight has that
    weight's whole name; what reads none is in the same modules as its neighbours, as far as their steps agree.
    """
    found = [_found(*places[operation]) for operation in operations]
    for index, operation in enumerate(operations):
        place, read = places[operation]
        if read:
            continue
        best: list[ModuleCall] = []
        for step in (-1, 1):
            near = index + step
            while 0 <= near < len(operations) and not places[operations[near]][1]:
                near += step
            if 0 <= near < len(operations):
                other = places[operations[near]][0]
                same = next((k for k, (a, b) in enumerate(zip(place, other, strict=False)) if a != b), None)
                common = min(len(place), len(other)) if same is None else same
                best = max(best, found[near][:common], key=len)
        for name, kind in place[len(best) :]:
            whole = f"{best[-1].name}.{name}" if best else name
            if whole not in names:
                break
            best = [*best, ModuleCall(whole, whole, kind)]
        found[index] = best
    return tuple(replace(each, calls=tuple(calls)) for each, calls in zip(operations, found, strict=True))


def _found(place: _Place, read: str) -> list[ModuleCall]:
    """The modules of a place by the name of a weight that is read there: its steps, from the last to the first."""
    steps = read.split(".")[:-1]
    calls: list[ModuleCall] = []
    end = len(steps)
    for name, kind in reversed(place):
        while end and steps[end - 1] != name:
            end -= 1
        if not end:
            break
        whole = ".".join(steps[:end])
        calls.append(ModuleCall(whole, whole, kind))
        end -= 1
    return calls[::-1]


# The numbers by which TorchScript stores types and memory formats.
_DTYPES: Final = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.qint8, torch.quint8, torch.qint32),
    torch.bfloat16,
)
_FORMATS: Final = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)


def _typed(value: Any, argument: Any) -> Any:
    """A number that stands for a type or a memory format, as that."""
    kind = str(argument.real_type)
    if isinstance(value, int) and not isinstance(value, bool):
        if "ScalarType" in kind:
            return _DTYPES[value]
        if "MemoryFormat" in kind:
            return _FORMATS[value]
        if "Layout" in kind:
            return torch.strided
    return value


def _raised(text: Any, *_: Any) -> Any:
    raise RuntimeError(str(text))


def _appended(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


_SKIPPED: Final = {"aten::warn", "prim::Print"}

# From a list of inputs to the one output.
_BUILT: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "prim::ListConstruct": list,
    "prim::TupleConstruct": tuple,
    "prim::DictConstruct": lambda items: dict(zip(items[::2], items[1::2], strict=True)),
    "prim::Uninitialized": lambda _: None,
}
# From a list of inputs to all outputs.
_UNPACKED: Final[dict[str, Callable[[list[Any]], Sequence[Any]]]] = {
    "prim::ListUnpack": lambda items: items[0],
    "prim::TupleUnpack": lambda items: items[0],
}
# What does the same to tensors as to everything else.
_OF_ANYTHING: Final[dict[str, Callable[..., Any]]] = {
    "prim::unchecked_cast": lambda value: value,
    "prim::unchecked_unwrap_optional": lambda value: value,
    "aten::_unwrap_optional": lambda value: value,
    "prim::data": lambda tensor: tensor.detach(),
    "prim::dtype": lambda tensor: _DTYPES.index(tensor.dtype),
    "prim::device": lambda tensor: tensor.device,
    "prim::is_cuda": lambda tensor: tensor.is_cuda,
    "prim::layout": lambda tensor: 0,
    "prim::requires_grad": lambda tensor: tensor.requires_grad,
    "prim::shape": lambda tensor: list(tensor.shape),
    "prim::NumToTensor": torch.tensor,
    "prim::RaiseException": _raised,
    "prim::TupleIndex": operator.getitem,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::append": _appended,
    "aten::insert": lambda items, at, item: items.insert(at, item),
    "aten::_set_item": lambda items, key, item: items.__setitem__(key, item),
    "aten::Int": int,
    "aten::Float": float,
    "aten::Bool": bool,
    "aten::str": str,
    "aten::format": lambda text, *values: str(text).format(*values),
    "aten::IntImplicit": int,
    "aten::FloatImplicit": float,
    "aten::ScalarImplicit": lambda tensor: tensor.item(),
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::numel": lambda tensor: tensor.numel(),
    "aten::is_floating_point": lambda tensor: tensor.is_floating_point(),
    "aten::size": lambda tensor, *side: tensor.size(*side) if side else list(tensor.size()),
}
# What TorchScript does to numbers, texts, lists and dicts; for tensors there is an operator.
_OF_NUMBERS: Final[dict[str, Callable[..., Any]]] = {
    "prim::min": min,
    "prim::max": max,
    "prim::abs": abs,
    "aten::__getitem__": operator.getitem,
    "aten::__contains__": operator.contains,
    "aten::slice": lambda items, start, end, step: items[start:end:step],
    "aten::__not__": operator.not_,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::extend": lambda items, more: items.extend(more),
    "aten::reverse": lambda items: items.reverse(),
    "aten::pop": lambda items, *at: items.pop(*at),
    "aten::list": list,
    "aten::keys": lambda items: list(items.keys()),
    "aten::values": lambda items: list(items.values()),
    "aten::items": lambda items: list(items.items()),
    "aten::len": len,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::add": operator.add,
    "aten::add_": operator.iadd,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::div": operator.truediv,
    "aten::floordiv": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::neg": operator.neg,
    "aten::pow": operator.pow,
    "aten::sqrt": math.sqrt,
    "aten::ceil": math.ceil,
    "aten::floor": math.floor,
}
