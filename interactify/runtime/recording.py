"""Records a tape: intercepts the torch calls of one forward pass and keeps those that depend on the variables.

A call depends on the variables if one of its arguments does. All other tensors are computed by the end of the pass;
they are the tape's constants. This is exact as long as every call is intercepted. Calls that can't be intercepted
(scripted modules, a network's own autograd functions) are noticed: they return tensors that require a gradient, but
come from no recorded call. Then there is no tape, and `Unrecordable` gives the reason.
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
from interactify.inspection.operators import name_of, ordinary
from interactify.inspection.weak_map import WeakTensorMap
from interactify.runtime.tape import Function, Mode, Ref, Step, Tape, refs_in, tensors_in, with_refs

# Functions whose result's shape depends on values.
_SHAPED_BY_VALUES = {
    *("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount", "repeat_interleave"),
    *("_unique2", "where", "index"),
}
# What reads only facts that do not depend on a tensor's values.
_METADATA = {
    *("size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size", "data_ptr"),
    *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference", "is_pinned", "is_shared"),
    *("get_device", "type", "untyped_storage", "register_hook", "retain_grad", "__len__", "__repr__", "__hash__"),
    *("__format__", "dim_order", "has_names", "is_conj", "is_neg", "is_same_size", "is_set_to", "result_type"),
    *("can_cast", "is_tensor", "is_storage", "__get__", "_is_view", "is_coalesced", "broadcast_shapes", "nbytes"),
}
_LEAVES_TORCH = {"backward", "_backward", "numpy", "__array__", "tolist", "__cuda_array_interface__", "__dlpack__"}
_ATTEMPTS = 6  # passes, before a network that keeps writing over shared tensors is run as a whole


class Unrecordable(Exception):
    """Internal signal: why this pass can't be recorded. Never reaches a user."""


class _RecordAgain(Exception):
    """Internal signal: record once more, now that `InPlaceWrites` knows more."""


@dataclass
class InPlaceWrites:
    """What earlier passes have shown about how the network writes in place.

    Attributes:
        copied: numbers of the calls that write over constants; a run copies those constants first.
        forced: numbers of the calls whose results are written over later through a view; a run repeats these calls.
        by_reference: whether constants are held as they are; False if the network writes over them after their use,
            so that the tape needs copies of all of them.
    """

    copied: set[int] = field(default_factory=set)
    forced: set[int] = field(default_factory=set)
    by_reference: bool = True


@dataclass(frozen=True, eq=False)
class Recorded:
    """A tape, and the logits (1, K, h, w) of the recorded pass with their gradient graph.

    If the network `recomputes` layers in its backward pass, that graph would run them without the variables.
    """

    tape: Tape
    logits: Tensor
    recomputes: bool


def record(
    forward: Callable[[Tensor], Tensor], values: Tensor, writes: InPlaceWrites, is_weight: Callable[[Tensor], bool]
) -> Recorded:
    """Run `forward` at `values`, and record the calls that depend on them.

    Args:
        forward: from values to logits (1, K, h, w), differentiable.
        values: the variables' values; not changed. If they require a gradient, the logits' graph leads to them.
        writes: what is known about the network's writing in place; this pass adds to it.
        is_weight: whether a tensor is one of the network's weights, which no run may write over.

    Raises:
        Unrecordable: not every call can be intercepted. What `forward` raises passes through.
    """
    for _ in range(_ATTEMPTS):
        start = values if values.requires_grad else values.detach().clone().requires_grad_(True)
        recorder = _Recorder(start, writes, is_weight)
        try:
            with torch.enable_grad(), recorder:
                logits = forward(start)
        except _RecordAgain:
            continue
        if any(isinstance(node, BackwardCFunction) for node in ancestors_of(logits)):
            raise Unrecordable("it has an autograd function of its own")
        tape = recorder.tape(logits)
        if tape is not None:
            return Recorded(tape.pruned(), logits, recorder.recomputes)
    raise Unrecordable("it keeps writing over tensors that other layers read")


_GRAD_FN = vars(torch._C.TensorBase)["grad_fn"].__get__


class _Recorder(TorchFunctionMode):
    """Runs a pass unchanged and records the calls that depend on `start`."""

    def __init__(self, start: Tensor, writes: InPlaceWrites, is_weight: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self._start, self._writes, self._is_weight = start, writes, is_weight
        self._device = start.device.type
        self._mode = Mode.now(self._device)._replace(gradients=True)
        self._steps: list[Step] = []
        self._calls = 0
        self._slots = WeakTensorMap[tuple[int, bool]]()  # a tensor's slot, and whether it requires a gradient
        self._constants: dict[int, Tensor] = {}
        self._constant_slots: dict[int, int] = {}
        self._versions: dict[int, tuple[Tensor, int]] = {}
        self._storages: dict[int, int] = {}
        self._sharing: dict[int, list[weakref.ref[Tensor]]] = {}  # by storage: tensors that depend on the variables
        self._makers: dict[int, int] = {}  # by storage: the number of the call that created this constant
        # Storages of constants that were copied and written over; held so that no address is reused.
        self._overwritten: dict[int, Any] = {}
        self._bytes: dict[int, int] = {}  # by slot
        self._size = 0
        self.recomputes = False
        self._new_slot(start)

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func, args, kwargs = ordinary(func, args, kwargs or {})
        number, self._calls = self._calls, self._calls + 1
        name = name_of(func)
        if func == _GRAD_FN:  # checkpoint() of torch 2.5 reads it from the result of an autograd function of its own
            return func(*args, **kwargs)
        tensors = list(tensors_in((args, kwargs)))
        depends = number in self._writes.forced
        for tensor in tensors:  # all of them, since each is checked
            depends = self._known(tensor) or depends
        if not depends:
            out = func(*args, **kwargs)
            given = {_storage(tensor) for tensor in tensors}
            for pointer in {_storage(tensor) for tensor in tensors_in(out)} - given:  # a view creates no storage
                self._makers[pointer] = number
            return out
        if name == "__get__":
            out = func(*args, **kwargs)
            if not isinstance(out, Tensor):
                return out  # a shape or a dtype: the same in each run
            self._add_step(func, self._template(args, kwargs), out, (), name)
            return out
        if name in _METADATA and not (name == "type" and len(args) > 1):
            return func(*args, **kwargs)
        if name in _LEAVES_TORCH:
            raise Unrecordable(f"it leaves torch in the middle of a pass ({name})")
        if number in self._writes.copied:
            self._copy_constants(func, args, kwargs)
        self.recomputes = self.recomputes or _recomputes()
        before = [(tensor, _version(tensor)) for tensor in tensors]
        template = self._template(args, kwargs)
        out = func(*args, **kwargs)
        written = [tensor for tensor, version in before if _version(tensor) != version]
        for tensor in written:
            self._note_write(tensor, number)
        self._add_step(func, template, out, tuple(self._slot(tensor) for tensor in written), name)
        return out

    def _known(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the variables. Raises Unrecordable if that can't be decided."""
        known = self._slots.get(tensor)
        if known is not None:
            if tensor.requires_grad != known[1]:
                raise Unrecordable("it has an autograd function of its own")
            return True
        if self._overwritten and (pointer := _storage(tensor)) in self._overwritten:
            self._force(pointer)  # a view of what was written over, created before the write
        if tensor.requires_grad:
            raise Unrecordable("it has modules that can't be recorded (scripted, or written in another language)")
        return False

    def _note_write(self, tensor: Tensor, number: int) -> None:
        """A call that depends on the variables wrote over `tensor`: only tensors that each run creates may be."""
        if self._known_slot(tensor) is not None:
            return
        if self._is_weight(tensor):
            raise Unrecordable("it writes over its own weights")
        if number in self._writes.copied:
            self._force(_storage(tensor))
        self._writes.copied.add(number)
        raise _RecordAgain

    def _force(self, pointer: int) -> None:
        if pointer not in self._makers:
            raise Unrecordable("it writes over tensors that other layers read")
        self._writes.forced.add(self._makers[pointer])
        raise _RecordAgain

    def _copy_constants(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a call that writes over constants: give each constant a slot that a run fills with a copy of it.

        Constants that the call only reads are copied too, which does no harm.
        """
        for tensor in tensors_in((args, kwargs)):
            if self._known_slot(tensor) is None and not self._is_weight(tensor):
                source = self._new_constant(tensor.detach().clone())
                slot = self._new_slot(tensor)
                self._steps.append(Step(torch.clone, (Ref(source),), {}, (slot,), (), self._mode))
                self._overwritten[_storage(tensor)] = tensor.untyped_storage()

    def _template(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = {name: with_refs(value, self._ref) for name, value in kwargs.items()}
        return tuple(with_refs(value, self._ref) for value in args), named

    def _add_step(
        self, func: Function, template: tuple[Any, Any], out: Any, writes: tuple[int, ...], name: str
    ) -> None:
        args, kwargs = template
        created = list(tensors_in(out))
        if not created and out is not None and not isinstance(out, (bool, int, float, complex, str, torch.dtype)):
            raise Unrecordable(f"it leaves torch in the middle of a pass ({name})")
        outs = tuple(self._slot(tensor) for tensor in created)
        expected = () if created or out is None else (out,)
        shapes = tuple(tensor.shape for tensor in created) if _shaped_by_values(name, args) else None
        self._steps.append(Step(func, args, kwargs, outs, writes, Mode.now(self._device), expected, shapes))
        for slot in writes:  # tensors over the same memory may require a gradient from now on
            for tensor in [r() for r in self._sharing.get(self._storages[slot], ())]:
                if tensor is not None and (known := self._known_slot(tensor)) is not None:
                    self._slots[tensor] = known, tensor.requires_grad

    def _ref(self, tensor: Tensor) -> Ref:
        slot = self._known_slot(tensor)
        return Ref(self._new_constant(tensor) if slot is None else slot)

    def _slot(self, tensor: Tensor) -> int:
        slot = self._known_slot(tensor)
        return self._new_slot(tensor) if slot is None else self._new_slot(tensor, slot)

    def _known_slot(self, tensor: Tensor) -> int | None:
        known = self._slots.get(tensor)
        return None if known is None else known[0]

    def _new_slot(self, tensor: Tensor, slot: int | None = None) -> int:
        if slot is None:
            slot, self._size = self._size, self._size + 1
        pointer = _storage(tensor)
        self._bytes[slot] = tensor.numel() * tensor.element_size()
        self._slots[tensor] = slot, tensor.requires_grad
        self._storages[slot] = pointer
        self._sharing.setdefault(pointer, []).append(weakref.ref(tensor))
        return slot

    def _new_constant(self, tensor: Tensor) -> int:
        known = self._constant_slots.get(id(tensor))
        if known is not None and self._versions[known][0] is tensor and self._versions[known][1] == _version(tensor):
            return known
        slot, self._size = self._size, self._size + 1
        by_reference = self._writes.by_reference or self._is_weight(tensor)
        self._constants[slot] = tensor if by_reference else tensor.detach().clone()
        self._constant_slots[id(tensor)] = slot
        self._versions[slot] = (tensor, _version(tensor))
        return slot

    def tape(self, logits: Tensor) -> Tape | None:
        """The recorded tape; None if it must be recorded again, because constants were written over after their use."""
        result = self._known_slot(logits)
        if result is None or not logits.requires_grad:
            raise Unrecordable("no gradient reaches its output")
        changed = any(_version(tensor) != version for tensor, version in self._versions.values())
        if changed and self._writes.by_reference:
            self._writes.by_reference = False
            return None
        # The mode of most steps is entered once for the whole run; a network's own autocast starts within the pass.
        ((mode, _),) = Counter(step.mode for step in self._steps).most_common(1)
        return Tape(
            tuple(self._steps), self._constants, result, self._size, mode, self._device, self._storages,
            sum(self._bytes.values()),
        )  # fmt: skip


def _shaped_by_values(name: str, args: tuple[Any, ...]) -> bool:
    if name == "__getitem__":  # numbers and slices select the same part in each run; tensors may not
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
    """Whether saved tensors are being replaced right now, as activation checkpointing does."""
    # There is no public way to ask; but where hooks are in place, they can't be forbidden.
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks("interactify asks whether there are any"):
            return False
    except RuntimeError:
        return True
