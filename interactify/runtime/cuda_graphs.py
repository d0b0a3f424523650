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

from interactify.runtime.tape import Tape

_WARM_UP = 3  # passes on a side stream, so that libraries choose their kernels and get their workspaces before capture
_capturing = threading.Lock()  # torch knows one capture at a time in a process


class CudaGraph:
    """The graphs of one tape; runs any tape that has the same steps over the same weights.

    Raises whatever capturing raises: not every operation can be captured.
    """

    def __init__(self, tape: Tape, values: Tensor, shared: set[int]) -> None:
        """Capture the passes of a tape at values; constants over `shared` memory (pointers) are read where they are."""
        self._lock = threading.Lock()
        self._turn = 0  # the number of the last forward replay
        self._device = values.device
        self._values = values.detach().clone().requires_grad_(True)
        own = {slot: t for slot, t in tape.constants.items() if t.untyped_storage().data_ptr() not in shared}
        # Held, so that nothing else comes to lie at the addresses that the graphs read.
        self._weights = {slot: t for slot, t in tape.constants.items() if slot not in own}
        self._copies = {slot: torch.empty_like(t).copy_(t) for slot, t in own.items()}  # strides are kept
        self._loaded = weakref.ref(tape)
        with _capturing, torch.cuda.device(self._device), torch.enable_grad():
            self._capture(tape, {**self._weights, **self._copies})
        self._done = torch.cuda.Event()  # the last replay and what was copied of it
        self._done.record(torch.cuda.current_stream(self._device))

    def _capture(self, tape: Tape, constants: dict[int, Tensor]) -> None:
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                logits = tape(self._values, constants)
                self._cotangent = torch.zeros_like(logits)
                torch.autograd.grad(logits, self._values, self._cotangent)
                del logits
        torch.cuda.synchronize(self._device)
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # A stream of this device, and the rules of a capture for this thread alone: others may allocate meanwhile.
        rules: Any = {
            "pool": torch.cuda.graph_pool_handle(),
            "stream": stream,
            "capture_error_mode": "thread_local",
        }
        with torch.cuda.graph(self._forward, **rules):
            logits = tape(self._values, constants)
        with torch.cuda.graph(self._backward, **rules):
            (self._gradient,) = torch.autograd.grad(logits, self._values, self._cotangent)
        self._logits = logits.detach()

    def fits(self, tape: Tape) -> bool:
        """Whether the tape's weights, and what was made of them, lie where the graphs read them."""
        return all(tape.constants[slot].data_ptr() == tensor.data_ptr() for slot, tensor in self._weights.items())

    def __call__(self, tape: Tape, values: Tensor) -> Tensor:
        """Logits (1, K, h, w), differentiable in the values."""
        logits: Tensor = _Replayed.apply(values, tape, self)
        return logits

    def forward(self, tape: Tape, values: Tensor) -> tuple[int, Tensor]:
        """The turn of this replay, and its logits in memory of their own."""
        with self._lock, torch.no_grad():
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(self._done)  # of a session on another stream
            if self._loaded() is not tape:
                for slot, copy in self._copies.items():
                    copy.copy_(tape.constants[slot])
                self._loaded = weakref.ref(tape)
            self._turn += 1
            self._values.copy_(values)
            self._forward.replay()
            logits = self._logits.clone()
            self._done.record(stream)
            return self._turn, logits

    def backward(self, turn: int, cotangent: Tensor) -> Tensor | None:
        """The gradient of that turn's logits, once; None where another replay has come since."""
        with self._lock, torch.no_grad():
            if self._turn != turn:
                return None
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(self._done)
            self._turn += 1
            self._cotangent.copy_(cotangent)
            self._backward.replay()
            gradient = self._gradient.clone()
            self._done.record(stream)
            return gradient


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
