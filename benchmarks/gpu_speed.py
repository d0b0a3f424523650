"""How fast a GPU is, and what it holds: clicks, objects, memory, and frames of a video through `Predictor`.

Each function measures one part of `python -m benchmarks.gpu`, with the contestants and clock of the speed benchmark.
"""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

import numpy as np
import torch

import interactify
from benchmarks.gpu_checks import network, variables_at
from benchmarks.speed_cases import Clicks, Effort, measure_clicks, script
from benchmarks.speed_contestants import OURS, Ours
from benchmarks.speed_cuts import photo_of
from benchmarks.speed_measure import peak_operations
from benchmarks.speed_more import ONE_BY_ONE, Objects, measure_objects
from benchmarks.timed_parts import Found
from interactify.evaluation.timing import Clock, allocation, spread

_peak = cache(peak_operations)  # once for a process


def clicks(case: Clicks, device: str, effort: Effort, sides: tuple[int, ...] = (2048, 4096)) -> Found:
    """A click by this library, and by all others on the same network, in one run."""
    found = measure_clicks(case, effort, _peak(device, sides), device)
    everyone = found["contestants"]
    ours = everyone[OURS]
    others = ", ".join(
        f"{name} × {row['times_ours']['median']:.2f}" for name, row in everyone.items() if name.startswith("SciPy")
    )
    apart = [name for name, row in everyone.items() if not row["agrees_with_ours"]]
    said = f"{1000 * ours['per_click']['median']:.1f} ms, {ours['passes']['median']:.2f} passes a click, {others}"
    return {**found, "apart": apart, "in_short": said + (f"; {', '.join(apart)} disagree" if apart else "")}


def objects(case: Objects, device: str, effort: Effort) -> Found:
    """One click on each of many objects: `net.refine`, and one by one."""
    found = measure_objects(case, effort, device)
    ratios = ", ".join(f"{name} × {ratio['median']:.2f}" for name, ratio in found["times_batch"].items())
    milliseconds = 1000 * found["seconds"][OURS]["median"]
    alone = f"{found['pixels_unlike_alone']} pixels differ from {ONE_BY_ONE}"
    return {**found, "in_short": f"{milliseconds:.0f} ms for {case.objects} in one batch, {ratios}; {alone}"}


def memory(name: str, point: str, size: int, device: str, count: int = 8) -> Found:
    """Bytes of the weights, and beyond them of an open photo, its first click, and more clicks.

    Each is (the most while it ran, what stayed). "all" is the most of everything together.
    """
    photo = photo_of((size, size))
    model = network(name, size, device)
    weights = sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))
    ours = Ours(model, variables_at(point), size)
    chosen = script(ours, photo, count)
    del ours  # what it kept is not counted
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    rows: dict[str, tuple[int, int]] = {}
    peak, kept, ours = allocation(lambda: _opened(model, point, size, photo), device)
    rows["open"] = peak, kept
    most, held = weights + peak, weights + kept
    for step, some in {"first click": chosen[:1], "more clicks": chosen[1:]}.items():
        if not some:  # the user had no more to click
            continue
        peak, kept, _ = allocation(lambda some=some: [ours.click(click) for click in some], device)  # type: ignore[misc]
        rows[step] = peak, kept
        most, held = max(most, held + peak), held + kept
    cuda = device.startswith("cuda")
    return {
        "weights": weights,
        "steps": {step: {"peak": peak, "kept": kept} for step, (peak, kept) in rows.items()},
        "all": most,
        "reserved": torch.cuda.max_memory_reserved(device) if cuda else None,
        "run": (cuda and ours.net.runtime.executor.text("cuda")) or "step by step",
        "in_short": f"weights {weights / 1e6:.0f} MB; {len(chosen)} clicks; "
        + ", ".join(f"{step} {round(peak / 1e6)} ({round(kept / 1e6)} stay)" for step, (peak, kept) in rows.items())
        + f"; all {most / 1e6:.0f} MB",
    }


def _opened(model: torch.nn.Module, point: str, size: int, photo: torch.Tensor) -> Ours:
    ours = Ours(model, variables_at(point), size)
    ours.open(photo)
    return ours


def video(name: str, frames: int, size: tuple[int, int], resolution: int, device: str) -> Found:
    """`Predictor` on one frame after the other: set_image, the mask without a point, and with one that corrects it."""
    clock = Clock(device)
    net = interactify.wrap(network(name, resolution, device), resolution=resolution)
    predictor = interactify.Predictor(net)
    point = np.array([[size[0] // 2, size[1] // 2]])
    seconds: dict[str, list[float]] = {"set_image": [], "without a point": [], "with a point": []}
    held: list[int] = []
    for frame in _frames(frames, size):
        took, _ = clock(lambda frame=frame: predictor.set_image(frame))  # type: ignore[misc]
        seconds["set_image"].append(took)
        took, (plain, _, _) = clock(lambda: predictor.predict(multimask_output=False))
        seconds["without a point"].append(took)
        label = np.array([0 if plain[0, point[0, 1], point[0, 0]] else 1])
        took, _ = clock(lambda label=label: predictor.predict(point, label, multimask_output=False))  # type: ignore[misc]
        seconds["with a point"].append(took)
        if device.startswith("cuda"):
            held.append(torch.cuda.memory_allocated(device))
    late = {step: values[frames // 4 :] for step, values in seconds.items()}  # the first ones warm up
    rows: dict[str, Any] = {
        step: {**spread(values), "first": seconds[step][0], "slowest": max(values)} for step, values in late.items()
    }
    everything = spread([sum(each) for each in zip(*late.values(), strict=True)])["median"]
    return {
        "frames": frames,
        "size": list(size),
        "resolution": resolution,
        "seconds": rows,
        "frames_per_second": 1 / everything,
        "bytes_more": held[-1] - held[frames // 4] if held else None,
        "in_short": f"{1 / everything:.1f} frames a second: "
        + ", ".join(f"{step} {1000 * row['median']:.1f} ms" for step, row in rows.items()),
    }


def _frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """A camera that moves over the photo of a cat: frames (height, width, 3) uint8, four pixels apart."""
    width, height = size
    wide = photo_of((height, width + 4 * count)).mul(255).round().byte().permute(1, 2, 0).numpy()
    return [np.ascontiguousarray(wide[:, 4 * frame : 4 * frame + width]) for frame in range(count)]
