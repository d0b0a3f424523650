"""Measurement: the clock, paired statistics, operations, memory, and the description of the machine."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import interactify

T = TypeVar("T")
LIBRARIES = ("torch", "numpy", "scipy", "timm", "segmentation-models-pytorch")


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


def operations(action: Callable[[], object]) -> int:
    """Floating-point operations of a call, with backward passes, by torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        action()
    return int(counter.get_total_flops())


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
    results: Any = record.profiler.kineto_results  # type: ignore[union-attr]
    changes = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most, now, result


def peak_operations(device: str = "cpu", sides: Sequence[int] = (2048, 4096)) -> float:
    """Floating-point operations a second of the fastest measured float32 matrix product on this device."""
    best, clock = 0.0, Clock(device)
    for side in sides:
        a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
        out = torch.empty_like(a)
        for _ in range(5):
            seconds, _ = clock(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))  # type: ignore[misc]
            best = max(best, 2 * side**3 / seconds)
    return best


def machine(device: str = "cpu") -> dict[str, Any]:
    """The machine and the versions of a measurement."""
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "device": device,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "interactify": interactify.__version__,
        **{name: version(name) for name in LIBRARIES},
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
        found["tf32"] = {
            "convolution": torch.backends.cudnn.allow_tf32,
            "product": torch.backends.cuda.matmul.allow_tf32,
        }
    return found


def stored_run(path: Path, here: dict[str, Any], mode: str) -> dict[str, Any]:
    """The results of an earlier run in a file, with the "machine" and the `mode` of `here`, a key such as "quick".

    Raises ValueError if the file is from another machine, other versions or another mode; the date does not count.
    """
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    mine, others = here["machine"], stored["machine"]
    differing = sorted(key for key in {*mine, *others} - {"date"} if mine.get(key) != others.get(key))
    if differing or stored[mode] != here[mode]:
        raise ValueError(
            f"Expected results of this machine and these versions in {path}, got others "
            f"({', '.join(differing) or mode}). Try another --out."
        )
    return {**stored, **here}


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
