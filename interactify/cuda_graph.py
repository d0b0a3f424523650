"""A tape as two CUDA graphs, forwards and backwards: one launch each, in memory that stays where it is.

A network of a hundred small kernels is bound by the time it takes to launch them; replayed, it is bound by what they
compute. The graphs read their inputs from buffers of their own: values, and what is kept of a photo, are copied there.
Sessions of one network share the graphs, in whatever threads: a backward replay whose forward replay was written over
by another session's is noticed, and that gradient is computed step by step.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from interactify.tape import Tape

_WARM_UP = 3  # passes on a side stream, so that libraries choose their kernels and get their workspaces before capture


class CudaGraph:
    """The graphs of one tape; runs any tape that has the same steps.

    Raises whatever capturing raises: not every operation can be captured.
    """

    def __init__(self, tape: Tape, values: Tensor, shared: set[int]) -> None:
        """Capture the passes of a tape at values; constants over `shared` memory (pointers) stay where they are."""
        self._lock = threading.Lock()
        self._turn = 0  # the number of the last forward replay
        self._values = values.detach().clone().requires_grad_(True)
        own = {slot: t for slot, t in tape.constants.items() if t.untyped_storage().data_ptr() not in shared}
        # Strides are kept: which kernel runs hangs on them.
        self._copies = {slot: torch.empty_like(t).copy_(t) for slot, t in own.items()}
        self._loaded = weakref.ref(tape)
        constants = {**tape.constants, **self._copies}
        stream = torch.cuda.Stream(values.device)
        stream.wait_stream(torch.cuda.current_stream(values.device))
        with torch.cuda.device(values.device), torch.cuda.stream(stream), torch.enable_grad():
            for _ in range(_WARM_UP):
                logits = tape(self._values, constants)
                self._cotangent = torch.zeros_like(logits)
                torch.autograd.grad(logits, self._values, self._cotangent)
                del logits
        torch.cuda.current_stream(values.device).wait_stream(stream)
        torch.cuda.synchronize(values.device)
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        # Other threads may allocate meanwhile: only what this one does is held to the rules of a capture.
        rules: Any = {"pool": pool, "capture_error_mode": "thread_local"}
        with torch.cuda.device(values.device), torch.enable_grad():
            with torch.cuda.graph(self._forward, **rules):
                self._logits = tape(self._values, constants)
            with torch.cuda.graph(self._backward, **rules):
                (self._gradient,) = torch.autograd.grad(self._logits, self._values, self._cotangent)
        self._logits = self._logits.detach()

    def __call__(self, tape: Tape, values: Tensor) -> Tensor:
        """Logits (1, K, h, w), differentiable in the values."""
        logits: Tensor = _Replayed.apply(values, tape, self)
        return logits

    def forward(self, tape: Tape, values: Tensor) -> tuple[int, Tensor]:
        """The turn of this replay, and its logits in memory of their own."""
        with self._lock:
            if self._loaded() is not tape:
                for slot, copy in self._copies.items():
                    copy.copy_(tape.constants[slot])
                self._loaded = weakref.ref(tape)
            self._turn += 1
            with torch.no_grad():
                self._values.copy_(values)
            self._forward.replay()
            return self._turn, self._logits.clone()

    def backward(self, turn: int, cotangent: Tensor) -> Tensor | None:
        """The gradient of that turn's logits; None where another forward replay has come since."""
        with self._lock:
            if self._turn != turn:
                return None
            self._cotangent.copy_(cotangent)
            self._backward.replay()
            return self._gradient.clone()


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, tape: Tape, graph: CudaGraph) -> Tensor:
        ctx.save_for_backward(values)
        ctx.tape, ctx.graph = tape, graph
        ctx.turn, logits = graph.forward(tape, values.detach())
        return logits

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        gradient = ctx.graph.backward(ctx.turn, cotangents[0])
        if gradient is None:
            (values,) = ctx.saved_tensors
            with torch.enable_grad():
                at = values.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(ctx.tape(at), at, cotangents[0])
        return gradient, None, None
