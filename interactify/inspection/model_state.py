"""What decides a model's output, recorded when it was wrapped: a change is noticed before it gives a wrong mask.

A wrapped network runs on a replica (`replica.py`), which shares the model's parameters and has copies of all else. So
a model that changes later would be followed in part: new weights with old statistics, or not at all. Counters of
in-place writes do not tell, since fused optimisers, `.data`, and NumPy views leave them alone. The values themselves
are compared instead: all of them where a photo is opened, a sample of each tensor at a click, which takes a fraction of
a millisecond.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from interactify.inspection.click_input import ClickMaps

SAMPLES: Final = 16  # of each tensor, compared at every click

# What of a module changes its output, or its gradient. Other attributes count where they are tensors or plain values.
_CONTAINERS: Final = (
    "_parameters",
    "_buffers",
    "_modules",
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
)
# Set by evaluating, compiling and running a model; none changes what its replica computes.
_IGNORED: Final = frozenset(
    {*_CONTAINERS, "training", "_compiled_call_impl", "_is_full_backward_hook", "_non_persistent_buffers_set"}
)
_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_CALLABLE: Final = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)

Facts = dict[tuple[str, str], Any]
"""What was found, by a module's name and an attribute's; "" is the module itself."""


Contents = dict[Any, Any] | list[Any] | set[Any]


Sums = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]


class _Same:
    """Compares an object by identity, and keeps it, so that no other one can take its address."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, eq=False)
class _Quick:
    """What a click compares: the contents of modules by identity, the places of tensors, and a sample of each.

    A new session compares `sums` too, which all values enter.
    """

    kinds: tuple[tuple[nn.Module, type], ...]
    contents: tuple[tuple[Contents, tuple[Any, ...]], ...]
    empty: tuple[Contents, ...]
    tensors: tuple[Tensor, ...]
    places: tuple[tuple[int, int], ...]
    views: tuple[Tensor, ...]
    samples: tuple[Tensor, ...]
    sums: Sums


class ModelState:
    """A model's weights, buffers, modules, hooks and plain attributes, as they were when this was made.

    Args:
        model: the user's network; it is read, and never changed.
        written: what its own forward pass changes, and so is no change of the model (`written_by`).

    Attributes:
        written: the same; empty where two passes may run at one time.

    >>> conv = nn.Conv2d(3, 1, 1)
    >>> state = ModelState(conv)
    >>> state.change(), state.change(every_value=True)
    ('', '')
    >>> _ = conv.weight.data.mul_(2)  # its counter of writes stays as it is
    >>> state.change()
    "the values of 'weight'"
    """

    def __init__(self, model: nn.Module, written: Iterable[tuple[str, str]] = ()) -> None:
        self._model = model
        self.written = frozenset(written)
        self._facts = self._watched(facts_of(model))
        self._quick = self._quickly()

    def change(self, every_value: bool = False) -> str:
        """What is different from the state recorded, in words; "" where nothing is.

        Args:
            every_value: compare all values, also those that were written without a trace outside of the sample. This
                reads all weights once.
        """
        quick = self._quick
        same = self._is_same(quick)
        if same and not (every_value and sums_of(quick.tensors) != quick.sums):
            return ""
        now = self._watched(facts_of(self._model))
        different = [key for key in {**self._facts, **now} if self._facts.get(key) != now.get(key)]
        if not different:
            if not same:  # other objects with the same values, such as an attribute that each pass sets anew
                self._quick = self._quickly()
            return ""
        return _in_words(different[0], len(different) - 1)

    def _watched(self, facts: Facts) -> Facts:
        return {key: value for key, value in facts.items() if key not in self.written}

    def _quickly(self) -> _Quick:
        contents: list[tuple[Contents, tuple[Any, ...]]] = []
        tensors: list[Tensor] = []
        kinds = tuple((module, type(module)) for module in nn.Module.modules(self._model))
        for name, module in nn.Module.named_modules(self._model):
            contents += ((each, tuple(_values(each))) for each in _containers(vars(module)))
            found = _tensors(module)
            tensors += [tensor for key, tensor in found if (name, key) not in self.written and _has_memory(tensor)]
        views = tuple(view for tensor in tensors if (view := _view(tensor)) is not None)
        places = tuple((tensor.data_ptr(), _version(tensor)) for tensor in tensors)
        filled = tuple(each for each in contents if each[1])
        empty = tuple(container for container, values in contents if not values)
        of_all = tuple(tensors)
        return _Quick(kinds, filled, empty, of_all, places, views, _samples(views), sums_of(of_all))

    @staticmethod
    def _is_same(quick: _Quick) -> bool:
        if any(quick.empty) or any(type(module) is not kind for module, kind in quick.kinds):
            return False
        for container, values in quick.contents:
            if len(container) != len(values) or not all(map(operator.is_, _values(container), values)):
                return False
        if any(
            tensor.data_ptr() != pointer or _version(tensor) != version
            for tensor, (pointer, version) in zip(quick.tensors, quick.places, strict=True)
        ):
            return False
        return all(map(torch.equal, _samples(quick.views), quick.samples))


def facts_of(model: nn.Module) -> Facts:
    """Everything of a model that decides its output, as values to compare."""
    facts: Facts = {}
    for name, module in nn.Module.named_modules(model):
        facts[name, ""] = _Same(type(module))
        for key in ("_modules", *_CONTAINERS[3:]):
            facts[name, key] = tuple((part, _Same(value)) for part, value in getattr(module, key).items())
        for key, tensor in _tensors(module):
            facts[name, key] = _fact_of_tensor(tensor, shared=key in module._parameters)
        for key, value in vars(module).items():
            if key not in _IGNORED and not isinstance(value, Tensor) and (fact := _fact_of_value(value)) is not None:
                facts[name, key] = fact
    return facts


def written_by(before: Facts, after: Facts) -> frozenset[tuple[str, str]]:
    """What changed from `before` to `after`: attributes and buffers that a forward pass writes."""
    return frozenset(key for key in {**before, **after} if before.get(key) != after.get(key))


def _in_words(key: tuple[str, str], more: int) -> str:
    module, attribute = key
    name = ".".join(part for part in key if part)
    if attribute in ("", "_modules"):
        text = f"the modules of {module!r}" if module else "its modules"
    elif attribute in _CONTAINERS:
        text = f"the hooks of {module!r}" if module else "its hooks"
    else:
        text = f"the values of {name!r}"
    return text + (f" and {more} more" if more else "")


def _containers(value: Any, outer: tuple[int, ...] = ()) -> Iterator[Contents]:
    """A dict, list or set, and those inside it, which may change in place."""
    if id(value) in outer:  # it contains itself
        return
    if isinstance(value, (dict, list, set)):
        yield value
    if isinstance(value, (dict, list, tuple)):
        for each in _values(value):
            yield from _containers(each, (*outer, id(value)))


def _values(container: Contents | tuple[Any, ...]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and plain attributes that are tensors, by name."""
    for attributes in (module._parameters, module._buffers, vars(module)):
        yield from ((key, value) for key, value in attributes.items() if isinstance(value, Tensor))


def _fact_of_tensor(tensor: Tensor, shared: bool) -> tuple[Any, ...]:
    """Its type, shape and values; where the replica shares its memory, also where that lies."""
    place = tensor.data_ptr() if shared and _has_memory(tensor) else 0
    return tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride(), place, digest(tensor)


def _fact_of_value(value: object) -> Any:
    """A plain value, or a container of plain values, as something to compare; None where it is anything else."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value) if isinstance(value, float) else value
    if isinstance(value, _CALLABLE):
        return _Same(value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes() if value.dtype != object else None
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), tuple(map(_fact_of_value, sorted(value, key=repr) if isinstance(value, set) else value))
    if isinstance(value, Mapping) and not isinstance(value, nn.Module):
        return type(value), tuple((repr(key), _fact_of_value(each)) for key, each in value.items())
    if isinstance(value, ClickMaps):
        return value
    return None


def digest(tensor: Tensor) -> tuple[int, ...]:
    """A few numbers that change when any value does. On a CPU it reads 8 GB/s and more.

    A single changed bit always changes the exclusive or of all words; the sample notices changes that a whole tensor
    has in common, such as another sign, which the exclusive or of an even number of words leaves as it is.
    """
    if not _has_memory(tensor):  # quantised, sparse, or of a class of its own
        return (_version(tensor),)
    bits = _bits(tensor)
    if bits.device.type != "cpu":
        return int(bits.sum(dtype=torch.int64)), int(bits[:: max(1, len(bits) // SAMPLES)].sum(dtype=torch.int64))
    sample = bits[:: max(1, len(bits) // SAMPLES)].numpy().tobytes()
    return *_mixed(bits), hash(sample)


def _mixed(bits: Tensor) -> tuple[int, int]:
    """The exclusive or of all whole words of memory, and a hash of the few bytes after them."""
    memory = bits.numpy().view(np.uint8)
    whole = len(memory) // 8 * 8
    return int(np.bitwise_xor.reduce(memory[:whole].view(np.uint64))), hash(memory[whole:].tobytes())


def sums_of(tensors: Iterable[Tensor]) -> Sums:
    """A number for each tensor on a device, read at once; and one for each tensor of the CPU."""
    there: list[Tensor] = []
    here: list[tuple[int, ...]] = []
    for tensor in tensors:
        if tensor.device.type == "cpu":
            here.append(_mixed(_bits(tensor)))
        else:
            there.append(_bits(tensor).sum(dtype=torch.int64))
    return tuple(torch.stack([each.to(there[0].device) for each in there]).tolist()) if there else (), tuple(here)


def _bits(tensor: Tensor) -> Tensor:
    """The values of a tensor as integers, (n,); a dense tensor's own memory, in whatever order it lies."""
    with torch.no_grad():
        plain = tensor.detach()
        plain = torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain
        flat = plain.as_strided((plain.numel(),), (1,)) if _is_dense(plain) else plain.contiguous().reshape(-1)
        return flat.view(_INTEGERS[plain.element_size()])


def _view(tensor: Tensor) -> Tensor | None:
    """A sample of a tensor, (n,), which aliases its memory; None where it would not."""
    if tensor.is_complex() or not tensor.numel() or not _is_dense(tensor):
        return None
    return _bits(tensor)[:: max(1, tensor.numel() // SAMPLES)]


def _samples(views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The sampled values now, one tensor for each device and type."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for view in views:
        groups.setdefault((view.device, view.dtype), []).append(view)
    return tuple(map(torch.cat, groups.values()))


def _is_dense(tensor: Tensor) -> bool:
    """Whether its values fill a block of memory without gaps, in whatever order."""
    size = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1 and stride != size:
            return False
        size *= length
    return True


def _has_memory(tensor: Tensor) -> bool:
    return (
        (type(tensor) is Tensor or isinstance(tensor, nn.Parameter))
        and tensor.layout == torch.strided
        and not tensor.is_quantized
        and tensor.device.type != "meta"
    )


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
