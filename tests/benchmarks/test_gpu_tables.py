"""The GPU's results on the page: shown where a JSON of a whole run is there, and nothing is claimed where none is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import speed_page
from benchmarks.gpu_tables import gpu_summary
from benchmarks.timed_parts import DONE, FAILED

MACHINE = {
    "date": "2030-01-02", "device": "cuda", "processor": "a processor", "cores": 8, "threads": 1, "memory_gib": 64.0,
    "python": "3.12.0", "interactify": "0.2.0", "torch": "2.9.0", "numpy": "2.0.0", "scipy": "1.15.0", "cuda": "13.0",
    "gpu": "Made-up GPU", "cuda_graphs": False, "tf32": {"convolution": True, "product": False},
}  # fmt: skip


def done(**found: Any) -> dict[str, Any]:
    return {"outcome": DONE, "seconds": 2.0, "found": found}


def spread(middle: float) -> dict[str, float]:
    return {"median": middle, "q1": 0.9 * middle, "q3": 1.1 * middle}


def run(**more: Any) -> dict[str, Any]:
    """A small made-up run."""
    graphs = done(
        holds=True,
        passes={
            "equal": False, "logits": 2e-6, "gradient": 3e-5, "times_faster": spread(1.5), "capture_seconds": 0.25,
            "capture_bytes": {"peak": 9e7, "kept": 8e7},
        },
        sessions={"times_faster": 1.25, "iou": [1.0, 0.9876]},
    )  # fmt: skip
    uncaptured = done(holds=True, passes={"reason": "no tape"}, sessions={"times_faster": 1.0, "iou": [1.0]})
    way = {
        "holds": True,
        "mean_iou": 1.0,
        "least_iou": 1.0,
        "satisfied": 5,
        "seconds_per_click": 0.02,
        "times_faster": 1.0,
    }
    ways = {
        "float32": way,
        "float16": {**way, "holds": False, "mean_iou": 0.912, "least_iou": 0.5, "times_faster": 1.75},
    }
    ours = {
        "per_click": spread(0.02), "passes": spread(2.25), "evaluations": [3], "overhead": spread(1.5),
        "overhead_of_passes_made": spread(2.0), "agrees_with_ours": True,
    }  # fmt: skip
    scipy = {"evaluations": [4], "times_ours": spread(3.0), "agrees_with_ours": True}
    clicks = done(
        case={"network": "unet", "point": "input", "size": 512, "clicks": 1, "name": "unet input 512"},
        plain=spread(0.009), contestants={"interactify": ours, "SciPy, whole": scipy},
        operations={"ratio": 0.857}, share_of_peak=0.3, memory={"ratio": 0.5, "ratio_with_kept": 1.5},
    )  # fmt: skip
    objects = done(
        case={"name": "objects unet input 512, 32"}, seconds={"interactify": spread(0.5)},
        times_batch={"interactify, one by one": spread(2.0), "SciPy, whole, one by one": spread(8.0)},
        pixels_unlike_alone=7,
    )  # fmt: skip
    memory = done(
        weights=97e6, all=500e6, run="step by step",
        steps={"open": {"peak": 100e6, "kept": 40e6}, "first click": {"peak": 200e6, "kept": 50e6}},
    )  # fmt: skip
    seconds = {step: {**spread(0.004), "slowest": 0.03} for step in ("set_image", "without a point", "with a point")}
    video = done(seconds=seconds, size=[1280, 720], resolution=256, frames_per_second=83.25)
    parts = {
        "tests marked gpu": done(
            in_short="60 passed, 1 failed", failed={"tests/test_gpu.py::test_x": "why"}, holds=False
        ),
        "graphs unet input 512": graphs,
        "graphs unet C 512": uncaptured,
        "precision unet input 512": done(ways=ways, holds=False),
        "clicks unet input 512": clicks,
        "objects unet input 512, 32": objects,
        "memory unet input 512": memory,
        "family smp FPN/mobilenet_v2": done(holds=True, in_short="every invariant"),
        "family timm resnet18": {"outcome": FAILED, "seconds": 3.0, "reason": "RuntimeError: no"},
        "video unet": video,
    }
    return {
        "machine": MACHINE,
        "tiny": False,
        "parts": parts,
        "left_out": {"clicks unet B 1024": "not reached"},
        **more,
    }


def test_every_kind_has_its_table() -> None:
    text = gpu_summary(run())
    for line in (
        "## In one command, on Made-up GPU",
        "9 parts were measured, in 21 seconds. **Does not hold**: tests marked gpu; precision unet input 512. "
        "**Failed**: family timm resnet18 (RuntimeError: no). **Not measured**: clicks unet B 1024 (not reached).",
        "60 passed, 1 failed.",
        "- `tests/test_gpu.py::test_x`: why",
        "| unet input 512 | yes | 3.0e-05 | × 1.50 | × 1.25 | 250 ms | 80 MB | 0.9876 |",
        "| unet C 512 | yes | no graph: no tape | – | × 1.00 | – | – | 1.0000 |",
        "| unet input 512 | float16 | **no** | 0.912 (≥ 0.500) | 5 of 5 | 20 | × 1.75 |",
        "| unet input 512 | 2.25 (2.02–2.48) | 20 (18–22), 3 | – | × 3.00 (2.70–3.30), 4 | – | – | 1.50 (2.00) | 0.857 "
        "| 30 % | 0.50 (1.50) |",
        "| unet input 512, 32 | 500 (450–550) | × 2.00 (1.80–2.20) | × 8.00 (7.20–8.80) | 7 |",
        "| unet input 512 | 97 | 100 (40) | 200 (50) | – | 500 | step by step |",
        "| smp FPN/mobilenet_v2 | yes | every invariant |",
        "| unet | 1280 × 720 | 256 | 83.2 | 4 (30) | 4 (30) | 4 (30) |",
    ):
        assert line in text, line
    assert "Passes ran step by step, the default" in text and "Every check" not in text and text.endswith("|\n")


def test_what_a_run_lacks_has_no_table() -> None:
    text = gpu_summary(run(parts={"family smp x": done(holds=True, in_short="fine")}, left_out={}))
    assert text.count("###") == 1 and "1 parts were measured, in 2 seconds. Every check of them holds." in text


def test_the_page_shows_it_where_it_is_there(tmp_path: Path) -> None:
    """The newest of each card; tries without a GPU, small parts and empty runs are no results."""
    assert "nothing is claimed from it" in speed_page.page_text(tmp_path)
    older = {**MACHINE, "date": "2029-01-01", "torch": "2.8.0"}
    (tmp_path / "gpu-made-up-2.json").write_text(json.dumps(run(machine=older)))
    (tmp_path / "gpu-tiny-made-up.json").write_text(json.dumps(run(tiny=True, machine={**MACHINE, "gpu": "tiny"})))
    (tmp_path / "gpu-cpu.json").write_text(json.dumps(run(machine={k: v for k, v in MACHINE.items() if k != "gpu"})))
    (tmp_path / "gpu-empty.json").write_text(json.dumps(run(parts={}, machine={**MACHINE, "gpu": "empty"})))
    assert "torch 2.8.0" in speed_page.page_text(tmp_path)
    (tmp_path / "gpu-made-up-1.json").write_text(json.dumps(run()))
    text = speed_page.page_text(tmp_path)
    assert text.count("## In one command, on ") == 1 and "torch 2.9.0" in text and "nothing is claimed" not in text
    assert text.endswith(gpu_summary(run())) and "There are no results here yet" in text
