"""Augmented squares of photos with masks: moved, scaled, recoloured, and objects pasted from one photo into another.

Everything runs on whole batches in torch: one affine resampling for each picture. Masks are 1 object, 0 background and
NaN where nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.learning.labelled_photos import UNKNOWN, Drawing, as_square

_SPARE = 1.3  # a square is read at this many times the side that is trained on, so that magnified parts stay sharp


@dataclass(frozen=True)
class Motion:
    """How squares are moved: each number is drawn evenly from its range.

    Attributes:
        zoom: how much of the square is seen; below 1 magnifies.
        shift: how far it moves, in half sides, at most.
        angle: how far it turns, in radians, at most.
        stretch: the logarithm of how much wider than high it gets, at most.
    """

    zoom: tuple[float, float] = (0.6, 1.1)
    shift: float = 0.25
    angle: float = 0.3
    stretch: float = 0.3


STRONG, GENTLE, PASTED = Motion(), Motion((0.75, 1.05), 0.1), Motion((0.9, 2.2), 0.6)


def augmented_squares(
    drawing: Drawing,
    count: int,
    side: int,
    generator: torch.Generator,
    *,
    motion: Motion = STRONG,
    colours: float = 1.0,
    pasted: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw photos and augment them.

    Args:
        drawing: the photos; all their objects together are the object.
        count: how many.
        side: in pixels.
        generator: of all random numbers.
        motion: how they are moved.
        colours: the strength of colour changes, 0 to 1.
        pasted: the share of pictures into which an object of another photo is pasted (Ghiasi et al., "Simple
            Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021, section 3).

    Returns:
        Images (count, 3, side, side) in [0, 1] and masks (count, 1, side, side): 1, 0 or NaN, soft at borders.
    """
    image, mask = _moved(*_read(drawing, count, side, generator), side, generator, motion)
    others = round(count * pasted)
    if others:
        cut, cut_mask = _moved(*_read(drawing, others, side, generator), side, generator, PASTED, beyond="zeros")
        over = torch.nan_to_num(cut_mask, nan=0.0)
        image[:others] = over * cut + (1 - over) * image[:others]
        mask[:others] = torch.maximum(over, mask[:others].nan_to_num(nan=-1.0)).where(
            (over > 0.5) | ~mask[:others].isnan(), torch.nan
        )
    return recoloured(image, generator, colours), mask


def _read(drawing: Drawing, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Squares (count, 3, s, s) in [0, 1] and labels (count, 1, s, s) uint8 of photos that are drawn."""
    large = round(side * _SPARE)
    read = [as_square(*photo.read(2 * large), large) for photo in drawing.draw(count, generator)]
    return torch.stack([image for image, _ in read]).float() / 255, torch.stack([labels for _, labels in read])


def _moved(
    image: Tensor, labels: Tensor, side: int, generator: torch.Generator, motion: Motion, beyond: str = "reflection"
) -> tuple[Tensor, Tensor]:
    """Each square flipped, turned, stretched, scaled and shifted at random, at its final size."""
    count = len(image)
    angle = uniform(-motion.angle, motion.angle, count, generator)
    scale = uniform(*motion.zoom, count, generator)
    stretch = torch.exp(uniform(-motion.stretch, motion.stretch, count, generator) / 2)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([flip * stretch * cos, -stretch * sin, sin / stretch, cos / stretch], 1).view(count, 2, 2)
    shift = (torch.rand(count, 2, 1, generator=generator) * 2 - 1) * motion.shift
    grid = F.affine_grid(torch.cat([rows, shift], 2), [count, 3, side, side], align_corners=False)
    known = (labels != UNKNOWN).float()
    maps = torch.cat([(labels > 0) * known, known], 1)
    image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    maps = F.grid_sample(maps, grid, padding_mode=beyond, align_corners=False)
    # Outside of a photo that ends in nothing there is no object, and that is known.
    unknown = (maps[:, 1:] < 0.99) if beyond != "zeros" else torch.zeros_like(maps[:, 1:], dtype=torch.bool)
    return image, maps[:, :1].masked_fill(unknown, torch.nan)


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    """`count` numbers drawn evenly from a range."""
    return torch.rand(count, generator=generator) * (high - low) + low


def recoloured(image: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Brightness, contrast, saturation, channel gain, sometimes grey, blurred or noisy; clamped to [0, 1]."""
    n, before = len(image), image

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return uniform(low, high, n * channels, generator).view(n, channels, 1, 1)

    grey = image.mean(1, keepdim=True)
    saturation = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.08, 0.0, draw(0.5, 1.5))
    image = grey + (image - grey) * saturation
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * draw(0.6, 1.4) + mean * draw(0.7, 1.3)
    image = image * draw(0.88, 1.12, 3)
    blurred, noisy = ((draw(0, 1) < 0.15).view(n).nonzero()[:, 0] for _ in range(2))
    image[blurred] = F.avg_pool2d(image[blurred], 3, 1, 1, count_include_pad=False)
    image[noisy] += torch.randn(image[noisy].shape, generator=generator) * 0.04
    return torch.lerp(before, image, strength).clamp_(0, 1)
