"""Thin structures: drawn trees that look like the vessels of a retina, and a small U-Net trained on them.

    python -m benchmarks.thin_trees FOLDER      # trains for an hour into FOLDER/thin-trees.pt; goes on where it ended

Vessels grow from a disc, wind, and fork into thinner ones, down to less than two pixels. Their mask is exact: a pixel
belongs to them where they cover half of it or more. "trees" is what the network is trained on; "trees-shifted" has
fainter vessels, more noise, and bright and dark spots that training never shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from torch import nn

from benchmarks.drawn_training import DrawnNetwork, Picture, SmallUNet, main
from interactify.learning import Recipe

SIDE = 256
FINER = 4  # how much finer vessels are drawn than they are seen, for soft edges and exact coverage
STEP = 5.0  # pixels of a straight piece
THINNEST = 0.6  # radius in pixels at which a vessel ends
Point = tuple[float, float]


def draw_trees(random: np.random.Generator, *, shifted: bool = False, side: int = SIDE) -> Picture:
    """A picture (side, side, 3) of vessels, darker than their ground, and the mask of all of them."""
    covered = coverage(random, side)
    rows, columns = np.mgrid[:side, :side] / side
    # Blotches of two sizes, a slope of light, and the darker rim of a lens.
    light = 0.62 + sum(a * blotches(random, side, s) for a, s in ((0.07, side / 6), (0.035, side / 32)))
    light += random.uniform(-0.15, 0.15) * (columns - 0.5) + random.uniform(-0.15, 0.15) * (rows - 0.5)
    light -= 0.25 * np.clip(np.hypot(rows - 0.5, columns - 0.5) - 0.4, 0, None)
    contrast = random.uniform(0.08, 0.16) if shifted else random.uniform(0.16, 0.32)
    light -= contrast * covered * (1 + 0.3 * blotches(random, side, side / 8))
    if shifted:
        light = light + _spots(random, side)
    tint = np.array([0.95, 0.62, 0.42]) * random.uniform(0.85, 1.15, 3)
    colours = light[..., None] * tint + random.normal(0, 0.04 if shifted else 0.02, (side, side, 3))
    return np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8), covered >= 0.5


def coverage(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """The share of each pixel that vessels cover: (side, side) in [0, 1]."""
    canvas = Image.new("L", (side * FINER, side * FINER))
    pen = ImageDraw.Draw(canvas)
    root = (random.uniform(0.15, 0.85) * side, random.uniform(0.25, 0.75) * side)
    first, count = random.uniform(0, 2 * math.pi), int(random.integers(3, 6))
    for branch in range(count):
        heading = first + 2 * math.pi * (branch + random.uniform(-0.25, 0.25)) / count
        for start, end, radius in grown(random, root, heading, random.uniform(1.6, 3.2), side):
            _thick_line(pen, start, end, radius)
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), np.float64) / 255


def grown(
    random: np.random.Generator, start: Point, heading: float, radius: float, side: int
) -> Iterator[tuple[Point, Point, float]]:
    """The straight pieces of a vessel and all that fork from it: start, end (x, y) and radius, in pixels.

    At a fork the cubes of the two radii add up to the cube of the one before (Murray, "The Physiological Principle of
    Minimum Work", 1926).
    """
    waiting = [(start, heading, radius)]
    while waiting:
        (x, y), heading, radius = waiting.pop()
        bend = 0.0
        for _ in range(int(random.integers(6, 16))):
            bend = 0.7 * bend + random.normal(0, 0.09)
            heading += bend
            end = (x + STEP * math.cos(heading), y + STEP * math.sin(heading))
            yield (x, y), end, radius
            x, y = end
            radius *= 0.985
        if radius < THINNEST or not (-20 < x < side + 20 and -20 < y < side + 20):
            continue
        share = random.uniform(0.3, 0.7)
        turn = random.uniform(0.25, 0.55) * random.choice([-1, 1])
        waiting.append(((x, y), heading + turn * (1 - share), radius * share ** (1 / 3)))
        waiting.append(((x, y), heading - turn * (1 + share), radius * (1 - share) ** (1 / 3)))


def _thick_line(pen: ImageDraw.ImageDraw, start: Point, end: Point, radius: float) -> None:
    wide = radius * FINER
    x, y = end[0] * FINER, end[1] * FINER
    pen.line([start[0] * FINER, start[1] * FINER, x, y], fill=255, width=max(1, round(2 * wide)))
    pen.ellipse([x - wide, y - wide, x + wide, y + wide], fill=255)  # no gap where it bends


def blotches(random: np.random.Generator, side: int, size: float) -> NDArray[np.float64]:
    """Smooth noise (side, side) with a standard deviation of 1 and spots of about `size` pixels."""
    smooth = gaussian_filter(random.standard_normal((side, side)), size / 2, mode="wrap")
    return smooth / (smooth.std() + 1e-12)


def _spots(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Bright and dark discs with soft edges, as lesions are: (side, side), what they add to the light."""
    rows, columns = np.mgrid[:side, :side]
    added = np.zeros((side, side))
    for _ in range(int(random.integers(4, 12))):
        x, y, radius = random.uniform(0, side), random.uniform(0, side), random.uniform(2, 9)
        distance = np.hypot(columns - x, rows - y)
        added += random.choice([-0.2, 0.22]) / (1 + np.exp(2 * (distance - radius)))
    return added


NETWORK = DrawnNetwork(
    name="thin-trees",
    build=lambda: SmallUNet(nn.BatchNorm2d),
    drawers={"trees": draw_trees, "trees-shifted": partial(draw_trees, shifted=True)},
    recipe=Recipe(minutes=60.0, batch=8, learning_rate=2e-3),
    module="benchmarks.thin_trees",
)

if __name__ == "__main__":
    main(NETWORK, __doc__)
