"""A tape as two CUDA graphs, forward and backward: one launch each, in memory at fixed addresses.

A network of a hundred small kernels spends its time launching them; a replayed graph spends it computing. The graphs
read their inputs from buffers at fixed addresses: the values, and the tape's constants for a photo, are copied there.
Sessions of one network share the graphs, in any threads. If another session has replayed the forward graph in between,
the backward replay notices it, and that gradient is computed step by step.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from interactify.runtime.tape import Tape

_WARM_UP = 3  # passes on a side stream before capture: libraries choose their kernels and allocate workspaces
_capturing = threading.Lock()  # torch allows one capture at a time in a process


class CudaGraph:
    """The graphs of one tape; runs any tape that has the same steps and weights.

    Raises whatever capturing raises: not every operation can be captured.
    """

    def __init__(self, tape: Tape, values: Tensor, shared: set[int]) -> None:
        """Capture the passes of a tape at values; constants in `shared` memory (pointers) are read without a copy."""
        self._lock = threading.Lock()
        self._turn = 0  # the number of the last replay
        self._device = values.device
        self._values = values.detach().clone().requires_grad_(True)
        of_photo = {slot: t for slot, t in tape.constants.items() if t.untyped_storage().data_ptr() not in shared}
        # Held, so that nothing else is allocated at the addresses that the graphs read.
        self._weights = {slot: t for slot, t in tape.constants.items() if slot not in of_photo}
        self._copies = {slot: torch.empty_like(t).copy_(t) for slot, t in of_photo.items()}  # with their strides
        self._loaded = weakref.ref(tape)
        with _capturing, torch.cuda.device(self._device), torch.enable_grad():
            self._capture(tape, {**self._weights, **self._copies})
        self._done = torch.cuda.Event()  # after the last replay and the copies of its results
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
        # A stream of this device; "thread_local", so that other threads may allocate during the capture.
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
        """Whether the tape's weights, and what was derived from them, are at the addresses that the graphs read."""
        return all(tape.constants[slot].data_ptr() == tensor.data_ptr() for slot, tensor in self._weights.items())

    def __call__(self, tape: Tape, values: Tensor) -> Tensor:
        """Logits (1, K, h, w), differentiable in the values."""
        logits: Tensor = _Replayed.apply(values, tape, self)
        return logits

    def forward(self, tape: Tape, values: Tensor) -> tuple[int, Tensor]:
        """The number of this replay, and a copy of its logits."""
        with self._lock, torch.no_grad():
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(self._done)  # it may be of a session on another stream
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
        """The gradient of that replay's logits, once; None if there was another replay since."""
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
