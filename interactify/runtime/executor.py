"""Runs tapes: step by step, compiled (`wrap(compile=True)`), or replayed as CUDA graphs (`wrap(cuda_graphs=True)`).

A runner is prepared once for a shape and serves every photo whose tape has the same steps. It is compared with the tape
before its first use. If preparing fails, tapes run step by step, and `text` gives the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from interactify.runtime.compiled import Compiled, signature, uncompilable, waits_for_values
from interactify.runtime.cuda_graphs import CudaGraph
from interactify.runtime.tape import Tape

# The largest difference between suffix and whole network that can still be rounding, relative to the largest logit, by
# autocast's dtype: rounding may grow on its way through a network.
_ROUNDING = {None: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
_CAPTURE_AFTER = 6  # evaluations of a shape, so that the first click need not wait for the capture
_MAX_GRAPHS = 4  # shapes with graphs: each holds the memory of a forward and a backward pass
_MAX_CHANGES = 3  # how often the steps of a shape may change before it runs step by step


def rounds_as(dtype: torch.dtype, autocast: torch.dtype | None, device: torch.device) -> torch.dtype | None:
    """The reduced precision whose rounding convolutions have; None for single precision or better.

    A GPU runs float32 convolutions in TF32 unless that is switched off: with 10 bits of mantissa, as many as float16,
    and rounded differently for another number of rows.
    """
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    if autocast is None and dtype == torch.float32 and device.type == "cuda" and tf32:
        return torch.float16
    return autocast


def tolerance_of(dtype: torch.dtype, autocast: torch.dtype | None, device: torch.device) -> float:
    """The largest difference of logits, relative to the largest, that can be rounding."""
    return 1e-9 if dtype == torch.float64 else _ROUNDING[rounds_as(dtype, autocast, device)]


def off_by(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


@dataclass
class _Shape:
    """One shape: how many evaluations it had, its runner, and the steps that the runner was prepared for."""

    evaluations: int = 0
    runner: Compiled | CudaGraph | None = None
    prepared: tuple[object, ...] | None = None
    changes: int = 0
    reason: str = ""


@dataclass
class Executor:
    """Runs the tapes of one network.

    Attributes:
        compiles: whether the user asked for torch.compile.
        autocast: the dtype in which convolutions compute; None for the network's own.
        shared: gives the pointers to tensors that belong to the network, not to a photo.
        cuda_graphs: whether the user asked for CUDA graphs; tapes on a CPU have none.
    """

    compiles: bool
    autocast: torch.dtype | None
    shared: Callable[[], set[int]]
    cuda_graphs: bool = False
    _shapes: dict[Hashable, _Shape] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, shape: Hashable, tape: Tape, values: Tensor) -> Tensor:
        """The logits (1, K, h, w) of a tape at values, differentiable in them.

        Raises Diverged if the network takes another branch for these values.
        """
        if not (self.compiles or (self.cuda_graphs and tape.device == "cuda")):
            return tape(values)
        with self._lock:
            known = self._shapes.setdefault(shape, _Shape())
            known.evaluations += 1
            waits = not self.compiles and known.evaluations <= _CAPTURE_AFTER
            if not known.reason and not waits and not _can_run(known, tape):
                self._prepare(known, tape, values.detach())
            runner = known.runner
        return tape(values) if runner is None else runner(tape, values)

    @property
    def runs_by(self) -> str:
        """By what tapes are run other than step by step; "" for nothing."""
        return "torch.compile runs it" if self.compiles else "CUDA graphs run it" if self.cuda_graphs else ""

    def text(self, device: str) -> str:
        """How tapes run, for `describe()`; "" if step by step and nothing else was tried."""
        kind = "compiled" if self.compiles else "CUDA graphs" if self.cuda_graphs and device == "cuda" else ""
        with self._lock:
            reasons = {known.reason for known in self._shapes.values() if known.reason}
        if reasons:
            return f"step by step, not by {kind.replace('compiled', 'torch.compile')}: {'; '.join(sorted(reasons))}"
        return f"{kind}, from evaluation {_CAPTURE_AFTER + 1} of a shape on" if kind == "CUDA graphs" else kind

    def _prepare(self, known: _Shape, tape: Tape, values: Tensor) -> None:
        if known.prepared is not None and known.prepared != signature(tape):
            known.changes += 1
        known.runner, known.prepared = None, signature(tape)
        known.reason = uncompilable(tape) if self.compiles else waits_for_values(tape)
        if known.changes > _MAX_CHANGES:
            known.reason = "the steps differ from photo to photo"
        if known.reason:
            return
        try:
            runner = Compiled(tape) if self.compiles else CudaGraph(tape, values, self.shared())
            known.reason = self._compared(runner, tape, values)
        except torch.cuda.OutOfMemoryError:
            known.reason = "there is not enough memory for it"
        except Exception as cause:  # from the compiler, or from operations that can't be captured
            first_line = str(cause).strip().split("\n", 1)[0]
            known.reason = f"{type(cause).__name__}: {first_line}"
        if not known.reason:
            known.runner = runner
            self._make_room(known)

    def _compared(self, runner: Compiled | CudaGraph, tape: Tape, values: Tensor) -> str:
        """Why a runner is wrong, judged at other values than it was prepared with; "" if it is right."""
        found: list[tuple[Tensor, Tensor]] = []
        for run in (tape, lambda at: runner(tape, at)):
            with torch.enable_grad():
                at = (values + 0.01).requires_grad_(True)
                logits = run(at)
                (gradient,) = torch.autograd.grad(logits, at, torch.ones_like(logits))
            found.append((logits.detach(), gradient))
        (expected, slope), (logits, gradient) = found
        within = tolerance_of(values.dtype, self.autocast, values.device)
        # Gradients by their norm: single numbers differ where a ReLU is decided by the last digit.
        if off_by(logits, expected) <= within and (gradient - slope).norm() <= max(0.05, within) * slope.norm():
            return ""
        return "it gives other logits or gradients"

    def _make_room(self, newest: _Shape) -> None:
        held = [known for known in self._shapes.values() if known.runner is not None and known is not newest]
        for known in held[: max(0, len(held) + 1 - _MAX_GRAPHS)] if not self.compiles else []:
            known.runner, known.prepared, known.evaluations = None, None, 0


def _can_run(known: _Shape, tape: Tape) -> bool:
    if known.runner is None or known.prepared != signature(tape):
        return False
    return not isinstance(known.runner, CudaGraph) or known.runner.fits(tape)
