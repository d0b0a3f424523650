"""What ten accepted label maps teach: a network of a third of CamVid's training frames, before and after.

    python -m benchmarks.teach --data DIR                # trains the network (20 minutes), then teaches it

The network of `benchmarks.camvid_network` is trained on the first 60 of the 180 training frames. Ten of the other 120,
evenly spaced, are the accepted label maps: the truth, as a user who corrects every pixel would leave it. `teach` trains
on eight or nine of them and holds the others back. The figure is the mean IoU over the classes on the 53 validation
frames, which neither training sees, before any click. The same command goes on with whatever was interrupted. The
result is kept as JSON in benchmarks/results/, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import interactify
from benchmarks import camvid_network
from benchmarks.accuracy import machine
from benchmarks.camvid_frames import CLASSES, UNLABELLED, Frames, read_split
from benchmarks.camvid_network import MEAN, SIZE, STD
from interactify.export.files import write_json
from interactify.learning import PARTS
from interactify.learning.parts import Part
from interactify.training import RECIPE, teach

THIRD = 60  # frames that the network is trained on
ACCEPTED = 10
RESULT = Path(__file__).parent / "results" / "teach.json"
WORK = Path.home() / ".cache" / "interactify" / "teach"


def chosen(frames: Frames, indices: range) -> Frames:
    """Some of the frames."""
    return Frames(
        [frames.names[k] for k in indices], [frames.photos[k] for k in indices], [frames.labels[k] for k in indices]
    )


def write_accepted(frames: Frames, folder: Path) -> Path:
    """images/ and masks/ of the frames, as `teach` reads them: 255 where a pixel is unlabelled."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, photo, labels in zip(frames.names, frames.photos, frames.labels, strict=True):
        Image.fromarray(photo).save(folder / f"images/{name}.png")
        Image.fromarray(np.where(labels == UNLABELLED, 255, labels).astype(np.uint8)).save(folder / f"masks/{name}.png")
    return folder


def measure(data: Path, work: Path, minutes: float, steps: int, parts: Part, clicks: int) -> dict[str, Any]:
    """Train the network on a third of the frames where that is not done yet, teach it, and validate both."""
    training, validation = read_split(data, "train"), read_split(data, "validation")
    weights = work / f"camvid-{THIRD}-frames-{minutes:g}-minutes.pt"
    work.mkdir(parents=True, exist_ok=True)
    if not weights.is_file():
        own = camvid_network.Recipe(minutes=minutes)
        camvid_network.train(chosen(training, range(THIRD)), weights, own)
    net = interactify.wrap(camvid_network.load(weights), mean=MEAN, std=STD, resolution=max(SIZE), class_names=CLASSES)
    others = range(THIRD, len(training.names), (len(training.names) - THIRD) // ACCEPTED)[:ACCEPTED]
    folder = write_accepted(chosen(training, others), work / "accepted")
    recipe = replace(RECIPE, steps=steps)
    lesson = teach(net, folder, out=work / f"taught-{parts}-{steps}", parts=parts, recipe=recipe, clicks=clicks)
    before = camvid_network.validate(net.unwrap(), validation)
    after = camvid_network.validate(lesson.model.eval(), validation)
    return {
        "frames trained on": THIRD,
        "minutes of training": minutes,
        "accepted": [training.names[k] for k in others],
        "held back": list(lesson.held_back),
        "parts": parts,
        "recipe": asdict(recipe),
        "seconds": round(lesson.seconds, 1),
        "validation before": before,
        "validation after": after,
        "held back before": asdict(lesson.before),
        "held back after": asdict(lesson.after),
        "better": lesson.better,
    }


def main() -> None:
    """Read the command line, measure, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with CamVid/")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder for weights and states; by default {WORK}")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the network's own training")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="of teaching")
    parser.add_argument("--parts", choices=[each for each in PARTS if each != "stem"], default="all")
    parser.add_argument("--clicks", type=int, default=5, help="on each object of the frames that are held back")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = measure(Path(given.data), given.work, given.minutes, given.steps, given.parts, given.clicks)
    found |= {"machine": machine(), "threads": given.threads}
    write_json(given.result, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
