"""Clicks that a network of eleven classes needs, and their effect on the other classes.

    python -m benchmarks.camvid_network --data DIR     # trains the network, once
    python -m benchmarks.classes --data DIR            # clicks through objects of CamVid's validation frames

Each row is one configuration over the same objects, each with its class (`net.session(photo, target=class)`). Besides
the usual figures, the whole frame's label map under the session's variables is compared with the truth before and after
the clicks: the variables change all classes, though the clicks are about one. Results are saved as JSON in
benchmarks/results/, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import interactify
from benchmarks.accuracy import OPTIONS, machine, recorded, summary
from benchmarks.camvid_frames import CLASSES, read_labels
from benchmarks.camvid_network import MEAN, SIZE, STD, WEIGHTS, load
from benchmarks.camvid_objects import class_objects
from benchmarks.class_maps import LabelMap, Others, colours, compared, label_maps
from interactify import draw
from interactify.evaluation import Evaluation, Record, Sample
from interactify.evaluation.metrics import continued
from interactify.evaluation.run import click_through
from interactify.evaluation.simulated_user import user_named
from interactify.interactions.click import Click
from interactify.interactive import Interactive
from interactify.pictures.decode import PhotoLike
from interactify.session.session import Session
from interactify.session.session_file import fingerprint

AFTER = (0, 1, 3, 5, 10)  # clicks
# CamVid's own colours, changed where they are too similar on a small sheet; the last is black, for the unlabelled.
PALETTE = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 160, 0), (0, 128, 192), (0, 0, 0),
)  # fmt: skip


@dataclass
class Watched:
    """A wrapped network that stores its last session, whose steps are read afterwards."""

    net: Interactive
    last: Session | None = None

    def session(self, photo: PhotoLike, *, target: int | str | None = None) -> Session:
        self.last = self.net.session(photo, target=target)
        return self.last


@dataclass(frozen=True)
class Clicked:
    """One object: its record, the other classes after 0, 1, 2, … clicks, and its label maps."""

    sample: Sample
    record: Record
    others: list[Others]
    maps: tuple[LabelMap, LabelMap]
    """Before the first click and after the last."""


def wrapped(weights: Path, **options: Any) -> Interactive:
    """The network of `benchmarks.camvid_network`, ready for clicks."""
    return interactify.wrap(
        load(weights), mean=MEAN, std=STD, resolution=max(SIZE), class_names=CLASSES, activation="none", **options
    )


def clicked(net: Interactive, sample: Sample, labels: np.ndarray, clicks: int) -> Clicked:
    """Let the simulated user click on one object, and compare all classes; `labels` (H, W) are the frame's."""
    watched = Watched(net)
    record, _ = click_through(watched, sample, clicks, user_named("centre"))  # type: ignore[arg-type]  # needs only `session`
    assert watched.last is not None and isinstance(sample.target, int)
    maps = label_maps(watched.last)
    return Clicked(sample, record, [compared(labels, each, sample.target) for each in maps], (maps[0], maps[-1]))


def figures(objects: Sequence[Clicked], clicks: int) -> dict[str, Any]:
    """The figures of `benchmarks.accuracy`, and those of the other classes, rounded to their precision."""
    steps = [k for k in AFTER if k <= clicks]

    def mean(field: str, k: int) -> float:
        return round(
            float(np.mean([continued([getattr(o, field) for o in each.others], clicks)[k] for each in objects])), 4
        )

    counted = summary(Evaluation(tuple(each.record for each in objects), clicks))
    counted["objects"] = counted.pop("photos")
    return counted | {
        "label_map_iou_after": {k: mean("all_classes", k) for k in steps},
        "other_classes_iou_after": {k: mean("other_classes", k) for k in steps},
        "other_classes_pixels_right_after": {k: mean("kept", k) for k in steps},
    }


def by_class(objects: Sequence[Clicked], clicks: int) -> dict[str, Any]:
    """IoU after k clicks and NoC@85 of each class with objects."""
    found = {}
    for k, name in enumerate(CLASSES):
        run = Evaluation(tuple(each.record for each in objects if each.sample.target == k), clicks)
        if run.records:
            iou = {n: round(run.iou_after(n), 4) for n in AFTER if n <= clicks}
            found[name] = {"objects": len(run.records), "iou_after": iou, "noc_85": round(run.noc(0.85), 3)}
    return found


def _rounded(others: Others) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(others).items()}


def sheet(objects: Sequence[Clicked], root: Path, title: str, most: int = 10) -> np.ndarray:
    """A contact sheet of some objects: truth, clicks on the label map before, and the label map after."""
    panels = []
    for chosen in objects[:: max(1, -(-len(objects) // most))]:
        sample, record = chosen.sample, chosen.record
        with Image.open(str(sample.photo)) as image:
            photo = np.array(image.convert("RGB"))
        clicks = [Click(x, y, positive) for gesture in record.clicks for x, y, positive in gesture]
        before, after = ((photo * 0.4 + colours(each, PALETTE) * 0.6).astype(np.uint8) for each in chosen.maps)
        nowhere = np.zeros(photo.shape[:2], bool)
        iou = f"IoU {record.curve[0]:.3f} to {record.curve[-1]:.3f} in {len(record.clicks)} clicks"
        others = f"others {chosen.others[0].other_classes:.3f} to {chosen.others[-1].other_classes:.3f}"
        panels += [
            (f"{sample.name}\ntruth", draw.overlay(photo, sample.truth == 1)),
            (f"before\n{iou}", draw.overlay(before, nowhere)),
            (f"after\n{others}", draw.overlay(after, nowhere, clicks=clicks)),
        ]
    return draw.contact_sheet(panels, columns=3, title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with CamVid/")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help=f"by default {WEIGHTS}")
    parser.add_argument("--every", type=int, default=1, help="take every n-th validation frame")
    parser.add_argument("--objects", type=int, default=4, help="the most objects of each class, spread over the frames")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--rows", nargs="*", default=["default"], help=f"of: {'; '.join(OPTIONS)}; or: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "classes.json")
    parser.add_argument(
        "--sheets", type=Path, help="folder for contact sheets; they show the data, so keep them private"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = Path(given.data)
    samples = class_objects(data, given.every, given.objects)
    results: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    trained = given.weights.with_suffix(".json")
    for name in list(OPTIONS) if given.rows == ["all"] else given.rows:
        net = wrapped(given.weights, **OPTIONS[name])
        objects = []
        for sample in tqdm(samples, desc=name):
            labels = read_labels(data, sample.name.split("#")[0])
            objects.append(clicked(net, sample, labels, given.clicks))
        row = {
            "summary": figures(objects, given.clicks),
            "by_class": by_class(objects, given.clicks),
            "network": {"weights": fingerprint(net.unwrap())[:16]}
            | (json.loads(trained.read_text()) if trained.exists() else {}),
            "machine": machine(),
            "records": [
                recorded(each.record) | {"others": [_rounded(others) for others in each.others]} for each in objects
            ],
        }
        print(f"{name}\n{json.dumps(row['summary'], indent=1)}\n")
        key = f"CamVid validation, every {given.every}, {given.objects} objects a class, {given.clicks} clicks"
        results.setdefault(key, {})[name] = row
        given.out.parent.mkdir(parents=True, exist_ok=True)
        # After each row, so that an interrupted run keeps the finished ones.
        given.out.write_text(json.dumps(results, indent=1) + "\n")
        if given.sheets:
            given.sheets.mkdir(parents=True, exist_ok=True)
            Image.fromarray(sheet(objects, data, name)).save(given.sheets / f"{name.replace(' ', '-')}.jpg", quality=88)


if __name__ == "__main__":
    main()
