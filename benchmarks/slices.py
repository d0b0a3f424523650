"""What carrying brings to a network of images on volumes: `python -m benchmarks.slices [--volumes 6] [--out FILE]`.

A small U-Net is trained on slices of easy synthetic volumes, a minute or two, and is measured on harder ones that it
never saw (`slice_volumes.py`). A simulated user goes through every tenth slice, the fifth first, and clicks in the
largest error up to five times, until the slice's IoU is 0.95. The figure is the IoU of the whole volume:

- own: the network's own prediction, before any click;
- without: after all clicks, with `reach=0`, so that only the clicked slices change;
- carried: after the same number of clicks at most, with corrections carried to the slices between;
- shapes: the masks of "without", and between them their signed distances interpolated (Raya & Udupa, "Shape-Based
  Interpolation of Multidimensional Objects", 1990), which looks at no picture: what carrying has to beat.

Intervals are those of the paired bootstrap over volumes (`paired.py`). The rule by which carrying stops was chosen on
other volumes than these: their seeds begin with 1, those of the measured ones with 2.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

import interactify
from benchmarks.paired import Interval, Stratum, paired_bootstrap, ratio
from benchmarks.slice_volumes import KINDS, MEAN, SIZE, STD, Truth, Volume, draw_volume, trained
from benchmarks.speed_measure import machine
from interactify.export.files import write_json
from interactify.interactions.next_click import next_click
from interactify.slices.corrections import iou

EVERY, FIRST, MOST, ENOUGH = 10, 5, 5, 0.95
OUT: Final = Path(__file__).parent / "results" / "slices.json"
HARD, EASY = "hard", "easy"


@dataclass(frozen=True)
class Worked:
    """What a user left: the mask (D, H, W), the slices worked on, clicks, evaluations, and how many were carried."""

    mask: NDArray[np.bool_]
    corrected: tuple[int, ...]
    clicks: int
    evaluations: int
    carried: int


def worked(net: interactify.Interactive, volume: Volume, truth: Truth, reach: int) -> Worked:
    """Every tenth slice clicked by the simulated user, with corrections carried over so many slices."""
    session = net.slices(volume, reach=reach)
    clicks = evaluations = 0
    for index in range(FIRST, len(volume), EVERY):
        clicked = np.zeros(volume.shape[1:], bool)
        for _ in range(MOST):
            mask = session.result.mask_of(index)
            if iou(mask, truth[index]) >= ENOUGH:
                break
            click = next_click(truth[index].astype(np.int8), mask, clicked)
            if click is None:
                break
            clicked[int(click.y), int(click.x)] = True
            evaluations += session.click(click.x, click.y, index, click.positive, carry=False).evaluations
            clicks += 1
        before = session.result.evaluations
        evaluations += session.carry().evaluations - before
    result = session.result
    return Worked(result.mask, result.corrected, clicks, evaluations, len(result.carried))


def interpolated(mask: NDArray[np.bool_], corrected: Sequence[int]) -> NDArray[np.bool_]:
    """A mask (D, H, W) with the shapes of corrected slices interpolated between them, and as they are beyond."""
    found = mask.copy()
    distances = {index: _distance(mask[index]) for index in corrected}
    for index in range(len(mask)):
        below = max((each for each in corrected if each <= index), default=None)
        above = min((each for each in corrected if each >= index), default=None)
        if below is None or above is None or below == above:
            one = below if above is None else above
            found[index] = mask[index] if one is None else mask[one]
        else:
            share = (index - below) / (above - below)
            found[index] = (1 - share) * distances[below] + share * distances[above] > 0
    return found


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels to the border, above 0 inside."""
    if mask.all() or not mask.any():
        return np.where(mask, 1.0, -1.0) * np.hypot(*mask.shape)
    inside: NDArray[np.float64] = distance_transform_edt(mask) - distance_transform_edt(~mask)
    return inside


def measured(net: interactify.Interactive, kind: str, shifted: bool, count: int) -> list[dict[str, Any]]:
    """A row of figures for each volume of a kind."""
    rows = []
    for number in range(count):
        volume, truth = draw_volume(kind, np.random.default_rng([2, KINDS.index(kind), number]), shifted=shifted)
        own = net.slices(volume).result.mask
        without, carried = (worked(net, volume, truth, reach) for reach in (0, EVERY))
        shapes = interpolated(without.mask, without.corrected)
        masks = {"own": own, "without": without.mask, "carried": carried.mask, "shapes": shapes}
        rows.append(
            {name: round(iou(mask, truth), 4) for name, mask in masks.items()}
            | {"clicked slices": [
                round(float(np.mean([iou(each.mask[z], truth[z]) for z in each.corrected] or [1.0])), 3)
                for each in (without, carried)]}
            | {"clicks": [without.clicks, carried.clicks], "evaluations": [without.evaluations, carried.evaluations],
               "carried slices": carried.carried}
        )  # fmt: skip
        print(kind, HARD if shifted else EASY, number, json.dumps(rows[-1]), flush=True)
    return rows


def difference(rows: Sequence[dict[str, Any]], before: str, after: str) -> Interval:
    """Of the mean IoU, after minus before, over volumes."""

    def stratum(name: str) -> Stratum:
        return Stratum(np.array([[row[name], 1.0] for row in rows]))

    return paired_bootstrap([stratum(before)], [stratum(after)], ratio)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over volumes, and what carrying changes, with its interval."""
    means: dict[str, Any] = {
        name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0] if name in FIGURES
    }
    for name in ("without", "shapes"):
        gain = difference(rows, name, "carried")
        means[f"carried - {name}"] = [round(each, 4) for each in (gain.value, gain.low, gain.high)]
    return means


FIGURES: Final = ("own", "without", "carried", "shapes", "carried slices")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=6, help="of each kind; %(default)s by default")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    net = interactify.wrap(trained(), mean=MEAN, std=STD, resolution=SIZE[1])
    results: dict[str, Any] = {}
    for shifted in (True, False):
        for kind in KINDS:
            rows = measured(net, kind, shifted, given.volumes)
            results[f"{kind}, {HARD if shifted else EASY}"] = {"summary": summary(rows), "volumes": rows}
            print(json.dumps(results[f"{kind}, {HARD if shifted else EASY}"]["summary"]), flush=True)
    write_json(given.out, {"size": SIZE, "every": EVERY, "results": results, "machine": machine()})


if __name__ == "__main__":
    main()
