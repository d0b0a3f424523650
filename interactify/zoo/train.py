"""Trains the embedded network: a saliency U-Net, from scratch and without clicks.

    python -m interactify.zoo.train --data DIR             # from random weights, strong augmentation
    python -m interactify.zoo.train --data DIR --polish    # continues from those, gently augmented; may be repeated

The schedule follows the clock (one cosine over the given minutes), so that the script fits any machine.
training.json records the steps, the machine and the results of each run.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from interactify.zoo.augment import augmented_batch, read_training_photos

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build() -> nn.Module:
    """The architecture: an smp U-Net on a slim ResNet-18, 1.3 M parameters."""
    return smp.Unet(
        "tu-resnet18",
        encoder_weights=None,
        channels=[32, 64, 96, 128],
        decoder_channels=[64, 48, 32, 16, 8],
    )


@dataclass
class Recipe:
    """The settings of a run; written to training.json."""

    minutes: float = 80.0
    batch: int = 16
    side: int = 160
    last_side: int = 224
    last_share: float = 0.35
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    average: float = 0.999
    gentle: bool = False
    seed: int = 0


POLISH = Recipe(minutes=28.0, side=192, last_share=0.4, learning_rate=2e-3, gentle=True)


def loss_of(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy plus soft IoU, both (N, 1, H, W)."""
    p = torch.sigmoid(logits)
    both = (p * mask).sum((1, 2, 3))
    soft_iou = (both + 1) / ((p + mask).sum((1, 2, 3)) - both + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + (1 - soft_iou).mean()


@torch.no_grad()
def validation_iou(model: nn.Module, root: Path, side: int, numbers: range) -> float:
    """Mean IoU at probability 0.5 over ECSSD photos, measured at the photo's own size."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    device = next(model.parameters()).device
    scores = []
    for i in numbers:
        image = Image.open(root / f"ECSSD/images/{i:04d}.jpg").convert("RGB")
        truth = np.array(Image.open(root / f"ECSSD/masks/{i:04d}.png").convert("L")) > 127
        small = torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BILINEAR)))
        x = (small.permute(2, 0, 1).float() / 255 - mean) / std
        logits = model(x[None].to(device)).float()
        mask = F.interpolate(logits, size=truth.shape, mode="bilinear", align_corners=False)[0, 0].cpu().numpy() > 0
        scores.append((mask & truth).sum() / max(1, (mask | truth).sum()))
    return float(np.mean(scores))


def train(root: Path, out: Path, recipe: Recipe, start: nn.Module) -> None:
    """Train, average the weights, validate, and write config, half-precision safetensors and results to `out`.

    Args:
        root: folder with ECSSD/ and more/.
        out: the folder for the network and training.json; later runs append to the latter.
        recipe: the schedule.
        start: the initial network; it is trained in place.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    photos = read_training_photos(root)
    model = start.train().to(device).to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    averaged = copy.deepcopy(model)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    started, step, running = time.monotonic(), 0, 0.0
    bar = tqdm(total=100, desc="training", bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}")
    while (done := (time.monotonic() - started) / (60 * recipe.minutes)) < 1:
        warm = min(1.0, (step + 1) / 200)
        rate = recipe.learning_rate * warm * (0.5 * (1 + np.cos(np.pi * done)) + 1e-3)
        for group in optimiser.param_groups:
            group["lr"] = rate
        side = recipe.side if done < 1 - recipe.last_share else recipe.last_side
        image, mask = augmented_batch(photos, recipe.batch, side, generator, gentle=recipe.gentle)
        x = ((image - mean) / std).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(x)
        loss = loss_of(logits.float(), mask.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        average(averaged, model, min(recipe.average, (step + 1) / (step + 10)))
        running = 0.98 * running + 0.02 * float(loss.detach())
        bar.update(100 * done - bar.n)
        bar.set_postfix(step=step, loss=f"{running / (1 - 0.98**step):.3f}", side=side)
        if step % 1000 == 0:
            _save(averaged, out)
            iou = validation_iou(averaged.eval(), root, recipe.last_side, range(801, 1001, 4))
            bar.write(f"step {step}: IoU {iou:.4f} on every fourth validation photo")
    bar.close()
    _save(averaged, out)
    saved = smp.from_pretrained(out).eval()
    results = {
        "ecssd_0801_1000_iou": {s: validation_iou(saved, root, s, range(801, 1001)) for s in (192, 224, 256, 320)},
        "steps": step,
        "recipe": asdict(recipe),
        "device": torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads",
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "smp": smp.__version__,
    }
    log = out / "training.json"
    runs = [*json.loads(log.read_text()), results] if log.exists() else [results]
    log.write_text(json.dumps(runs, indent=2) + "\n")
    print(json.dumps(results, indent=2))


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Exponential moving average of weights and batch-norm statistics."""
    for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)


def _save(model: nn.Module, out: Path) -> None:
    """Write smp's own config.json and model.safetensors, in half precision."""
    half = copy.deepcopy(model).half().cpu().to(memory_format=torch.contiguous_format)
    half.save_pretrained(out)  # type: ignore[operator]  # from a mix-in of smp, unknown to nn.Module


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ECSSD/ and more/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "saliency")
    parser.add_argument("--polish", action="store_true", help="continue from the network in --out")
    parser.add_argument("--minutes", type=float, help="how long; by default as long as the embedded network's run")
    options = parser.parse_args()
    log = options.out / "training.json"
    earlier = len(json.loads(log.read_text())) if options.polish and log.exists() else 0
    recipe = replace(POLISH if options.polish else Recipe(), seed=earlier)  # each run draws other batches
    if options.minutes is not None:
        recipe = replace(recipe, minutes=options.minutes)
    train(options.data, options.out, recipe, smp.from_pretrained(options.out) if options.polish else build())


if __name__ == "__main__":
    main()
