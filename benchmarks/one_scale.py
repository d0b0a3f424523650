"""A network that knows one scale: a small U-Net trained on drawn shapes of 128 pixels, as in MONAI's tutorials.

    python -m benchmarks.one_scale FOLDER      # trains for ten minutes into FOLDER/one-scale.pt; goes on where it ended

The shapes are ellipses of about one size; rectangles and rings are not what it looks for. Seen enlarged, they are too
large for it. "shapes" is what the network is trained on; "shapes-shifted" has other contrast, blur and slopes of light.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from torch import nn

from benchmarks.drawn_training import DrawnNetwork, Picture, SmallUNet, main
from interactify.learning import Recipe

SIDE = 128
FINER = 4  # how much finer shapes are drawn than they are seen


def draw_shapes(random: np.random.Generator, *, shifted: bool = False) -> Picture:
    """A grey picture (128, 128, 3) of ellipses among rectangles and rings, and the mask of all ellipses."""
    light = np.full((SIDE, SIDE), random.uniform(0.25, 0.45))
    for _ in range(int(random.integers(3, 7))):
        other = _rectangle(random) if random.random() < 0.5 else _ring(random)
        light = light * (1 - other) + (light + random.uniform(0.15, 0.35)) * other
    covered = np.zeros((SIDE, SIDE))
    for _ in range(int(random.integers(1, 5))):
        ellipse = _ellipse(random)
        light = light * (1 - ellipse) + random.uniform(0.5, 0.8) * ellipse
        covered = np.maximum(covered, ellipse)
    noise = random.normal(0, 1, (SIDE, SIDE))
    if shifted:
        rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
        angle = random.uniform(0, 2 * math.pi)
        light = gaussian_filter(0.4 + 0.6 * (light - 0.4), random.uniform(0.8, 1.6))
        light = light + 0.4 * (math.cos(angle) * columns + math.sin(angle) * rows) + 0.09 * noise
    else:
        light = gaussian_filter(light, 0.5) + 0.06 * noise
    grey = np.round(255 * np.clip(light, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), covered >= 0.5


def _ellipse(random: np.random.Generator) -> NDArray[np.float64]:
    x, y = random.uniform(16, SIDE - 16, 2)
    long, short = random.uniform(11, 20), random.uniform(7, 11)
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    return _polygon(x, y, long * np.cos(angles), short * np.sin(angles), random.uniform(0, math.pi))


def _rectangle(random: np.random.Generator) -> NDArray[np.float64]:
    x, y = random.uniform(0, SIDE, 2)
    width, height = random.uniform(6, 22), random.uniform(3, 10)
    across, down = np.array([-width, width, width, -width]), np.array([-height, -height, height, height])
    return _polygon(x, y, across, down, random.uniform(0, math.pi))


def _ring(random: np.random.Generator) -> NDArray[np.float64]:
    x, y = random.uniform(0, SIDE, 2) * FINER
    radius = random.uniform(8, 18) * FINER
    canvas = Image.new("L", (SIDE * FINER, SIDE * FINER))
    box = [x - radius, y - radius, x + radius, y + radius]
    ImageDraw.Draw(canvas).ellipse(box, outline=255, width=round(random.uniform(1.5, 3) * FINER))
    return _reduced(canvas)


def _polygon(
    x: float, y: float, across: NDArray[np.float64], down: NDArray[np.float64], turn: float
) -> NDArray[np.float64]:
    """The share of each pixel (128, 128) that a polygon covers; its corners are turned around its centre (x, y)."""
    canvas = Image.new("L", (SIDE * FINER, SIDE * FINER))
    columns = FINER * (x + across * math.cos(turn) - down * math.sin(turn))
    rows = FINER * (y + across * math.sin(turn) + down * math.cos(turn))
    ImageDraw.Draw(canvas).polygon(list(zip(columns.tolist(), rows.tolist(), strict=True)), fill=255)
    return _reduced(canvas)


def _reduced(canvas: Image.Image) -> NDArray[np.float64]:
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255


NETWORK = DrawnNetwork(
    name="one-scale",
    build=lambda: SmallUNet(lambda channels: nn.InstanceNorm2d(channels, affine=True)),
    drawers={"shapes": draw_shapes, "shapes-shifted": partial(draw_shapes, shifted=True)},
    recipe=Recipe(minutes=10.0, batch=8, learning_rate=2e-3),
    module="benchmarks.one_scale",
)

if __name__ == "__main__":
    main(NETWORK, __doc__)
