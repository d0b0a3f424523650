"""What a click in a volume costs: `python -m benchmarks.volume_cost` measures memory, and evaluations a click.

A CT of 512 × 512 × 600 voxels (int16, synthetic) is written to disk, opened as a memmap with a small network, and
clicked. Memory is what belongs to the process alone (anonymous pages), read every 20 ms, beyond what the wrapped
network takes; pages of the memmap, which the system takes back as it likes, do not count. Evaluations do not depend on
the machine, so they stand for time, with the operations of one evaluation counted by torch.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import nn

import interactify
from benchmarks.drawn_volumes import SmallUNet3d
from benchmarks.memory import memory
from benchmarks.speed_measure import machine, operations
from interactify.interactions.in_space import VoxelClick

RESULTS: Final = Path(__file__).parent / "results" / "volume-cost.json"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
CT: Final = (600, 512, 512)
T = TypeVar("T")


def plain() -> nn.Module:
    """Two convolutions with logits of both signs: what is measured is the library's memory, not the network's."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv3d(2, 1, 1)).eval()


def peak(action: Callable[[], T]) -> tuple[float, float, T]:
    """The most MB of anonymous pages during a call beyond those before it, those left after it, and its result."""
    before, most, ended = memory(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
            most = max(most, (resident - shared) * PAGE / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = action()
    finally:
        ended.set()
        watcher.join()
    most = max(most, memory())  # of a call that ends before it is looked at
    return max(0.0, most - before), memory() - before, result


def write_ct(path: Path, size: tuple[int, int, int]) -> None:
    """A volume of Hounsfield units (D, H, W) int16: a cylinder of tissue in air with an organ inside, and noise."""
    random = np.random.default_rng(0)
    out = np.memmap(path, np.int16, "w+", shape=size)
    rows, columns = np.ogrid[: size[1], : size[2]]
    away = np.hypot(rows - size[1] / 2, columns - size[2] / 2) / size[1]
    for z in range(size[0]):
        organ = 0.12 * np.sin(np.pi * z / size[0])
        out[z] = np.where(away < organ, 120, np.where(away < 0.4, 30, -1000)) + random.normal(0, 20, away.shape)
    out.flush()


def opened(size: tuple[int, int, int], network: nn.Module, clicks: int) -> dict[str, Any]:
    """Memory of opening a memmap of this size and of clicks in it, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.raw"
        write_ct(path, size)
        array = np.memmap(path, np.int16, "r", shape=size)
        net = interactify.wrap(network, mean=0, std=1, value_range=(-1000, 1000))
        opening, kept, session = peak(lambda: net.session(interactify.Volume(array)))
        found = {"size": list(size), "bytes": path.stat().st_size, "opening": round(opening), "kept": round(kept)}
        found["windows"] = len(session.refiner.grid.windows())
        rows = []
        random = np.random.default_rng(1)
        for _ in range(clicks):
            z, y, x = (int(random.integers(side)) for side in size)
            positive = not float(session.result.displayed.at(np.array([[x, y, z]]))[0]) > 0
            add: Callable[[], Any] = lambda at=(x, y, z), own=positive: session.add([VoxelClick(*at[:2], own, z=at[2])])  # type: ignore[misc] # noqa: E731
            most, left, result = peak(add)
            rows.append(
                {"peak": round(most), "kept": round(left, 1), "evaluations": result.evaluations,
                 "satisfied": result.satisfied}
            )  # fmt: skip
        most, _, mask = peak(lambda: session.result.mask)
        return {**found, "clicks": rows, "mask": {"bytes": mask.nbytes, "peak": round(most)}}


def evaluations(side: int, clicks: int) -> dict[str, Any]:
    """Evaluations a click and operations, of a U-Net with random weights that sees the whole volume."""
    torch.manual_seed(0)
    network = SmallUNet3d().eval()
    volume = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (side,) * 3).astype(np.float32))
    with torch.no_grad():
        network.head.bias -= network(volume[None, None]).mean()
        one = operations(lambda: network(volume[None, None]))
    rows = []
    for variables in ("input", "kernels", "scale_bias@A"):
        net = interactify.wrap(network, variables=variables, mean=0, std=1, resolution=side)
        with net.session(volume) as session:
            counts, total = [], 0
            random = np.random.default_rng(2)
            for _ in range(clicks):
                x, y, z = (int(random.integers(side)) for _ in range(3))
                positive = not bool(session.result.mask[z, y, x])
                total += operations(lambda at=(x, y, z), own=positive: session.add([VoxelClick(*at[:2], own, z=at[2])]))  # type: ignore[misc]
                counts.append(session.result.evaluations)
        passes = total / clicks / one
        rows.append({"variables": variables, "evaluations": counts, "passes_by_operations": round(passes, 2)})
    return {"side": side, "operations_of_a_pass": one, "rows": rows}


def main() -> None:
    """Measure, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=CT, metavar=("D", "H", "W"))
    parser.add_argument("--clicks", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    d, h, w = given.size
    found = {"machine": machine(), "whole": evaluations(48, given.clicks)}
    print(json.dumps(found["whole"]), flush=True)
    found["ct"] = opened((d, h, w), plain(), given.clicks)
    print(json.dumps(found["ct"]), flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
