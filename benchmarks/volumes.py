"""Clicks in volumes, measured: `python -m benchmarks.volumes train DIR`, then `measure DIR`.

`train` trains a small 3-D U-Net on drawn tubes and blobs (benchmarks/drawn_volumes.py), seeded, about ten minutes on
one core, into DIR/volumes.pt. `measure` lets the simulated user click on volumes that no training drew, of the same
kind and of two others (more noise, a bias field), for each of several variables. The first mask, before any click, is
what there is without refinement. benchmarks/results/volumes.json keeps figures, curves and the machine; `picture`
draws three planes of a volume before and after clicks, and the curves.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

import interactify
from benchmarks.drawn_volumes import SETS, SmallUNet3d, samples, trained
from benchmarks.speed_measure import machine
from benchmarks.volume_pictures import beside, curves, three_planes
from interactify.checkpoints import load_into, read_weights
from interactify.evaluation import Centre, Evaluation, Sample, VolumeRecord, area_under_curve, evaluate
from interactify.evaluation.run import click_through

RESULTS: Final = Path(__file__).parent / "results" / "volumes.json"
VARIABLES: Final = ("input", "kernels")
STEPS: Final = 1200
WEIGHTS: Final = "volumes.pt"


def load(folder: Path) -> nn.Module:
    """The trained network of `train`, in evaluation mode."""
    path = folder / WEIGHTS
    return load_into(SmallUNet3d(), read_weights(path), path).eval()


def train(folder: Path, steps: int = STEPS) -> None:
    """Train into FOLDER/volumes.pt."""
    started = time.monotonic()

    def report(step: int, loss: float) -> None:
        print(f"{step} steps, {time.monotonic() - started:.0f} s, loss {loss:.3f}", flush=True)

    network = trained(steps, report=report)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / WEIGHTS)


def figures(run: Evaluation) -> dict[str, Any]:
    """IoU after k clicks, NoC, failures, surface distances, and what a click costs."""
    surfaces = [record.surface for record in run.records if isinstance(record, VolumeRecord)]
    own = [record.curve for record in run.records]
    return {
        "objects": len(own),
        "iou": [round(run.iou_after(k), 4) for k in range(run.clicks + 1)],
        "noc": {f"{q:.2f}": round(run.noc(q), 2) for q in (0.8, 0.85, 0.9)},
        "never": {f"{q:.2f}": run.failures(q) for q in (0.8, 0.85, 0.9)},
        "area_under_curve": round(float(np.mean([area_under_curve(curve, run.clicks) for curve in own])), 4),
        "satisfied": round(run.satisfied, 4),
        "evaluations_per_click": round(run.evaluations_per_click, 2),
        "surface_before": _means([surface[0] for surface in surfaces]),
        "surface_after": _means([surface[-1] for surface in surfaces]),
        "lost": sum(curve[-1] < curve[0] - 0.01 for curve in own),
        "curves": [[round(value, 4) for value in curve] for curve in own],
    }


def measure(folder: Path, count: int, clicks: int, variables: Sequence[str]) -> dict[str, Any]:
    """All rows: by set and variables."""
    network, rows = load(folder), []
    for name in SETS:
        volumes = samples(name, count)
        for each in variables:
            net = interactify.wrap(network, variables=each, mean=0, std=1)
            row = {"set": name, "variables": each, **figures(evaluate(net, volumes, clicks=clicks, progress=False))}
            print({key: value for key, value in row.items() if key != "curves"}, flush=True)
            rows.append(row)
            keep({"clicks": clicks, "rows": rows})
    return {"clicks": clicks, "rows": rows}


def picture(folder: Path, name: str, index: int, variables: str, clicks: int, out: Path) -> None:
    """Three planes of one volume before and after the clicks; beside them the set's curves, where they are measured."""
    sample = samples(name, index + 1)[index]
    assert isinstance(sample.photo, np.ndarray)
    net = interactify.wrap(load(folder), variables=variables, mean=0, std=1)
    _, before = click_through(net, sample, 0, Centre())
    _, after = click_through(net, sample, clicks, Centre())
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    lines = {row["variables"]: row["iou"] for row in rows if row["set"] == name}
    beside(three_planes(sample.photo, sample.truth, [before, after], middle_of(sample)), curves(lines)).save(out)


def middle_of(sample: Sample) -> tuple[int, int, int]:
    """The voxel of the object that is nearest to its middle."""
    places = np.argwhere(sample.truth == 1)
    z, y, x = places[np.linalg.norm(places - places.mean(0), axis=1).argmin()].tolist()
    return z, y, x


def _means(pairs: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Means of [mean, 95th percentile]; None where one of them is not known."""
    means: list[float | None] = []
    for column in zip(*pairs, strict=True):
        known = [each for each in column if each is not None]
        means.append(round(float(np.mean(known)), 3) if len(known) == len(column) else None)
    return means


def keep(found: dict[str, Any]) -> None:
    """Keep a part of the results beside the others in the file."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    text = json.dumps({**stored, "machine": machine(), **found}, separators=(",", ":"))
    RESULTS.write_text(text.replace('{"set"', '\n{"set"') + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "measure", "picture"))
    parser.add_argument("folder", type=Path, help="with the weights")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the training")
    parser.add_argument("--count", type=int, default=6, help="volumes of each set")
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--variables", nargs="+", default=list(VARIABLES))
    parser.add_argument("--set", dest="name", choices=list(SETS), default="bias field", help="of the picture")
    parser.add_argument("--index", type=int, default=0, help="of the picture's volume")
    parser.add_argument("--out", type=Path, default=Path("volumes.png"))
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if given.what == "train":
        train(given.folder, given.steps)
    elif given.what == "measure":
        measure(given.folder, given.count, given.clicks, given.variables)
    else:
        picture(given.folder, given.name, given.index, given.variables[0], given.clicks, given.out)


if __name__ == "__main__":
    main()
