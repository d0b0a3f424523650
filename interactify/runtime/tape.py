"""A tape: the torch calls of one forward pass that depend on the variables, in order, ready to run again.

A tape is data. `recording.py` records it while the network runs, `lowering.py` rewrites it for inference, and this file
runs it: each step calls the same function that the network called, with the recorded constants and with the tensors
that earlier steps of this run returned.
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
    """Internal signal: for these values the network takes another branch than the tape. Never reaches a user."""


class Ref(NamedTuple):
    """Stands for a tensor in the arguments of a step: the index of its slot."""

    slot: int


class Nested(NamedTuple):
    """A list, tuple or dict in the arguments of a step that has a `Ref` in it."""

    items: tuple[Any, ...]
    rebuild: Callable[[list[Any]], Any]


class Mode(NamedTuple):
    """What a step runs under: whether gradients are recorded, and the dtype of autocast (None if it is off)."""

    gradients: bool
    autocast: torch.dtype | None

    @classmethod
    def now(cls, device: str) -> Mode:
        """The current mode of this thread, for this type of device."""
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return cls(torch.is_grad_enabled(), autocast)

    def enter(self, stack: ExitStack, device: str) -> None:
        """Switch to this mode until `stack` is closed."""
        stack.enter_context(torch.set_grad_enabled(self.gradients))
        stack.enter_context(torch.autocast(device, self.autocast, enabled=self.autocast is not None))


@dataclass(frozen=True)
class Step:
    """One call of a torch function.

    Attributes:
        function: the torch function.
        args, kwargs: its arguments, with a `Ref` for each tensor that has a slot.
        outs: the slots of the tensors it returns, in their order.
        writes: slots of the arguments it writes over.
        mode: what it runs under.
        expected: what it returned if that is no tensor (`item()`, `bool()`): the network's branches depend on it.
        shapes: the shapes it returned if they depend on values (`nonzero`); else None.
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
        """The slots of its arguments; a slot that is used twice is listed twice."""
        return [ref.slot for ref in refs_in((self.args, self.kwargs))]


@dataclass(frozen=True, eq=False, repr=False)
class Tape:
    """Steps over numbered slots: slot 0 is the variables' values, the others are constants and results of steps.

    Attributes:
        steps: in the order they run.
        constants: tensors that do not depend on the variables, by slot.
        result: the slot of the logits.
        size: how many slots there are.
        mode: the mode of most steps.
        device: the type of the device.
        storages: for each slot a number; slots over the same memory have the same one.
        bytes_made: bytes of all tensors that a run creates.
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
        # torch.vmap calls it each time, and printing a constant on a GPU takes milliseconds.
        return f"Tape({len(self.steps)} steps, {len(self.constants)} constants)"

    def __call__(self, values: Tensor, constants: Mapping[int, Tensor] | None = None) -> Tensor:
        """The logits (1, K, h, w) at values, differentiable in them; `constants` replace the tape's own.

        Raises:
            Diverged: for these values the network takes another branch.
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
            created = list(tensors_in(out))
            if step.shapes is not None and tuple(tensor.shape for tensor in created) != step.shapes:
                raise Diverged
            for slot, tensor in zip(step.outs, created, strict=True):
                slots[slot] = tensor

    def _dead(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the slots that no later step uses, so that each tensor is freed as early as possible."""
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
        """The tape without steps and constants that the logits don't need: side outputs, statistics, shapes."""
        needed = {self.result}
        groups = {self.storages.get(self.result)}
        needed_steps: list[Step] = []
        for step in reversed(self.steps):
            overwrites = any(self.storages.get(slot, -1 - slot) in groups for slot in step.writes)
            if needed.isdisjoint(step.outs) and not overwrites and not step.expected:
                continue
            needed_steps.append(step)
            for slot in step.reads:
                needed.add(slot)
                groups.add(self.storages.get(slot, -1 - slot))
        constants = {slot: tensor for slot, tensor in self.constants.items() if slot in needed}
        return replace(self, steps=tuple(reversed(needed_steps)), constants=constants)

    def uses(self) -> dict[int, int]:
        """How often each slot is read, or is the result."""
        counts = {self.result: 1}
        for step in self.steps:
            for slot in step.reads:
                counts[slot] = counts.get(slot, 0) + 1
        return counts

    def sizes(self) -> dict[int, int]:
        """The bytes of each constant's memory, by its address."""
        storages = [tensor.untyped_storage() for tensor in self.constants.values()]
        return {storage.data_ptr(): storage.nbytes() for storage in storages}


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
    """Arguments with each tensor replaced by its ref, in new containers."""
    if isinstance(value, Tensor):
        return ref(value)
    if isinstance(value, Mapping):
        keys = list(value)
        items = tuple(with_refs(item, ref) for item in value.values())
        return _nested(items, lambda filled: dict(zip(keys, filled, strict=True)))
    if isinstance(value, (list, tuple)):
        kind: Any = type(value)
        items = tuple(with_refs(item, ref) for item in value)
        named = hasattr(value, "_fields")
        return _nested(items, (lambda filled: kind(*filled)) if named else kind) if kind is not torch.Size else value
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
