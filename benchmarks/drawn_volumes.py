"""Volumes that are drawn on the spot, tubes and blobs with exact masks, and a small 3-D network for them.

The object is either one branching tube or one blob, brighter than what is around it; other blobs and tubes, of another
brightness, are not it. Shifted volumes have more noise, or a bias field as in MRI: brightness that drifts.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor, nn

from interactify.evaluation import Sample
from interactify.learning import cross_entropy_and_iou

SIDE: Final = 40
TRAINED, TESTED = 0, 1  # the first number of a volume's seed
Volumes = NDArray[np.float32]


class SmallUNet3d(nn.Module):
    """A plain 3-D U-Net (Çiçek et al., 2016): (N, 1, D, H, W) to logits (N, 1, D, H, W), sides divisible by 4."""

    def __init__(self, widths: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()

        def block(inside: int, out: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (inside, out):
                layers += [nn.Conv3d(channels, out, 3, padding=1, bias=False), nn.BatchNorm3d(out), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList(block(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose3d(a, b, 2, stride=2) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(block(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Conv3d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool3d(x, 2) if level else x)
            skips.append(x)
        for skip, enlarge, block in zip(skips[-2::-1], self.enlarge, self.up, strict=True):
            x = block(torch.cat([skip, enlarge(x)], 1))
        logits: Tensor = self.head(x)
        return logits


def drawn(random: np.random.Generator, side: int = SIDE) -> tuple[Volumes, NDArray[np.bool_]]:
    """A volume (D, H, W) float32 in about [0, 1], and the mask of its object."""
    tube = bool(random.integers(2))
    mask = _tube(random, side) if tube else _blob(random, side)
    inside = random.uniform(0.6, 0.9)
    volume = np.full((side,) * 3, random.uniform(0.15, 0.35))
    for index in range(4):  # darker than the object, and one as bright, but of the other shape
        other = _blob(random, side, smaller=True) if index < 2 or tube else _tube(random, side)
        level = inside if index == 0 else random.uniform(0.35, 0.55)
        if index == 0 and not tube:
            continue
        volume[other & ~_grown(mask)] = level
    volume[mask] = inside
    texture = gaussian_filter(random.normal(0, 1, volume.shape), 2)
    volume = gaussian_filter(volume, 0.7) + 0.03 * texture / texture.std() + random.normal(0, 0.05, volume.shape)
    return volume.astype(np.float32), mask


def noisy(random: np.random.Generator, side: int = SIDE) -> tuple[Volumes, NDArray[np.bool_]]:
    """With twice the noise."""
    volume, mask = drawn(random, side)
    return (volume + random.normal(0, 0.09, volume.shape)).astype(np.float32), mask


def biased(random: np.random.Generator, side: int = SIDE) -> tuple[Volumes, NDArray[np.bool_]]:
    """In a bias field: brightness times 0.4 to 1.6, smooth through space."""
    volume, mask = drawn(random, side)
    return volume * bias_field(random, volume.shape, 0.6), mask


def bias_field(random: np.random.Generator, size: Sequence[int], strength: float) -> Volumes:
    """(D, H, W) float32, smooth, from 1 − strength to 1 + strength: what voxels are multiplied with."""
    coarse = torch.from_numpy(random.normal(0, 1, (1, 1, 3, 3, 3)))
    field = nn.functional.interpolate(coarse, tuple(size), mode="trilinear", align_corners=True)[0, 0]
    field = 2 * (field - field.min()) / (field.max() - field.min()) - 1
    return (1 + strength * field).float().numpy()


SETS: Final[dict[str, Callable[[np.random.Generator], tuple[Volumes, NDArray[np.bool_]]]]] = {
    "drawn": drawn,
    "noise": noisy,
    "bias field": biased,
}


def samples(name: str, count: int) -> list[Sample]:
    """Volumes of a set, called 00, 01, …: always the same ones, and no training draws them."""
    found = []
    for index in range(count):
        volume, mask = SETS[name](np.random.default_rng([TESTED, zlib.crc32(name.encode()), index]))
        found.append(Sample(f"{index:02d}", volume, mask.astype(np.int8)))
    return found


def trained(
    steps: int,
    seed: int = 0,
    batch: int = 2,
    side: int = SIDE,
    report: Callable[[int, float], None] | None = None,
    make: Callable[[], nn.Module] = SmallUNet3d,
) -> nn.Module:
    """A network, by default a `SmallUNet3d`, trained on an endless row of drawn volumes.

    Every 50 steps `report` gets step and loss.
    """
    torch.manual_seed(seed)
    network = make()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps, pct_start=0.2)
    network.train()
    losses = []
    for step in range(steps):
        pairs = [drawn(np.random.default_rng([TRAINED, seed, step, index]), side) for index in range(batch)]
        volume = torch.from_numpy(np.stack([each for each, _ in pairs]))[:, None]
        mask = torch.from_numpy(np.stack([own for _, own in pairs]))[:, None].float()
        loss = cross_entropy_and_iou(network(volume), mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if report and step % 50 == 49:
            report(step + 1, float(np.mean(losses[-50:])))
    return network.eval()


def _blob(random: np.random.Generator, side: int, smaller: bool = False) -> NDArray[np.bool_]:
    """A ball whose surface waves, of a random size and stretch."""
    middle = random.uniform(0.3 * side, 0.7 * side, 3)
    radius = random.uniform(0.08, 0.14) * side if smaller else random.uniform(0.16, 0.26) * side
    stretch = random.uniform(0.7, 1.3, 3)
    if smaller:
        middle = random.uniform(0.1 * side, 0.9 * side, 3)
    axes = np.indices((side,) * 3).reshape(3, -1).T
    away = np.linalg.norm((axes - middle) / stretch, axis=1).reshape((side,) * 3)
    waves = gaussian_filter(random.normal(0, 1, away.shape), side / 10)
    found: NDArray[np.bool_] = away + 0.15 * radius * waves / waves.std() < radius
    return found


def _tube(random: np.random.Generator, side: int) -> NDArray[np.bool_]:
    """A bent tube through the volume with one branch, 2.5 to 4 voxels thick."""
    line = np.ones((side,) * 3, bool)
    start = random.uniform(0.2 * side, 0.8 * side, 3)
    axis = int(random.integers(3))
    start[axis] = 0.1 * side
    direction = random.normal(0, 0.4, 3)
    direction[axis] = 1
    path = _walk(random, line, start, direction, side)
    _walk(random, line, path[len(path) // 3], direction + random.normal(0, 0.9, 3), side)
    found: NDArray[np.bool_] = distance_transform_edt(line) < random.uniform(1.3, 2.0)
    return found


def _walk(
    random: np.random.Generator, line: NDArray[np.bool_], at: NDArray[np.float64], way: NDArray[np.float64], side: int
) -> list[NDArray[np.float64]]:
    """Clear the voxels along a path that bends a little at each step, until it leaves the volume."""
    path = []
    for _ in range(4 * side):
        voxel = np.round(at).astype(int)
        if voxel.min() < 0 or voxel.max() >= side:
            break
        line[tuple(voxel)] = False
        path.append(at)
        way = way + random.normal(0, 0.12, 3)
        way = way / np.linalg.norm(way)
        at = at + 0.7 * way
    return path


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = distance_transform_edt(~mask) <= 2
    return found
