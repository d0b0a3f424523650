"""A second network of several classes: background and five kinds of things in photos, never trained on clicks.

    python -m benchmarks.kinds_network FOLDER --data DIR     # 20 minutes into FOLDER/kinds.pt; goes on where it ended

The embedded saliency network with another last convolution, fine-tuned on the photos of `benchmarks.kinds_photos` as a
network sees them in use, moved, mirrored and recoloured. Batch norms keep their statistics. The schedule follows the
clock. The command prints the mean IoU of the six classes on the measured photos, without clicks.

The saliency network's own training has seen many of these photos, the measured ones too, with masks but not with kinds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

import interactify
from benchmarks.kinds_photos import CLASSES, KindPhoto, kind_photos
from benchmarks.speed_measure import machine
from benchmarks.trained_weights import trained
from interactify import zoo
from interactify.errors import InteractifyError
from interactify.export.files import write_json
from interactify.interactive import Interactive
from interactify.learning import ClassLogits, ClassTask, Drawing, Recipe, groups_of, train
from interactify.learning.augment import Motion
from interactify.learning.class_task import unclicked_ious
from interactify.training.teach import write_weights
from interactify.zoo.train import MEAN, STD

OPTIONS: Final[Mapping[str, Any]] = {
    "mean": MEAN,
    "std": STD,
    "resolution": 256,
    "divisor": 32,
    "class_names": CLASSES,
}
"""Of `interactify.wrap`."""
RECIPE = Recipe(minutes=20.0, batch=16, learning_rate=2e-3, weight_decay=0.02, warmup=50, average=0.995)
MOTION = Motion(zoom=(0.6, 1.2), shift=0.2, angle=0.2, stretch=0.3)
COLOURS = 0.8
ENCODER_RATE = 0.3
SCORED = 5  # every n-th measured photo during the training; all of them at its end


def build() -> nn.Module:
    """The architecture, with the saliency network's weights but in its last convolution, which is random.

    (N, 3, H, W), sides divisible by 32, to (N, 6, H, W) logits.
    """
    network = zoo.load()
    head = network.segmentation_head
    assert isinstance(head, nn.Sequential) and isinstance(head[0], nn.Conv2d)
    head[0] = nn.Conv2d(head[0].in_channels, len(CLASSES), head[0].kernel_size, padding=head[0].padding)  # type: ignore[arg-type]
    return network


def load(folder: Path) -> nn.Module:
    """The trained network, in evaluation mode.

    Raises:
        CheckpointError: it is not trained yet, or the file has another network's weights.
    """
    command = f"benchmarks.kinds_network {folder} --data DIR"
    return trained(build, folder / "kinds.pt", command, RECIPE.minutes)


def train_kinds(root: Path, folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Train into FOLDER/kinds.pt and kinds.json; goes on with a training whose state is in FOLDER/kinds/."""
    torch.manual_seed(recipe.seed)
    network = build().eval()
    net = interactify.wrap(network, **OPTIONS)
    known = list(chain.from_iterable(kind_photos(root, measured=False).values()))
    measured = list(chain.from_iterable(kind_photos(root, measured=True).values()))
    task = ClassTask(Drawing(known), measured[::SCORED], net.network, motion=MOTION, colours=COLOURS)
    classes = ClassLogits(network, net.spec.output)
    groups = groups_of(classes, "all", ENCODER_RATE)
    progress = train(classes, task, recipe, folder / "kinds", groups=groups, device="cpu")
    write_weights(folder / "kinds.pt", network.to(memory_format=torch.contiguous_format))
    results = {
        **validated(net, measured),
        "photos": {"trained": len(known), "measured": len(measured)},
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 1),
        "recipe": asdict(recipe),
        "machine": machine(),
    }
    write_json(folder / "kinds.json", results)
    return results


def validated(net: Interactive, photos: Sequence[KindPhoto]) -> dict[str, Any]:
    """Mean IoU over the classes, and the IoU of each, over the pixels of all photos together, without clicks."""
    each = unclicked_ious(ClassLogits(net.unwrap(), net.spec.output), photos, net.network)
    return {
        "mean_iou": round(float(np.nanmean(each)), 4),
        "iou": {name: round(float(value), 4) for name, value in zip(CLASSES, each, strict=True)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train; the same command goes on with an interrupted training."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kinds_network",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("folder", type=Path, help="for kinds.pt, and for the state of the training")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with more/ and objects/")
    parser.add_argument("--minutes", type=float, default=RECIPE.minutes, help="how long; %(default)s by default")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        results = train_kinds(Path(given.data), given.folder, replace(RECIPE, minutes=given.minutes))
    except InteractifyError as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
