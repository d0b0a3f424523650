"""What sessions keep in memory, and what a click needs while it runs: `python -m benchmarks.memory`.

Each network and size has a process of its own, on the CPU with one thread. It opens sessions on photos of noise, makes
two clicks in each, and reads the memory that belongs to the process alone (anonymous pages) before and after; freed
memory is given back to the system before each reading. `--sessions 500` keeps that many of the embedded network in a
list. The others have random weights: memory does not depend on them. `--networks` and `--sizes` measure some rows; the
other rows of benchmarks/results/memory.json stay where they were measured on the same machine.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import interactify
from benchmarks.speed_measure import machine

NETWORKS = ("embedded", "Unet/resnet34", "DeepLabV3Plus/resnet50")
SIZES = (288, 512, 1024)
RESULTS = Path(__file__).parent / "results" / "memory.json"
SESSIONS = 2
MB = 1e6


def build(name: str) -> nn.Module:
    """A network by its name in the table."""
    if name == "embedded":
        return interactify.zoo.load()
    import segmentation_models_pytorch as smp

    architecture, encoder = name.split("/")
    network: nn.Module = getattr(smp, architecture)(encoder, encoder_weights=None)
    return network.eval()


def memory(kind: str = "RssAnon") -> float:
    """MB of this process: "RssAnon" now; "VmHWM", of everything, the most since `forget_peak`."""
    gc.collect()
    if kind == "RssAnon":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{kind}:"))


def forget_peak() -> float:
    """Start to measure the peak anew; returns the MB of everything now."""
    memory()  # gives freed memory back
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def clicked(session: interactify.Session, seed: int, count: int) -> None:
    """Some clicks that disagree with the mask."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        x, y = (int(generator.integers(side)) for side in session.size[::-1])
        session.click(x, y, positive=not session.result.mask[y, x])


def measured(name: str, side: int, variables: str) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(1)
    net = interactify.wrap(
        build(name), variables=variables, energy="brs", max_evaluations=2, zoom=False, resolution=side
    )
    photos = [np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8) for seed in range(SESSIONS + 1)]
    first = net.session(photos[-1])  # what all sessions of a network share comes with the first
    clicked(first, 0, 1)
    interactify.set_cache_limit(0)
    before = memory()
    sessions = [net.session(photo) for photo in photos[:-1]]
    for seed, session in enumerate(sessions):
        clicked(session, seed, 1)
    interactify.set_cache_limit(0)
    least = memory() - before
    for seed, session in enumerate(sessions):
        clicked(session, seed + 10, 1)
    interactify.set_cache_limit(0)
    more = memory() - before - least
    interactify.set_cache_limit(2**30)
    middle = side // 2
    first.click(middle, middle, positive=first.result.mask[middle, middle])
    first.refiner.passes.ready(first.refiner.first_crop.suffix)  # as a click that is satisfied at the end leaves it
    cached = interactify.cached_bytes() / MB
    now = forget_peak()
    clicked(first, 2, 1)
    peak = memory("VmHWM") - now
    return {
        "network": name, "side": side, "variables": variables,
        "cached": round(cached, 1), "least": round(least / SESSIONS, 1), "per_click": round(more / SESSIONS, 2),
        "peak": round(peak, 1),
    }  # fmt: skip


def many(count: int) -> dict[str, Any]:
    """So many sessions of the embedded network in a list, a click in each, on photos of 288 × 288 pixels."""
    torch.set_num_threads(1)
    net = interactify.wrap(interactify.zoo.load())
    before, sessions = memory(), []
    for seed in range(count):
        photo = np.random.default_rng(seed).integers(0, 256, (288, 288, 3), np.uint8)
        sessions.append(net.session(photo))
        clicked(sessions[-1], seed, 1)
    found = {"sessions": count, "MB": round(memory() - before)}
    if hasattr(interactify, "cached_bytes"):
        found["of which cached, as counted"] = round(interactify.cached_bytes() / MB)
        for session in sessions:
            session.close()
        found["after close"] = round(memory() - before)
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", nargs=3, metavar=("NETWORK", "SIDE", "VARIABLES"), help="one row, in this process")
    parser.add_argument("--variables", default="input", help="of the whole table")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES, metavar="SIDE")
    parser.add_argument("--sessions", type=int, help="keep that many sessions in a list")
    arguments = parser.parse_args()
    if arguments.row:
        name, side, variables = arguments.row
        print(json.dumps(measured(name, int(side), variables)))
        return
    if arguments.sessions:
        print(json.dumps(many(arguments.sessions)))
        return
    torch.set_num_threads(1)  # as each row does, for the machine's description
    rows = kept_rows()
    for name in arguments.networks:
        for side in arguments.sizes:
            command = [sys.executable, "-m", "benchmarks.memory", "--row", name, str(side), arguments.variables]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(row, flush=True)
            rows[name, side, arguments.variables] = row
            ordered = sorted(rows.values(), key=lambda each: (NETWORKS.index(each["network"]), each["side"]))
            RESULTS.write_text(json.dumps({"machine": machine(), "rows": ordered}, indent=1) + "\n")


def kept_rows() -> dict[tuple[str, int, str], dict[str, Any]]:
    """The rows that were measured on this machine with these versions, by network, side and variables."""
    if not RESULTS.exists():
        return {}
    found, here = json.loads(RESULTS.read_text()), machine()
    if any(found["machine"].get(key) != value for key, value in here.items() if key not in ("date", "memory_gib")):
        return {}
    return {(row["network"], row["side"], row["variables"]): row for row in found["rows"]}


if __name__ == "__main__":
    main()
