"""Composites with exact mattes: soft shapes with strands like hair, and cut-outs of photos, over other pictures.

"drawn" are shapes whose edge is sharp here and soft there, with strands that leave it, and sometimes a veil that one
sees through; what they are made of, and what lies behind, are drawn textures and the embedded photos. "cut-outs" are
objects of real photos whose mask is feathered, over other photos that are out of focus. "behind" are drawn shapes of
colours near those behind them, before a sharp background with a second shape of its own, which no training shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter

from benchmarks.thin_trees import blotches
from interactify import zoo
from interactify.evaluation import dataset_named

SIDE: Final = 96
FINER: Final = 4  # how much finer strands are drawn than they are seen
FIRST_MEASURED: Final = "0801"  # ECSSD's photos before it may be trained on, those from it on not
MOST_SIDE: Final = 144  # pixels of a cut-out's photo in memory

Picture = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""A picture (H, W, 3) and its matte (H, W) in [0, 1]."""
CutOut = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A photo (H, W, 3) and the mask of its object."""


@dataclass(frozen=True)
class Mattes:
    """Draws composites.

    Attributes:
        cut_outs: photos with masks for "cut-outs"; without any there are only drawn shapes.
        behind: whether a second shape lies behind, and colours are near each other.
        share: of composites that are cut-outs.
    """

    cut_outs: Sequence[CutOut] = field(default=(), repr=False)
    behind: bool = False
    share: float = 0.5

    def __call__(self, random: np.random.Generator, side: int = SIDE) -> Picture:
        """A composite and its matte."""
        if self.cut_outs and random.random() < self.share:
            return _of_photos(random, self.cut_outs, side)
        back = _texture(random, side)
        if self.behind:
            alpha = soft_shape(random, side)[..., None]
            back = alpha * _texture(random, side) + (1 - alpha) * back
        else:  # out of focus, as what lies behind a subject often is
            back = gaussian_filter(back, (*[random.uniform(1.0, 4.0)] * 2, 0))
        front = _texture(random, side)
        if self.behind:
            front = back.mean((0, 1)) + random.normal(0, 0.12, 3) + 0.6 * (front - front.mean((0, 1)))
        return _over(random, front, soft_shape(random, side), back)


def cut_outs(data: Path, *, measured: bool) -> list[CutOut]:
    """Those of DATA/ECSSD: for measuring, or for training."""
    found = []
    for photo in dataset_named("folder", data / "ECSSD").photos:
        if (photo.name >= FIRST_MEASURED) != measured:
            continue
        (sample,) = photo
        assert isinstance(sample.photo, Path)
        picture = Image.open(sample.photo).convert("RGB")
        scale = MOST_SIDE / max(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        mask = Image.fromarray((sample.truth == 1).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        found.append((np.asarray(picture.resize(size, Image.Resampling.BOX)), np.asarray(mask) > 127))
    return found


def soft_shape(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """The matte (side, side) of one shape: a waving outline, softer in some directions, strands, sometimes a veil."""
    rows, columns = np.mgrid[:side, :side]
    x, y = random.uniform(0.3, 0.7, 2) * side
    angle, away = np.arctan2(rows - y, columns - x), np.hypot(rows - y, columns - x)
    radius = random.uniform(0.16, 0.3) * side * (1 + _waves(random, angle, (1, 2, 3, 4, 5), 0.14))
    soft = np.exp(math.log(random.uniform(0.5, 2.5)) + _waves(random, angle, (1, 2, 3), 0.6))
    alpha = 1 / (1 + np.exp(np.clip((away - radius) / soft, -30, 30)))
    if random.random() < 0.3:  # a part that one sees through
        veil = gaussian_filter((blotches(random, side, side / 3) > 0.3).astype(float), 1.5)
        alpha = alpha * (1 - random.uniform(0.3, 0.7) * veil)
    if random.random() < 0.7:
        strands = _strands(random, (x, y), angle, radius, side)
        alpha = np.maximum(alpha, strands)
    return np.clip(alpha, 0, 1)


def _strands(
    random: np.random.Generator,
    middle: tuple[float, float],
    angle: NDArray[np.float64],
    radius: NDArray[np.float64],
    side: int,
) -> NDArray[np.float64]:
    """The matte (side, side) of thin curved lines that leave an outline within an arc."""
    canvas = Image.new("L", (side * FINER, side * FINER))
    pen = ImageDraw.Draw(canvas)
    first, width = random.uniform(-math.pi, math.pi), random.uniform(0.6, 2.2)
    for _ in range(int(random.integers(8, 45))):
        heading = first + random.uniform(-width, width)
        turned = np.abs(np.angle(np.exp(1j * (angle - heading))))
        start = float(radius.flat[int(turned.argmin())]) - 3
        x, y = middle[0] + start * math.cos(heading), middle[1] + start * math.sin(heading)
        bend, ends = random.normal(0, 0.06), [(x * FINER, y * FINER)]
        heading += random.normal(0, 0.25)
        for _ in range(int(random.integers(3, 9))):
            heading += bend
            x, y = x + 3 * math.cos(heading), y + 3 * math.sin(heading)
            ends.append((x * FINER, y * FINER))
        pen.line(ends, fill=int(random.integers(120, 256)), width=int(random.integers(2, 6)), joint="curve")
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float64) / 255


def _of_photos(random: np.random.Generator, known: Sequence[CutOut], side: int) -> Picture:
    """A cut-out over another photo that is out of focus."""
    photo, mask = known[int(random.integers(len(known)))]
    behind = _crop(random, known[int(random.integers(len(known)))][0], side)
    back = gaussian_filter(behind, (*[random.uniform(1.5, 6)] * 2, 0))
    # What the object's rim shows of its own background is replaced by the nearest colours inside.
    inside = distance_transform_edt(mask) > 2
    if not inside.any():
        inside = mask
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    colours, matte = photo[tuple(nearest)], mask.astype(np.uint8) * 255
    if random.random() < 0.5:
        colours, matte = colours[:, ::-1], matte[:, ::-1]
    window = _window(random, mask.shape, least=0.8)
    size = (side, side)
    front = np.asarray(Image.fromarray(colours).crop(window).resize(size, Image.Resampling.BILINEAR)) / 255
    own = np.asarray(Image.fromarray(matte).crop(window).resize(size, Image.Resampling.BILINEAR)) / 255
    return _over(random, front, gaussian_filter(own, random.uniform(0.6, 2.5)), back)


def _over(
    random: np.random.Generator, front: NDArray[np.float64], alpha: NDArray[np.float64], back: NDArray[np.float64]
) -> Picture:
    """α F + (1 − α) B, with a little noise."""
    picture = alpha[..., None] * front + (1 - alpha[..., None]) * back
    picture = picture + random.normal(0, 0.015, picture.shape)
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8), alpha.astype(np.float32)


def _texture(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Colours (side, side, 3) in about [0, 1]: drawn, or a part of an embedded photo."""
    if random.random() < 0.35:
        photos = _embedded()
        return _crop(random, photos[int(random.integers(len(photos)))], side)
    colours = np.ones((side, side, 1)) * random.uniform(0.1, 0.9, 3)
    for size in (side / 3, side / 16):
        colours = colours + random.uniform(0.02, 0.12) * blotches(random, side, size)[..., None] * random.normal(
            0, 1, 3
        )
    if random.random() < 0.4:
        rows, columns = np.mgrid[:side, :side]
        turn, length = random.uniform(0, math.pi), random.uniform(5, 24)
        stripes = np.sin((columns * math.cos(turn) + rows * math.sin(turn)) * 2 * math.pi / length)
        colours = colours + random.uniform(0.03, 0.15) * stripes[..., None] * random.normal(0, 1, 3)
    return np.clip(colours, 0, 1)


def _crop(random: np.random.Generator, photo: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    window = _window(random, photo.shape[:2], least=0.4)
    return np.asarray(Image.fromarray(photo).crop(window).resize((side, side), Image.Resampling.BILINEAR)) / 255


def _window(random: np.random.Generator, size: tuple[int, ...], least: float) -> tuple[int, int, int, int]:
    """A random rectangle of a photo (H, W): left, top, right, bottom; each side at least that share."""
    ends = []
    for length in (size[1], size[0]):
        kept = int(random.uniform(least, 1) * length)
        start = int(random.integers(length - kept + 1))
        ends.append((start, start + kept))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _waves(
    random: np.random.Generator, angle: NDArray[np.float64], counts: Sequence[int], strength: float
) -> NDArray[np.float64]:
    """A smooth random function of the angle."""
    parts = [
        random.normal(0, strength) / math.sqrt(count) * np.cos(count * angle + random.uniform(0, 2 * math.pi))
        for count in counts
    ]
    return np.clip(np.sum(parts, 0), -0.6, 1.0)


@cache
def _embedded() -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.asarray(Image.open(photo.path).convert("RGB")) for photo in zoo.photos())
