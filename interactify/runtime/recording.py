"""Making a tape: watch one forward pass and keep the calls that depend on the variables.

Whatever has met a tensor that depends on the variables depends on them too; everything else has been computed by the
time the pass is over, and is a constant of the tape. That is exact as long as every call is seen. What isn't seen
(scripted modules, autograd functions of the network's own) shows: it returns tensors that need a gradient and come
from nowhere. Then there is no tape, and `Unrecordable` says why.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from interactify.inspection.activation import ancestors_of
from interactify.runtime.tape import Function, Mode, Ref, Step, Tape, refs_in, tensors_in, with_refs

# Functions whose result's shape hangs on values.
_SHAPED_BY_VALUES = {
    *("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount", "repeat_interleave"),
    *("_unique2", "where"),
}
# What tells of a tensor nothing that hangs on its values.
_TELLING = {
    *("size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size", "data_ptr"),
    *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference", "is_pinned", "is_shared"),
    *("get_device", "type", "untyped_storage", "register_hook", "retain_grad", "__len__", "__repr__", "__hash__"),
    *("__format__", "dim_order", "has_names", "is_conj", "is_neg", "is_same_size", "is_set_to", "result_type"),
    *("can_cast", "is_tensor", "is_storage", "__get__", "_is_view", "is_coalesced", "broadcast_shapes", "nbytes"),
}
_GIVES_UP = {"backward", "_backward", "numpy", "__array__", "tolist", "__cuda_array_interface__", "__dlpack__"}
_PATIENCE = 6  # passes, before a network that keeps writing over what it shares is left alone


class Unrecordable(Exception):
    """A signal: this pass can't be put on a tape, and why. Never reaches a user."""


class _Again(Exception):
    """A signal: record once more, knowing what was learnt."""


@dataclass
class InPlaceWrites:
    """What earlier passes over the same network have shown of its writing in place.

    Attributes:
        copied: numbers of the calls that write over constants, which are copied first.
        forced: numbers of the calls whose results are written over later, and whose views too: they are made anew.
        keeps: False where constants are written over after they were used; they are all copied then.
    """

    copied: set[int] = field(default_factory=set)
    forced: set[int] = field(default_factory=set)
    keeps: bool = True


@dataclass(frozen=True, eq=False)
class Recorded:
    """A tape, and the logits (1, K, h, w) of the pass it was made of, with their gradient graph.

    Where the network `recomputes` layers in its backward pass, that graph would run them without the variables.
    """

    tape: Tape
    logits: Tensor
    recomputes: bool


def record(
    forward: Callable[[Tensor], Tensor], values: Tensor, learnt: InPlaceWrites, kept: Callable[[Tensor], bool]
) -> Recorded:
    """Run `forward` at `values`, and put what depends on them on a tape.

    Args:
        forward: from values to logits (1, K, h, w), differentiable.
        values: where; not changed. Where it needs a gradient, the logits' graph leads to it.
        learnt: what is known of the network's writing in place; added to.
        kept: whether a tensor is the network's own and must not be written over: its weights.

    Raises:
        Unrecordable: where not every call can be seen. What `forward` raises passes through.
    """
    for _ in range(_PATIENCE):
        start = values if values.requires_grad else values.detach().clone().requires_grad_(True)
        recorder = _Recorder(start, learnt, kept)
        try:
            with torch.enable_grad(), recorder:
                logits = forward(start)
        except _Again:
            continue
        if any(isinstance(node, BackwardCFunction) for node in ancestors_of(logits)):
            raise Unrecordable("it has an autograd function of its own")
        tape = recorder.tape(logits)
        if tape is not None:
            return Recorded(tape.pruned(), logits, recorder.recomputes)
    raise Unrecordable("it keeps writing over tensors that it shares")


class _Recorder(TorchFunctionMode):
    """Runs a pass unchanged and keeps the calls that depend on `start`."""

    def __init__(self, start: Tensor, learnt: InPlaceWrites, kept: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self._start, self._learnt, self._kept = start, learnt, kept
        self._device = start.device.type
        self._mode = Mode.now(self._device)._replace(gradients=True)
        self._steps: list[Step] = []
        self._calls = 0
        self._slots: dict[int, tuple[weakref.ref[Tensor], int, bool]] = {}  # by id: the tensor, its slot, its gradient
        self._constants: dict[int, Tensor] = {}
        self._constant_slots: dict[int, int] = {}
        self._versions: dict[int, tuple[Tensor, int]] = {}
        self._storages: dict[int, int] = {}
        self._sharing: dict[int, list[weakref.ref[Tensor]]] = {}  # by storage: tensors that depend on the variables
        self._makers: dict[int, int] = {}  # by storage: the number of the call that made what is constant
        self._overwritten: dict[int, Any] = {}  # storages of constants that were copied and written over; held
        self._made: dict[int, int] = {}  # by slot: bytes
        self._size = 0
        self.recomputes = False
        self._new_slot(start)

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        number, self._calls = self._calls, self._calls + 1
        name = getattr(func, "__name__", "")
        tensors = list(tensors_in((args, kwargs)))
        depends = number in self._learnt.forced
        for tensor in tensors:  # all of them: each is looked at
            depends = self._known(tensor) or depends
        if not depends:
            out = func(*args, **kwargs)
            given = {_storage(tensor) for tensor in tensors}
            for pointer in {_storage(tensor) for tensor in tensors_in(out)} - given:  # a view has made nothing
                self._makers[pointer] = number
            return out
        if name == "__get__":
            out = func(*args, **kwargs)
            if not isinstance(out, Tensor):
                return out  # a shape, a dtype: the same each time
            self._keep(func, self._template(args, kwargs), out, (), name)
            return out
        if name in _TELLING and not (name == "type" and len(args) > 1):
            return func(*args, **kwargs)
        if name in _GIVES_UP:
            raise Unrecordable(f"it leaves torch in the middle of a pass ({name})")
        if number in self._learnt.copied:
            self._copy_constants(func, args, kwargs)
        self.recomputes = self.recomputes or _recomputes()
        before = [(tensor, _version(tensor)) for tensor in tensors]
        template = self._template(args, kwargs)
        out = func(*args, **kwargs)
        written = [tensor for tensor, version in before if _version(tensor) != version]
        for tensor in written:
            self._note_write(tensor, number)
        self._keep(func, template, out, tuple(self._slot(tensor) for tensor in written), name)
        return out

    def _known(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the variables. Raises where that can't be said."""
        reference, _, gradient = self._slots.get(id(tensor), (None, 0, False))
        if reference is not None and reference() is tensor:  # an id may be used again after a tensor's death
            if tensor.requires_grad != gradient:
                raise Unrecordable("it has an autograd function of its own")
            return True
        if self._overwritten and (pointer := _storage(tensor)) in self._overwritten:
            self._force(pointer)  # a view, made before the write, of what was written over
        if tensor.requires_grad:
            raise Unrecordable("it has modules that can't be watched (scripted, or written in another language)")
        return False

    def _note_write(self, tensor: Tensor, number: int) -> None:
        """A call that depends on the variables wrote over `tensor`: that must be a tensor of this run's own."""
        if self._known_slot(tensor) is not None:
            return
        if self._kept(tensor):
            raise Unrecordable("it writes over its own weights")
        if number in self._learnt.copied:
            self._force(_storage(tensor))
        self._learnt.copied.add(number)
        raise _Again

    def _force(self, pointer: int) -> None:
        if pointer not in self._makers:
            raise Unrecordable("it writes over tensors that it shares")
        self._learnt.forced.add(self._makers[pointer])
        raise _Again

    def _copy_constants(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a call that writes over constants: give each a slot that a run fills with a copy of it.

        Which of several is written over is not asked: a copy too many does no harm.
        """
        for tensor in tensors_in((args, kwargs)):
            if self._known_slot(tensor) is None and not self._kept(tensor):
                source = self._new_constant(tensor.detach().clone())
                slot = self._new_slot(tensor)
                self._steps.append(Step(torch.clone, (Ref(source),), {}, (slot,), (), self._mode))
                self._overwritten[_storage(tensor)] = tensor.untyped_storage()

    def _template(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = {name: with_refs(value, self._ref) for name, value in kwargs.items()}
        return tuple(with_refs(value, self._ref) for value in args), named

    def _keep(self, func: Function, template: tuple[Any, Any], out: Any, writes: tuple[int, ...], name: str) -> None:
        args, kwargs = template
        made = list(tensors_in(out))
        if not made and out is not None and not isinstance(out, (bool, int, float, complex, str, torch.dtype)):
            raise Unrecordable(f"it leaves torch in the middle of a pass ({name})")
        outs = tuple(self._slot(tensor) for tensor in made)
        expected = () if made or out is None else (out,)
        shapes = tuple(tensor.shape for tensor in made) if _shaped_by_values(name, args) else None
        self._steps.append(Step(func, args, kwargs, outs, writes, Mode.now(self._device), expected, shapes))
        for slot in writes:  # what shares memory with it may need a gradient from now on
            for tensor in [r() for r in self._sharing.get(self._storages[slot], ())]:
                if tensor is not None and (known := self._known_slot(tensor)) is not None:
                    self._slots[id(tensor)] = (self._slots[id(tensor)][0], known, tensor.requires_grad)

    def _ref(self, tensor: Tensor) -> Ref:
        slot = self._known_slot(tensor)
        return Ref(self._new_constant(tensor) if slot is None else slot)

    def _slot(self, tensor: Tensor) -> int:
        slot = self._known_slot(tensor)
        return self._new_slot(tensor) if slot is None else self._new_slot(tensor, slot)

    def _known_slot(self, tensor: Tensor) -> int | None:
        reference, slot, _ = self._slots.get(id(tensor), (None, 0, False))
        return slot if reference is not None and reference() is tensor else None

    def _new_slot(self, tensor: Tensor, slot: int | None = None) -> int:
        if slot is None:
            slot, self._size = self._size, self._size + 1
        reference, pointer = weakref.ref(tensor), _storage(tensor)
        self._made[slot] = tensor.numel() * tensor.element_size()
        self._slots[id(tensor)] = (reference, slot, tensor.requires_grad)
        self._storages[slot] = pointer
        self._sharing.setdefault(pointer, []).append(reference)
        return slot

    def _new_constant(self, tensor: Tensor) -> int:
        known = self._constant_slots.get(id(tensor))
        if known is not None and self._versions[known][0] is tensor and self._versions[known][1] == _version(tensor):
            return known
        slot, self._size = self._size, self._size + 1
        keeps = self._learnt.keeps or self._kept(tensor)
        self._constants[slot] = tensor if keeps else tensor.detach().clone()
        self._constant_slots[id(tensor)] = slot
        self._versions[slot] = (tensor, _version(tensor))
        return slot

    def tape(self, logits: Tensor) -> Tape | None:
        """What was recorded; None where it has to be done again, since constants were written over after their use."""
        result = self._known_slot(logits)
        if result is None or not logits.requires_grad:
            raise Unrecordable("no gradient is seen to reach its output")
        changed = any(_version(tensor) != version for tensor, version in self._versions.values())
        if changed and self._learnt.keeps:
            self._learnt.keeps = False
            return None
        # A network's own autocast begins within the pass: what most steps run under is entered once.
        ((mode, _),) = Counter(step.mode for step in self._steps).most_common(1)
        return Tape(
            tuple(self._steps), self._constants, result, self._size, mode, self._device, self._storages,
            sum(self._made.values()),
        )  # fmt: skip


def _shaped_by_values(name: str, args: tuple[Any, ...]) -> bool:
    if name == "__getitem__":  # by numbers and slices it takes the same part each time
        return any(True for _ in refs_in(args[1:]))
    return name in _SHAPED_BY_VALUES and not (name == "where" and len(args) > 1)


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse and other layouts without one
        return -id(tensor)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _recomputes() -> bool:
    """Whether what is saved for the backward pass is replaced right now, as activation checkpointing does."""
    top: Any = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(False) is not None
