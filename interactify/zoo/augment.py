"""Augmented training batches for the embedded saliency network, from photos with masks.

Everything runs on whole batches in torch: one affine resampling per picture, colour changes, and objects cut out of
one picture and pasted into another (Ghiasi et al., "Simple Copy-Paste", CVPR 2021, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

SIDE = 320  # pictures are resized to SIDE × SIDE; the change of aspect ratio is an augmentation, too


@dataclass(frozen=True)
class Photos:
    """Photos (N, 3, SIDE, SIDE) uint8, masks (N, 1, SIDE, SIDE) uint8, and a sampling weight for each."""

    images: Tensor
    masks: Tensor
    weights: Tensor


def read_training_photos(root: Path) -> Photos:
    """Read ECSSD's train split (0001-0800) and useful sets of `more/`, weighted so that ECSSD dominates."""
    clean = (root / "more/voc2007seg/clean.txt").read_text().split()
    sources = [  # (stems, folder, share of the batch)
        ([f"{i:04d}" for i in range(1, 801)], root / "ECSSD", 0.66),
        (clean, root / "more/voc2007seg", 0.14),
        (None, root / "more/ccp_people", 0.10),
        (None, root / "more/weizmann_horse", 0.08),
        (None, root / "more/msrc_cow30", 0.02),
    ]
    parts = [_read_folder(folder, stems) for stems, folder, _ in sources]
    weights = [
        torch.full((len(images),), share / len(images)) for (images, _), (*_, share) in zip(parts, sources, strict=True)
    ]
    return Photos(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), torch.cat(weights))


def _read_folder(folder: Path, stems: list[str] | None) -> tuple[Tensor, Tensor]:
    """Images and masks of a folder as uint8 tensors; a border labelled unknown (128) keeps the value one half."""
    stems = stems or sorted(p.stem for p in (folder / "images").iterdir())
    images, masks = [], []
    for stem in tqdm(stems, desc=folder.name, leave=False):
        image = Image.open(folder / f"images/{stem}.jpg").convert("RGB")
        mask = Image.open(folder / f"masks/{stem}.png").convert("L")
        images.append(torch.from_numpy(np.array(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))))
        masks.append(torch.from_numpy(np.array(mask.resize((SIDE, SIDE), Image.Resampling.BILINEAR))))
    return torch.stack(images).permute(0, 3, 1, 2).contiguous(), torch.stack(masks)[:, None].contiguous()


def augmented_batch(
    photos: Photos, batch: int, side: int, generator: torch.Generator, *, gentle: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw a batch: images (batch, 3, side, side) in [0, 1] and masks (batch, 1, side, side) in [0, 1].

    `gentle` stays close to the unchanged photos, for the end of the training: nothing pasted, little magnified.
    """
    if gentle:
        image, mask = _warped(photos, batch, side, generator, zoom=(0.75, 1.05), shift=0.1)
        return recoloured(image, generator, strength=0.5), mask
    image, mask = _warped(photos, batch, side, generator, zoom=(0.55, 1.1), shift=0.25)
    half = batch // 2
    cut_image, cut_mask = _warped(photos, half, side, generator, zoom=(0.9, 2.2), shift=0.6, beyond="zeros")
    paste = cut_mask * (torch.rand(half, 1, 1, 1, generator=generator) < 0.6)
    image[:half] = paste * cut_image + (1 - paste) * image[:half]
    mask[:half] = torch.maximum(paste, mask[:half])
    return recoloured(image, generator, strength=1.0), mask


def _uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _warped(
    photos: Photos,
    n: int,
    side: int,
    generator: torch.Generator,
    zoom: tuple[float, float],
    shift: float,
    beyond: str = "reflection",
) -> tuple[Tensor, Tensor]:
    """Draw n photos, each flipped, rotated, stretched, scaled (`zoom` < 1 magnifies) and moved at random."""
    index = torch.multinomial(photos.weights, n, replacement=True, generator=generator)
    angle = _uniform(-0.3, 0.3, n, generator)
    scale = _uniform(*zoom, n, generator)
    stretch = torch.exp(_uniform(-0.3, 0.3, n, generator) / 2)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([flip * stretch * cos, -stretch * sin, sin / stretch, cos / stretch], 1).view(n, 2, 2)
    move = (torch.rand(n, 2, 1, generator=generator) * 2 - 1) * shift
    grid = F.affine_grid(torch.cat([rows, move], 2), [n, 3, side, side], align_corners=False)
    both = torch.cat([photos.images[index], photos.masks[index]], 1).float() / 255
    both = F.interpolate(both, size=(int(side * 1.3),) * 2, mode="bilinear", antialias=True, align_corners=False)
    image = F.grid_sample(both[:, :3], grid, padding_mode="reflection", align_corners=False)
    mask = F.grid_sample(both[:, 3:], grid, padding_mode=beyond, align_corners=False)
    return image, mask


def recoloured(image: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Brightness, contrast, saturation, channel gain, sometimes grey, blurred or noisy; clamped to [0, 1]."""
    n, before = len(image), image

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(low, high, n * channels, generator).view(n, channels, 1, 1)

    grey = image.mean(1, keepdim=True)
    saturation = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.08, 0.0, draw(0.5, 1.5))
    image = grey + (image - grey) * saturation
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * draw(0.6, 1.4) + mean * draw(0.7, 1.3)
    image = image * draw(0.88, 1.12, 3)
    blurred = F.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    image = torch.where(draw(0, 1) < 0.15, blurred, image)
    noise = torch.randn(image.shape, generator=generator) * 0.04 * (draw(0, 1) < 0.15)
    return torch.lerp(before, image + noise, strength).clamp(0, 1)
