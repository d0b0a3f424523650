"""Measurement: operations, the peak of a device, the description of the machine, and runs that go on."""

from __future__ import annotations

import inspect
import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import interactify
from interactify.evaluation.timing import Clock
from interactify.network.precision import slow

LIBRARIES = ("torch", "numpy", "scipy", "timm", "segmentation-models-pytorch")


def operations(action: Callable[[], object]) -> int:
    """Floating-point operations of a call, with backward passes, by torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        action()
    return int(counter.get_total_flops())


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
        "steered in": "float32" if slow(torch.device(device).type) else "bfloat16",
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
        # What a user gets who does not ask for them: the clicks are measured so.
        found["cuda_graphs"] = inspect.signature(interactify.wrap).parameters["cuda_graphs"].default
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
