"""A second network of another kind: an FPN of eleven street classes, trained from scratch on CamVid, never on clicks.

    python -m benchmarks.camvid_network --data DIR                 # trains, then says what it reaches
    python -m benchmarks.camvid_network --data DIR --minutes 0     # only says what the network in --out reaches

CamVid is CC BY-NC: neither the data nor the weights come with the project, and the network is no part of the wheel. The
first 180 frames by name are trained on, the last 53 measured. The schedule follows the clock, as that of the embedded
network does, so that the script fits any machine; an interrupted run is taken up by the same command.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.camvid_frames import CLASSES, Frames, class_ious, confusion, read_split, training_batch
from interactify.checkpoints import load_into, read_weights
from interactify.export.files import write_whole
from interactify.learning.loop import average

SIZE = (288, 384)  # network pixels (height, width): the frames' 4 to 3, and no padding for a stride of 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTS = Path.home() / ".cache" / "interactify" / "camvid-fpn.pt"


def build() -> nn.Module:
    """The architecture: an smp FPN on a slim ResNet-18, 2.2 M parameters; (N, 3, H, W) to (N, 11, H, W) logits."""
    return smp.FPN(
        "tu-resnet18",
        encoder_weights=None,
        channels=[32, 64, 128, 192],
        decoder_pyramid_channels=64,
        decoder_segmentation_channels=64,
        classes=len(CLASSES),
    )


def load(weights: Path) -> nn.Module:
    """The trained network, in evaluation mode.

    Raises:
        CheckpointError: there is no such file, or it has another network's weights.
    """
    return load_into(build(), read_weights(weights), weights).eval()


@dataclass
class Recipe:
    """The settings of a training run; written beside the weights."""

    minutes: float = 40.0
    batch: int = 8
    side: int = 192
    last_batch: int = 4
    last_share: float = 0.3
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    average: float = 0.998
    save_every: int = 200  # steps, for an interrupted run
    seed: int = 0


def loss_of(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy plus soft IoU of the classes that are present.

    Logits are (N, K, H, W), labels (N, H, W); pixels with -1 count in neither.
    """
    known = labels >= 0
    entropy = F.cross_entropy(logits, labels, weights, ignore_index=-1)
    truth = F.one_hot(labels.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * known[:, None]
    p = logits.softmax(1) * known[:, None]
    both, either = (p * truth).sum((0, 2, 3)), (p + truth - p * truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    return entropy + (1 - both[present] / either[present]).mean()


def train(frames: Frames, out: Path, recipe: Recipe) -> int:
    """Train, average the weights, and write them to `out`; returns the number of steps.

    The state from which an interrupted run resumes is beside `out` until the training has ended.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = build().train().to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    weights, partial = frames.weights, out.with_suffix(".partial")
    step, before, running = 0, 0.0, 0.0
    if partial.exists():
        state = torch.load(partial, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
        step, before = state["step"], state["seconds"]
    start = time.monotonic() - before
    bar = tqdm(total=100, desc="training", bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}", mininterval=10)
    while (done := (time.monotonic() - start) / (60 * recipe.minutes)) < 1:
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) + 1e-3)
        for group in optimiser.param_groups:
            group["lr"] = rate
        if done < 1 - recipe.last_share:
            image, labels = training_batch(frames, recipe.batch, (recipe.side, recipe.side), generator)
        else:  # whole frames at the end, as in use later
            image, labels = training_batch(frames, recipe.last_batch, SIZE, generator, gentle=True)
        x = ((image - mean) / std).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x)
        loss = loss_of(logits.float(), labels, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        average(averaged, model, min(recipe.average, (step + 1) / (step + 10)))
        running = 0.98 * running + 0.02 * float(loss.detach())
        bar.update(100 * done - bar.n)
        bar.set_postfix(step=step, loss=f"{running / (1 - 0.98**step):.3f}", refresh=False)
        if step % recipe.save_every == 0:
            state = {"model": model.state_dict(), "averaged": averaged.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "generator": generator.get_state()}
            _write(state | {"step": step, "seconds": time.monotonic() - start}, partial)
    bar.close()
    _write({key: tensor.contiguous() for key, tensor in averaged.state_dict().items()}, out)
    partial.unlink(missing_ok=True)
    return step


def _write(state: dict[str, Any], path: Path) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


@torch.no_grad()
def class_map(model: nn.Module, photo: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The network's own label map (H, W) of a photo (H, W, 3), at the photo's size."""
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, size=SIZE, mode="bilinear", antialias=True, align_corners=False)
    logits = model((image - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1))
    logits = F.interpolate(logits, size=photo.shape[:2], mode="bilinear", align_corners=False)
    labels: NDArray[np.int64] = logits[0].argmax(0).numpy()
    return labels


def validate(model: nn.Module, frames: Frames) -> dict[str, Any]:
    """Mean IoU over the classes, and the IoU of each, over the pixels of all frames together, as in CamVid's papers."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for photo, labels in tqdm(
        zip(frames.photos, frames.labels, strict=True), desc="validation", total=len(frames.names)
    ):
        counts += confusion(labels, class_map(model, photo))
    each = class_ious(counts)
    return {
        "mean_iou": round(float(np.nanmean(each)), 4),
        "pixels_right": round(float(np.trace(counts) / counts.sum()), 4),
        "iou": {name: round(float(value), 4) for name, value in zip(CLASSES, each, strict=True)},
    }


def main() -> None:
    """Read the command line, train and validate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with CamVid/")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help=f"file of weights; by default {WEIGHTS}")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="how long; 0 only validates")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(minutes=given.minutes)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    steps = None
    if recipe.minutes > 0:
        steps = train(read_split(Path(given.data), "train"), given.out, recipe)
    results = validate(load(given.out), read_split(Path(given.data), "validation"))
    if steps is not None:
        results |= {"steps": steps, "recipe": asdict(recipe), "threads": given.threads}
        results |= {"processor": platform.processor() or platform.machine()}
        results |= {"torch": torch.__version__, "smp": smp.__version__}
        given.out.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
