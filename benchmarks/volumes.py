"""Clicks in volumes, measured: `python -m benchmarks.volumes train DIR [--network N]`, then `measure DIR`.

`train` trains a small 3-D network on drawn tubes and blobs (benchmarks/drawn_volumes.py), seeded, about ten minutes on
one core, into DIR: a U-Net for 1200 steps, MONAI's SegResNet for 500, and the U-Net of benchmarks/volume_edges.py on
its own, easier volumes. `measure` lets the simulated user click on volumes that no training drew, of the same kind and
of others (more noise, a bias field), for each of several variables. The first mask, before any click, is what there is
without refinement. benchmarks/results/volumes.json keeps figures, curves, the paired differences from variables "input"
with bootstrap intervals over volumes, and the machine; `picture` draws three planes of a volume before and after
clicks, and the curves.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

import interactify
from benchmarks import volume_edges
from benchmarks.drawn_volumes import SETS, SmallUNet3d, samples, trained
from benchmarks.paired import Interval, Stratum, paired_bootstrap, ratio
from benchmarks.slice_volumes import KINDS, MEAN, STD
from benchmarks.speed_measure import machine
from benchmarks.volume_pictures import beside, curves, three_planes
from interactify.checkpoints import load_into, read_weights
from interactify.evaluation import Centre, Evaluation, Sample, VolumeRecord, area_under_curve, evaluate
from interactify.evaluation.run import click_through

RESULTS: Final = Path(__file__).parent / "results" / "volumes.json"
VARIABLES: Final = ("input", "smooth_input")
LOSING: Final = 0.02  # of IoU: a click that takes away more counts as one that harms
Report = Callable[[int, float], None]


def segresnet() -> nn.Module:
    """MONAI's SegResNet (Myronenko, 2018) of 178,000 weights, with group norms."""
    from monai.networks.nets import SegResNet

    network: nn.Module = SegResNet(
        3, init_filters=8, in_channels=1, out_channels=1, blocks_down=(1, 2, 2), blocks_up=(1, 1)
    )
    return network


def easier(name: str, count: int) -> list[Sample]:
    """Volumes of a set of benchmarks/volume_edges.py, harder than those that its network was trained on."""
    pairs = [volume_edges.drawn(name, [2, KINDS.index(name), index], shifted=True) for index in range(count)]
    return [Sample(f"{i:02d}", volume, truth.astype(np.int8)) for i, (volume, truth) in enumerate(pairs)]


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and the sets of volumes that it is clicked on."""

    make: Callable[[], nn.Module]
    file: str
    train: Callable[[Report], nn.Module]
    sets: tuple[str, ...] = tuple(SETS)
    samples: Callable[[str, int], list[Sample]] = samples
    mean: float = 0.0
    std: float = 1.0

    def load(self, folder: Path) -> nn.Module:
        """The trained network, in evaluation mode."""
        path = folder / self.file
        return load_into(self.make(), read_weights(path), path).eval()


NETWORKS: Final = {
    "U-Net": Case(SmallUNet3d, "volumes.pt", lambda report: trained(1200, report=report)),
    "SegResNet": Case(
        segresnet, "volumes-segresnet.pt", lambda report: trained(500, report=report, make=segresnet)
    ),
    "smaller U-Net": Case(
        volume_edges.Small3d, "volumes-small.pt", lambda report: volume_edges.trained(), KINDS, easier, MEAN, STD
    ),
}  # fmt: skip


def train(folder: Path, name: str) -> None:
    """Train a network into FOLDER."""
    started = time.monotonic()

    def report(step: int, loss: float) -> None:
        print(f"{step} steps, {time.monotonic() - started:.0f} s, loss {loss:.3f}", flush=True)

    network = NETWORKS[name].train(report)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / NETWORKS[name].file)


def figures(run: Evaluation) -> dict[str, Any]:
    """IoU after k clicks, NoC, failures, surface distances, and what a click costs."""
    surfaces = [record.surface for record in run.records if isinstance(record, VolumeRecord)]
    own = [record.curve for record in run.records]
    steps = np.concatenate([np.diff(curve) for curve in own])
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
        "clicks": len(steps),
        "losing_clicks": int((steps < -LOSING).sum()),
        "gained": round(float(steps.clip(min=0).sum()), 3),
        "lost_in_sum": round(float(-steps.clip(max=0).sum()), 3),
        "curves": [[round(value, 4) for value in curve] for curve in own],
    }


def measure(folder: Path, name: str, first: int, last: int, clicks: int, variables: Sequence[str]) -> None:
    """Measure a network on volumes from `first` up to `last` of each of its sets, and keep the rows."""
    case = NETWORKS[name]
    network = case.load(folder)
    for of_set in case.sets:
        volumes = case.samples(of_set, last)[first:]
        for each in variables:
            net = interactify.wrap(network, variables=each, mean=case.mean, std=case.std)
            run = evaluate(net, volumes, clicks=clicks, progress=False)
            row = {"set": of_set, "network": name, "variables": each, "volumes": [first, last], **figures(run)}
            print({key: value for key, value in row.items() if key != "curves"}, flush=True)
            keep_row(row)


def keep_row(row: dict[str, Any]) -> None:
    """Put a row in the place of the one of the same network, set, volumes and variables; and compare all again."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    rows = [each for each in stored if _which(each) != _which(row)] + [row]
    rows.sort(key=lambda each: (each["volumes"], list(NETWORKS).index(each["network"])))
    keep({"rows": rows, "differences": differences(rows)})


def differences(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of the mean IoU after 1 to 5 clicks, from variables "input" to the others: value, low and high.

    For each network and set, for each network, and for all, by the paired bootstrap over volumes.
    """
    by_name = {_which(row): row for row in rows}
    pairs: dict[tuple[str, str], list[tuple[str, str, Stratum, Stratum]]] = {}
    for row in rows:
        before = by_name.get((*_which(row)[:3], "input"))
        if before is not None and row["variables"] != "input":
            strata = [
                Stratum(np.array([[np.mean(_filled(c)[1:]), 1.0] for c in each["curves"]])) for each in (before, row)
            ]
            key = (row["variables"], "-".join(map(str, row["volumes"])))
            pairs.setdefault(key, []).append((row["network"], row["set"], strata[0], strata[1]))
    found = []
    for (variables, volumes), each in pairs.items():
        groups = [("all", "all", each)]
        for network in dict.fromkeys(pair[0] for pair in each):
            own = [pair for pair in each if pair[0] == network]
            groups += [(network, "all", own), *((network, pair[1], [pair]) for pair in own)]
        for network, of_set, chosen in groups:
            gain: Interval = paired_bootstrap([pair[2] for pair in chosen], [pair[3] for pair in chosen], ratio)
            numbers = [round(value, 4) for value in (gain.value, gain.low, gain.high)]
            found.append(
                {"network": network, "of": of_set, "variables": variables, "volumes": volumes, "gain": numbers}
            )
    return found


def _filled(curve: Sequence[float], clicks: int = 5) -> list[float]:
    """A curve that ended because nothing was wrong any more goes on at its last value."""
    return [*curve, *[curve[-1]] * (clicks + 1 - len(curve))]


def _which(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["network"], row["set"], str(row["volumes"]), row["variables"]


def picture(folder: Path, network: str, name: str, index: int, variables: str, clicks: int, out: Path) -> None:
    """Three planes of one volume before and after the clicks; beside them the set's curves, where they are measured."""
    case = NETWORKS[network]
    sample = case.samples(name, index + 1)[index]
    assert isinstance(sample.photo, np.ndarray)
    net = interactify.wrap(case.load(folder), variables=variables, mean=case.mean, std=case.std)
    _, before = click_through(net, sample, 0, Centre())
    _, after = click_through(net, sample, clicks, Centre())
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    lines = {
        row["variables"]: row["iou"]
        for row in rows
        if row["set"] == name and row["network"] == network and row["volumes"][0] <= index < row["volumes"][1]
    }
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
    parser.add_argument("--network", choices=list(NETWORKS), default="U-Net")
    parser.add_argument("--first", type=int, default=4, help="volume of each set; rules were chosen on 0 to 3")
    parser.add_argument("--count", type=int, default=4, help="volumes of each set")
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--variables", nargs="+", default=list(VARIABLES))
    parser.add_argument("--set", dest="name", choices=(*SETS, *KINDS), default="bias field", help="of the picture")
    parser.add_argument("--index", type=int, default=0, help="of the picture's volume")
    parser.add_argument("--out", type=Path, default=Path("volumes.png"))
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if given.what == "train":
        train(given.folder, given.network)
    elif given.what == "measure":
        last = given.first + given.count
        measure(given.folder, given.network, given.first, last, given.clicks, given.variables)
    else:
        variables = given.variables[-1]
        picture(given.folder, given.network, given.name, given.index, variables, given.clicks, given.out)


if __name__ == "__main__":
    main()
