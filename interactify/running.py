"""How a tape is run: step by step, compiled where the user asked for that, or replayed by the device.

What is prepared is prepared once for a shape and serves every photo whose tape has the same steps. Where preparing
fails, tapes are run step by step, and `reason` says why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from interactify.compiled import Compiled, signature, uncompilable
from interactify.cuda_graph import CudaGraph
from interactify.tape import Tape

_PATIENCE = 6  # evaluations of a shape before its passes are captured: the first click need not wait for it
Runner = Callable[[Tape, Tensor], Tensor]


@dataclass
class _Known:
    """What is known of one shape: how often it was run, and by what, prepared for which steps."""

    evaluations: int = 0
    runner: Runner | None = None
    prepared: tuple[object, ...] | None = None
    reason: str = ""


@dataclass
class Running:
    """Runs the tapes of one network.

    Attributes:
        compiles: whether the user asked for torch.compile.
        shared: the pointers of what belongs to the network and not to a photo.
    """

    compiles: bool
    shared: Callable[[], set[int]]
    _shapes: dict[Hashable, _Known] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, shape: Hashable, tape: Tape, values: Tensor) -> Tensor:
        """The logits (1, K, h, w) of a tape at values, differentiable in them.

        Raises Diverged where the network would take another way for these values.
        """
        captures = tape.device == "cuda"
        if not (self.compiles or captures):
            return tape(values)
        with self._lock:
            known = self._shapes.setdefault(shape, _Known())
            known.evaluations += 1
            waits = not self.compiles and known.evaluations <= _PATIENCE
            if not known.reason and not waits and known.prepared != signature(tape):
                self._prepare(known, tape, values)
        return tape(values) if known.runner is None else known.runner(tape, values)

    def text(self, device: str) -> str:
        """How tapes are run, for `describe()`; "" where that is step by step and nothing else was tried."""
        kind = "compiled" if self.compiles else "CUDA graphs" if device == "cuda" else ""
        reasons = {known.reason for known in self._shapes.values() if known.reason}
        if reasons:
            return f"step by step, not by {kind.replace('compiled', 'torch.compile')}: {'; '.join(sorted(reasons))}"
        return f"{kind}, from evaluation {_PATIENCE + 1} of a shape on" if kind == "CUDA graphs" else kind

    def _prepare(self, known: _Known, tape: Tape, values: Tensor) -> None:
        known.runner, known.prepared, known.reason = None, signature(tape), uncompilable(tape)
        if known.reason:
            return
        try:
            runner: Runner = Compiled(tape) if self.compiles else CudaGraph(tape, values, self.shared())
            if self.compiles:
                runner(tape, values.detach().clone().requires_grad_(True))  # compiles now, so that a failure shows
        except torch.cuda.OutOfMemoryError:
            known.reason = "there is not enough memory for it"
        except Exception as cause:  # the compiler's, or of operations that can't be captured
            known.reason = f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"
        else:
            known.runner = runner
