"""Clicks on maps of numbers with trained networks: `python -m benchmarks.values matting DIR`, and `… depth DIR`.

Trains the network into DIR, where it is not there yet (benchmarks/value_networks.py; a few minutes of one core), and
lets a simulated user say ten times what the map should be where it is most wrong (benchmarks/value_clicks.py), on
pictures that no training drew. Half of the pictures choose the width of the Gaussian that refinement is compared with;
the other half are reported. benchmarks/results/values.json keeps figures with paired bootstrap intervals over pictures
(benchmarks/paired.py), each picture's errors, and the machine; a table is printed. `--data DIR` adds cut-outs of
ECSSD's photos to the mattes. `--picture FILE` draws the map before and after.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import interactify
from benchmarks.drawn_training import MEAN, STD
from benchmarks.paired import Interval, Stratum, bootstrap, paired_bootstrap, ratio
from benchmarks.speed_measure import machine
from benchmarks.value_clicks import Answer, Blobs, Fitted, Map, Refined, order_click, value_click
from benchmarks.value_networks import NETWORKS, DrawnValues, Scene
from benchmarks.value_pictures import picture_of
from interactify.export.files import write_whole
from interactify.values import HigherValue, ValueClick, ValueNetwork

RESULTS: Final = Path(__file__).parent / "results" / "values.json"
CLICKS: Final = 10
AFTER: Final = (1, 2, 3, 5, 10)
WIDTHS: Final = (0.03, 0.06, 0.12, 0.25)  # of the Gaussians that are tried
FAR: Final = 0.25  # of the longer side: what is farther from a click than that is not what the click is about
WORSE: Final = 0.01  # of the error before: a click that adds more than this has made the map worse
Errors = dict[str, float]
Way = Callable[[Scene, Map], Answer]


@dataclass
class Run:
    """One picture under one way to answer.

    Attributes:
        scene: its name.
        errors: of the map before and after each click, by the metric's name.
        evaluations: of each click.
        collateral: of each click, the share of the picture far from it that was right, within the tolerance, and is not
            any more.
        satisfied: whether each click left everything satisfied; of sessions alone.
    """

    scene: str
    errors: list[Errors] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    collateral: list[float] = field(default_factory=list)
    satisfied: list[bool] = field(default_factory=list)

    def after(self, metric: str, clicks: int) -> float:
        """A metric after that many clicks; after the last one where the user found nothing more to say."""
        return self.errors[min(clicks, len(self.errors) - 1)][metric]


def errors_of(kind: str, values: Map, truth: Map) -> Errors:
    """Of mattes the mean absolute error and their sum in thousands; of depths the RMSE and the share δ < 1.25."""
    error = np.abs(values.astype(np.float64) - truth)
    if kind == "matting":
        return {"mae": float(error.mean()), "sad": float(error.sum() / 1000)}
    ratios = np.maximum(values, 1e-3) / truth
    close = np.maximum(ratios, 1 / ratios) < 1.25
    return {"rmse": float(np.sqrt((error**2).mean())), "delta": float(close.mean())}


def clicked_through(kind: str, scene: Scene, answer: Answer, tolerance: float, orders: bool, clicks: int) -> Run:
    """One picture, click by click."""
    run = Run(scene.name, [errors_of(kind, answer.values, scene.truth)])
    clicked, told = np.zeros(scene.truth.shape, bool), set[tuple[int, ...]]()
    for _ in range(clicks):
        said: ValueClick | HigherValue | None
        if orders:
            said = order = order_click(scene.truth, answer.values, told)
            if order is not None:
                told.add((int(order.x), int(order.y), int(order.than_x), int(order.than_y)))
        else:
            said = click = value_click(scene.truth, answer.values, tolerance, clicked)
            if click is not None:
                clicked[int(click.y), int(click.x)] = True
        if said is None:
            break
        before = np.abs(answer.values - scene.truth) <= tolerance
        run.evaluations.append(answer.add(said))
        rows, columns = np.mgrid[: before.shape[0], : before.shape[1]]
        far = np.hypot(columns - said.x, rows - said.y) > FAR * max(before.shape)
        wrecked = far & before & (np.abs(answer.values - scene.truth) > tolerance)
        run.collateral.append(float(wrecked.mean()))
        run.errors.append(errors_of(kind, answer.values, scene.truth))
        if isinstance(answer, Refined):
            run.satisfied.append(answer.session.result.satisfied)
    return run


def figures(runs: Sequence[Run], metric: str, others: Sequence[Run] | None = None) -> dict[str, Any]:
    """A metric after clicks with its interval, its paired change since before them, and difference from other runs."""
    found: dict[str, Any] = {}
    for clicks in (0, *AFTER):
        mine = _stratum(runs, metric, clicks)
        found[f"{metric}_{clicks}"] = _numbers(bootstrap([mine], ratio))
        found[f"{metric}_{clicks}_change"] = _numbers(paired_bootstrap([_stratum(runs, metric, 0)], [mine], ratio))
        if others is not None:
            found[f"{metric}_{clicks}_difference"] = _numbers(
                paired_bootstrap([_stratum(others, metric, clicks)], [mine], ratio)
            )
    return found


def harm(runs: Sequence[Run], metric: str) -> dict[str, Any]:
    """How many clicks make the map worse, by how much, and what a click costs."""
    before, after = (
        np.array([each[metric] for run in runs for each in (run.errors[:-1], run.errors[1:])[side]]) for side in (0, 1)
    )
    grown = (after - before) / np.maximum(before, 1e-12)
    worse = grown > WORSE
    satisfied = [each for run in runs for each in run.satisfied]
    return {
        "clicks": len(before),
        "worse": round(float(worse.mean()), 4) if len(before) else None,
        "worse_by": round(float(grown[worse].mean()), 4) if worse.any() else 0.0,
        "worst": round(float(grown.max(initial=0.0)), 4),
        "collateral": round(float(np.mean([each for run in runs for each in run.collateral] or [0])), 5),
        "evaluations_per_click": round(float(np.mean([each for run in runs for each in run.evaluations] or [0])), 2),
        "satisfied": round(float(np.mean(satisfied)), 4) if satisfied else None,
    }


def ways_of(kind: str, net: ValueNetwork, width: float) -> dict[str, tuple[Way, bool]]:
    """The ways to answer, and whether the user speaks of orders."""
    aligning = replace(net, alignment="scale_shift")
    found: dict[str, tuple[Way, bool]] = {
        "refined": (lambda scene, own: Refined(net, scene, own), False),
        "gaussian": (lambda scene, own: Blobs(own, width), False),
    }
    if kind == "depth":
        found["scale and shift"] = (lambda scene, own: Fitted(own), False)
        found["refined, aligned"] = (lambda scene, own: Refined(aligning, scene, own), False)
        found["orders"] = (lambda scene, own: Refined(net, scene, own), True)
    return found


def measure(
    network: DrawnValues, folder: Path, data: Path | None, count: int, clicks: int, only: Sequence[str] = ()
) -> dict[str, Any]:
    """All figures of one network; or those of some ways to answer, with the Gaussian that all are compared with."""
    kind, tolerance = network.name, network.tolerance
    metric = "mae" if kind == "matting" else "rmse"
    net = interactify.wrap_values(network.load(folder), mean=MEAN, std=STD, tolerance=tolerance)
    scenes = {name: each for name, each in network.scenes(data, 2 * count).items()}
    halves = [[scene for each in scenes.values() for scene in each[half::2]] for half in (0, 1)]
    own = {scene.name: net.session(scene.picture).result.values for half in halves for scene in half}

    def run(way: Way, orders: bool, half: Sequence[Scene]) -> list[Run]:
        return [clicked_through(kind, scene, way(scene, own[scene.name]), tolerance, orders, clicks) for scene in half]

    tried = {
        width: float(
            np.mean(
                [
                    each.after(metric, k)
                    for each in run(ways_of(kind, net, width)["gaussian"][0], False, halves[0])
                    for k in AFTER
                ]
            )
        )
        for width in WIDTHS
    }
    width = min(tried, key=lambda each: tried[each])
    ways = {name: way for name, way in ways_of(kind, net, width).items() if not only or name in (*only, "gaussian")}
    runs = {name: run(way, orders, halves[1]) for name, (way, orders) in ways.items()}
    rows = {}
    for name, each in runs.items():
        rows[name] = {
            **figures(each, metric, None if name == "gaussian" else runs["gaussian"]),
            **harm(each, metric),
            **{
                f"{other}_{k}": round(float(np.mean([one.after(other, k) for one in each])), 4)
                for other in each[0].errors[0]
                if other != metric
                for k in (0, *AFTER)
            },
            "pictures": {one.scene: [round(error[metric], 5) for error in one.errors] for one in each},
        }
    per_set = {
        name: {
            way: {
                str(k): round(float(np.mean([one.after(metric, k) for one in each if one.scene.startswith(name)])), 5)
                for k in (0, *AFTER)
            }
            for way, each in runs.items()
        }
        for name in scenes
    }
    return {
        "pictures": len(halves[1]),
        "metric": metric,
        "tolerance": tolerance,
        "gaussian_width": width,
        "gaussians": {str(key): round(value, 5) for key, value in tried.items()},
        "steps": network.recipe.steps,
        "with_photos": data is not None,
        "sets": per_set,
        "rows": rows,
    }


def table(found: Mapping[str, Any]) -> str:
    """The reported half as Markdown."""
    metric = found["metric"]
    lines = [
        f"| {metric} | before | "
        + " | ".join(f"{k}" for k in AFTER)
        + " | made worse | by | wrong far away | evaluations |",
        "|---|---|" + "---|" * (len(AFTER) + 4),
    ]
    for name, row in found["rows"].items():
        values = " | ".join(f"{row[f'{metric}_{k}'][0]:.4f}" for k in (0, *AFTER))
        lines.append(
            f"| {name} | {values} | {row['worse']:.0%} | {row['worse_by']:.0%} | {row['collateral']:.2%} | "
            f"{row['evaluations_per_click']:.1f} |"
        )
    return "\n".join(lines)


def _stratum(runs: Sequence[Run], metric: str, clicks: int) -> Stratum:
    return Stratum(np.array([[run.after(metric, clicks), 1.0] for run in runs]))


def _numbers(interval: Interval) -> list[float]:
    return [round(each, 5) for each in (interval.value, interval.low, interval.high)]


def keep(name: str, found: Mapping[str, Any]) -> None:
    """Keep one network's figures beside the other's, and those of ways that were not measured again."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    before = stored.get(name, {})
    rows = {**before.get("rows", {}), **found["rows"]}
    sets = {key: {**before.get("sets", {}).get(key, {}), **each} for key, each in found["sets"].items()}
    text = json.dumps({**stored, name: {"machine": machine(), **found, "rows": rows, "sets": sets}}, indent=1)
    write_whole(RESULTS, (text + "\n").encode())


def main() -> None:
    """Train where needed, measure, keep and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("folder", type=Path, help="for the weights, and for the state of the training")
    parser.add_argument("--data", type=Path, help="the folder that holds ECSSD/")
    parser.add_argument("--only", choices=("train", "measure"), help="one half of the work")
    parser.add_argument("--count", type=int, default=6, help="reported pictures of each set")
    parser.add_argument("--clicks", type=int, default=CLICKS)
    parser.add_argument("--ways", nargs="+", default=[], help="measure these alone, as the table calls them")
    parser.add_argument("--picture", type=Path, help="draw maps before and after three clicks, and measure nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = NETWORKS[given.network]
    if given.only != "measure" and not (given.folder / f"{network.name}.pt").is_file():
        network.train(given.folder, given.data)
    if given.picture:
        drawn(network, given.folder, given.data, given.count, given.picture)
    elif given.only != "train":
        found = measure(network, given.folder, given.data, given.count, given.clicks, given.ways)
        keep(network.name, found)
        print(table(found))


def drawn(network: DrawnValues, folder: Path, data: Path | None, count: int, out: Path) -> None:
    """One reported picture of each set: itself, the truth, the map before and after three clicks, and the errors."""
    net = interactify.wrap_values(network.load(folder), mean=MEAN, std=STD, tolerance=network.tolerance)
    rows = []
    for scenes in network.scenes(data, 2 * count).values():
        scene = scenes[1]
        answer = Refined(net, scene, np.zeros(0, np.float32))
        before = answer.values
        clicked_through(network.name, scene, answer, network.tolerance, False, 3)
        clicks = [(int(each.x), int(each.y)) for each in answer.session.interactions if isinstance(each, ValueClick)]
        rows.append((scene.picture, scene.truth, before, answer.values, clicks))
    picture_of(rows).save(out, quality=85)


if __name__ == "__main__":
    main()
