"""A tape: the torch functions of one forward pass that depend on the variables, in order, ready to be run again.

A tape is data. `recording.py` makes one by watching the network run, `lowering.py` rewrites it for inference, and here
it is run: each step calls the very function the network called, with the same constants and, for what depends on the
variables, with what this run has made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

Function = Callable[..., Any]


class Diverged(Exception):
    """A signal: the network would take another way for these values than the one on the tape. Never reaches a user."""


class Ref(NamedTuple):
    """Stands for a tensor in the arguments of a step: the index of its slot."""

    slot: int


class Nested(NamedTuple):
    """A list, tuple or dict in the arguments of a step that has a `Ref` in it."""

    items: tuple[Any, ...]
    rebuild: Callable[[list[Any]], Any]


class Mode(NamedTuple):
    """What a step is run under: whether gradients are kept, and the dtype of autocast, None where that is off."""

    gradients: bool
    autocast: torch.dtype | None

    @classmethod
    def now(cls, device: str) -> Mode:
        """The mode that holds in this thread, for this type of device."""
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return cls(torch.is_grad_enabled(), autocast)

    def enter(self, stack: ExitStack, device: str) -> None:
        """Make it hold until `stack` is closed."""
        stack.enter_context(torch.set_grad_enabled(self.gradients))
        stack.enter_context(torch.autocast(device, self.autocast, enabled=self.autocast is not None))


@dataclass(frozen=True)
class Step:
    """One call of a torch function.

    Attributes:
        function: what is called.
        args, kwargs: its arguments, with a `Ref` for each tensor that has a slot.
        outs: the slots of the tensors it returns, in their order.
        writes: slots of the arguments it writes over.
        mode: what it is run under.
        expected: what it returned, where that is no tensor (`item()`, `bool()`): the way the network took hangs on it.
        shapes: the shapes it returned, where they hang on values (`nonzero`); None elsewhere.
    """

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outs: tuple[int, ...]
    writes: tuple[int, ...]
    mode: Mode
    expected: tuple[Any, ...] = ()
    shapes: tuple[torch.Size, ...] | None = None

    @property
    def reads(self) -> list[int]:
        """The slots of its arguments; one that is used twice, twice."""
        return [ref.slot for ref in refs_in((self.args, self.kwargs))]


@dataclass(frozen=True, eq=False, repr=False)
class Tape:
    """Steps over numbered slots. Slot 0 holds the variables' values, the next ones constants, the rest what is made.

    Attributes:
        steps: in the order they are run.
        constants: what does not depend on the variables, by slot.
        result: the slot of the logits.
        size: how many slots there are.
        mode: what most steps run under.
        device: the type of the device.
        storages: for each slot, a number that slots over the same memory share.
        bytes_made: bytes of all tensors that a run makes.
    """

    steps: tuple[Step, ...]
    constants: Mapping[int, Tensor]
    result: int
    size: int
    mode: Mode
    device: str
    storages: Mapping[int, int] = field(default_factory=dict)
    bytes_made: int = 0

    def __repr__(self) -> str:
        # torch.vmap asks for it at each call, and a constant on a GPU takes milliseconds to print.
        return f"Tape({len(self.steps)} steps, {len(self.constants)} constants)"

    def __call__(self, values: Tensor, constants: Mapping[int, Tensor] | None = None) -> Tensor:
        """The logits (1, K, h, w) for values, differentiable in them; with other constants, if given.

        Raises:
            Diverged: where the network would take another way for these values.
        """
        slots: list[Any] = [None] * self.size
        slots[0] = values
        for slot, constant in (constants or self.constants).items():
            slots[slot] = constant
        with ExitStack() as stack:
            self.mode.enter(stack, self.device)
            for step, dead in zip(self.steps, self._dead(), strict=True):
                self._run(step, slots)
                for slot in dead:
                    slots[slot] = None
        logits: Tensor = slots[self.result]
        return logits

    def _run(self, step: Step, slots: list[Any]) -> None:
        args = [_filled(value, slots) for value in step.args]
        kwargs = {name: _filled(value, slots) for name, value in step.kwargs.items()}
        if step.mode == self.mode:
            out = step.function(*args, **kwargs)
        else:
            with ExitStack() as stack:
                step.mode.enter(stack, self.device)
                out = step.function(*args, **kwargs)
        if step.expected:
            if not _same(out, step.expected[0]):
                raise Diverged
        elif len(step.outs) == 1 and isinstance(out, Tensor):
            if step.shapes is not None and out.shape != step.shapes[0]:
                raise Diverged
            slots[step.outs[0]] = out
        else:
            made = list(tensors_in(out))
            if step.shapes is not None and tuple(tensor.shape for tensor in made) != step.shapes:
                raise Diverged
            for slot, tensor in zip(step.outs, made, strict=True):
                slots[slot] = tensor

    def _dead(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the slots that are not used after it, so that no tensor is held longer than it is needed."""
        known: tuple[tuple[int, ...], ...] | None = self.__dict__.get("_dead_slots")
        if known is None:
            last: dict[int, int] = {}
            for index, step in enumerate(self.steps):
                last.update((slot, index) for slot in (*step.reads, *step.outs))
            dead: list[list[int]] = [[] for _ in self.steps]
            for slot, index in last.items():
                if slot != self.result:
                    dead[index].append(slot)
            known = tuple(tuple(slots) for slots in dead)
            object.__setattr__(self, "_dead_slots", known)
        return known

    def pruned(self) -> Tape:
        """Without the steps, and the constants, that the logits don't need: side outputs, statistics, shapes."""
        needed = {self.result}
        groups = {self.storages.get(self.result)}
        kept: list[Step] = []
        for step in reversed(self.steps):
            overwrites = any(self.storages.get(slot, -1 - slot) in groups for slot in step.writes)
            if needed.isdisjoint(step.outs) and not overwrites and not step.expected:
                continue
            kept.append(step)
            for slot in step.reads:
                needed.add(slot)
                groups.add(self.storages.get(slot, -1 - slot))
        constants = {slot: tensor for slot, tensor in self.constants.items() if slot in needed}
        return replace(self, steps=tuple(reversed(kept)), constants=constants)

    def uses(self) -> dict[int, int]:
        """How often each slot is read, or is the result."""
        counts = {self.result: 1}
        for step in self.steps:
            for slot in step.reads:
                counts[slot] = counts.get(slot, 0) + 1
        return counts

    def held(self, shared: set[int]) -> int:
        """Bytes of the constants, those over `shared` memory (pointers: the network's own weights) not counted."""
        sizes = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in self.constants.values()
        }
        return sum(size for pointer, size in sizes.items() if pointer not in shared)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)


def refs_in(value: Any) -> Iterator[Ref]:
    """The refs in the arguments of a step, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Nested):
        for item in value.items:
            yield from refs_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from refs_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from refs_in(item)


def with_refs(value: Any, ref: Callable[[Tensor], Ref]) -> Any:
    """Arguments with each tensor replaced by its ref, in containers of their own."""
    if isinstance(value, Tensor):
        return ref(value)
    if isinstance(value, Mapping):
        keys = list(value)
        items = tuple(with_refs(item, ref) for item in value.values())
        return _nested(items, lambda made: dict(zip(keys, made, strict=True)))
    if isinstance(value, (list, tuple)):
        kind: Any = type(value)
        items = tuple(with_refs(item, ref) for item in value)
        named = hasattr(value, "_fields")
        return _nested(items, (lambda made: kind(*made)) if named else kind) if kind is not torch.Size else value
    return value


def _nested(items: tuple[Any, ...], rebuild: Callable[[list[Any]], Any]) -> Any:
    if any(isinstance(item, (Ref, Nested)) for item in items):
        return Nested(items, rebuild)
    return rebuild(list(items))


def _filled(value: Any, slots: Sequence[Any]) -> Any:
    if type(value) is Ref:
        return slots[value.slot]
    if type(value) is Nested:
        return value.rebuild([_filled(item, slots) for item in value.items])
    return value


def _same(found: Any, expected: Any) -> bool:
    return type(found) is type(expected) and bool(found == expected or (found != found and expected != expected))
