"""What three readings of a click are worth: the best of them against the usual one, in sessions and in one call.

    python -m benchmarks.alternatives --data DIR [--every N]      # DIR holds GrabCut50/; three minutes of one core

A simulated user clicks at the centre of the largest error of the usual mask, three times. After each click the IoU of
all alternatives with the truth is taken, and of the three masks that `Predictor.predict` returns for all points so far,
with their scores. The results are JSON with each photo's figures, the machine and the versions; a table is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import interactify
from benchmarks.speed_measure import machine
from interactify.evaluation import Centre
from interactify.evaluation.data.dataset import Dataset
from interactify.evaluation.data.dataset_folders import folder
from interactify.evaluation.metrics import iou
from interactify.export.files import write_whole
from interactify.interactive import Interactive

CLICKS = 3
RESULTS = Path(__file__).parent / "results" / "alternatives.json"


@dataclass(frozen=True)
class Row:
    """One photo after some clicks.

    Attributes:
        name: of the photo.
        clicks: how many.
        session: the IoU of the narrow, usual and wide alternative.
        predictor: the IoU of the three masks of one call with all points.
        scores: what that call expects them to be.
    """

    name: str
    clicks: int
    session: tuple[float, ...]
    predictor: tuple[float, ...]
    scores: tuple[float, ...]


def measured(net: Interactive, photos: Dataset, clicks: int = CLICKS) -> list[Row]:
    """Click through each photo once."""
    predictor, user, rows = interactify.Predictor(net), Centre(), []
    for sample in tqdm(photos, total=len(photos.photos), leave=False):
        session, clicked = net.session(sample.photo), np.zeros(sample.truth.shape, bool)
        predictor.set_image(sample.photo)
        for count in range(1, clicks + 1):
            turn = user.turn(sample, session.result.mask, clicked, 1)
            if not turn:
                break
            result = session.add(turn[0])
            points = [(int(each.x), int(each.y)) for each in result.clicks]
            clicked[points[-1][::-1]] = True
            masks, scores, _ = predictor.predict(points, [int(each.positive) for each in result.clicks])
            found = (tuple(iou(sample.truth, each.mask) for each in result.alternatives),
                     tuple(iou(sample.truth, each > 0) for each in masks), tuple(scores.tolist()))  # fmt: skip
            rows.append(Row(sample.name, count, *found))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The means after each click, as Markdown."""
    lines = [
        "| clicks | narrow | usual | wide | best of three | Predictor: best of three | highest score | score − IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count in sorted({row.clicks for row in rows}):
        these = [row for row in rows if row.clicks == count]
        session, called, scores = (
            np.array([getattr(row, name) for row in these]) for name in ("session", "predictor", "scores")
        )
        picked = called[np.arange(len(these)), scores.argmax(1)]
        means = (*session.mean(0), session.max(1).mean(), called.max(1).mean(), picked.mean(), (scores - called).mean())
        lines.append(f"| {count} | " + " | ".join(f"{each:.3f}" for each in means) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds GrabCut50/")
    parser.add_argument("--every", type=int, default=1, help="take each n-th photo")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = measured(interactify.wrap(interactify.zoo.load()), folder(chosen.data / "GrabCut50").every(chosen.every))
    found = {"machine": machine(), "every": chosen.every, "rows": [asdict(row) for row in rows]}
    write_whole(chosen.out, json.dumps(found, indent=1).encode())
    print(table(rows))


if __name__ == "__main__":
    main()
