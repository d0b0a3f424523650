"""What a measurement needs: the clock, spreads and paired ratios, and the memory of a call."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

T = TypeVar("T")


class Clock:
    """Seconds of a call; on a GPU, until all its work there has ended."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def __call__(self, action: Callable[[], T]) -> tuple[float, T]:
        self._wait()
        start = time.perf_counter()
        result = action()
        self._wait()
        return time.perf_counter() - start, result

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of any number of values, by linear interpolation."""
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0]}
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "q1": low, "q3": high}


def paired(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """The spread of the ratios within each repetition, so that a slowdown of a whole repetition cancels out.

    >>> paired([2.0, 30.0, 6.0], [1.0, 10.0, 1.5])["median"]
    3.0
    """
    return spread([a / b for a, b in zip(over, under, strict=True)])


def allocation(action: Callable[[], T], device: str = "cpu") -> tuple[int, int, T]:
    """The memory of a call in additional bytes: the peak, and the rest at its end; and the call's result.

    On a GPU the allocator's own counters; on the CPU, its record of every allocation and release, by the profiler.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = action()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) - before
        gc.collect()
        return peak, torch.cuda.memory_allocated(device) - before, result
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = action()
        gc.collect()
    # Not record.events(): there, allocations within an operation are not in the order of time.
    results: Any = record.profiler.kineto_results
    changes = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most, now, result
