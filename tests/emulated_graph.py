"""CUDA graphs on a CPU, for tests: what is run during a capture is run again on a replay, into the same memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                made = func(*args, **kwargs)
                for old, new in zip(tree_leaves(out), tree_leaves(made), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.detach().copy_(new)


class _Capture(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._graph.calls.append((func, args, kwargs or {}, out))
        return out


class _Stream:
    def wait_stream(self, _other: object) -> None: ...

    def wait_event(self, _event: object) -> None: ...


class _Event:
    def record(self, _stream: object) -> None: ...


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """The graphs that were captured, in order: forward and backward of each."""
    made: list[Graph] = []

    def graph() -> Graph:
        made.append(Graph())
        return made[-1]

    @contextmanager
    def capture(into: Graph, **_rules: object) -> Iterator[None]:
        with _Capture(into):
            yield

    for name, stand_in in {
        "CUDAGraph": graph,
        "graph": capture,
        "graph_pool_handle": lambda: None,
        "Event": _Event,
        "Stream": lambda _device: _Stream(),
        "current_stream": lambda _device: _Stream(),
        "stream": lambda _stream: nullcontext(),
        "device": lambda _device: nullcontext(),
        "synchronize": lambda _device: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made
