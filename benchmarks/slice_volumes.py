"""Synthetic volumes for 2-D networks that see them slice by slice: blobs and tubes, with truths; and a small network.

Objects are bright and textureless, on an uneven ground with noise. Others of the same shapes, less bright, do not
belong to them. Volumes that are measured are harder than those that are trained on: more noise, fainter objects, and
others that are nearly as bright. So the network takes others for objects and loses parts, over many slices alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor, nn

from benchmarks.drawn_training import SmallUNet
from interactify.learning import cross_entropy_and_iou

SIZE: Final = (40, 96, 96)
KINDS: Final = ("blobs", "tubes", "thin tubes")
GROUND, OBJECT = 0.40, 0.62  # brightness
OTHERS: Final = {False: 0.48, True: 0.51}  # brightness of what does not belong, in volumes to train on and to measure
NOISE: Final = {False: 0.05, True: 0.06}
UNEVEN: Final = {False: 0.03, True: 0.04}
MEAN, STD = 0.45, 0.15
STEPS, BATCH, TRAINED_ON = 400, 12, 24

Volume = NDArray[np.float32]
Truth = NDArray[np.bool_]


def draw_volume(kind: str, random: np.random.Generator, *, shifted: bool) -> tuple[Volume, Truth]:
    """A volume (D, H, W) float32 in [0, 1], and where its objects are, (D, H, W) bool."""
    counts = {"blobs": (3, 3), "tubes": (2, 2), "thin tubes": (4, 3)}[kind]
    shape = _blob if kind == "blobs" else _tube
    radii = {"blobs": (7.0, 15.0), "tubes": (4.0, 8.0), "thin tubes": (1.2, 2.0)}[kind]
    mine, others = (np.max([shape(random, radii) for _ in range(count)], 0) for count in counts)
    others = np.where(mine > 0.02, 0, others)
    uneven = gaussian_filter(random.normal(0, 1, SIZE), (6, 12, 12))
    uneven *= UNEVEN[shifted] / uneven.std()
    faint = 1 - (0.35 if shifted else 0.15) * np.clip(gaussian_filter(random.normal(0, 1, SIZE), (5, 9, 9)) * 80, 0, 1)
    light = GROUND + uneven + mine * faint * (OBJECT - GROUND) + others * (OTHERS[shifted] - GROUND)
    light += random.normal(0, NOISE[shifted], SIZE)
    return np.clip(light, 0, 1).astype(np.float32), mine > 0.5


def _blob(random: np.random.Generator, radii: tuple[float, float]) -> NDArray[np.float64]:
    """The share of each voxel that an ellipsoid with an uneven surface covers."""
    grid = np.indices(SIZE, float)
    centre = np.array([random.uniform(0.1, 0.9) * side for side in SIZE])
    radius = random.uniform(*radii, 3)
    radius[0] *= 1.3
    distance = np.sqrt((((grid - centre[:, None, None, None]) / radius[:, None, None, None]) ** 2).sum(0))
    bumps = gaussian_filter(random.normal(0, 1, SIZE), 5)
    return np.clip((1 - distance + 0.25 * bumps / bumps.std() * 0.6) * radius.min() + 0.5, 0, 1)


def _tube(random: np.random.Generator, radii: tuple[float, float]) -> NDArray[np.float64]:
    """The share of each voxel that a tube through all slices covers; it moves by up to two voxels a slice."""
    depth, height, width = SIZE
    rows, columns = np.mgrid[:height, :width].astype(float)
    path = np.stack([
        np.cumsum(gaussian_filter1d(random.normal(0, 1, depth), 5, mode="nearest") * 2.5)
        + random.uniform(0.2, 0.8) * side for side in (height, width)
    ])  # fmt: skip
    radius = random.uniform(*radii) * (1 + 0.25 * np.sin(np.linspace(0, random.uniform(2, 8), depth)))
    slope = np.hypot(*np.gradient(path, axis=1))
    covered = np.empty(SIZE)
    for z in range(depth):
        distance = np.hypot(rows - path[0, z], (columns - path[1, z]))
        covered[z] = np.clip(radius[z] * np.sqrt(1 + slope[z] ** 2) ** 0.5 - distance + 0.5, 0, 1)
    return covered


def trained(seed: int = 0, kinds: Sequence[str] = KINDS) -> nn.Module:
    """A small U-Net of slices, trained for a minute or two on volumes that are easier than those to measure."""
    torch.manual_seed(seed)
    network = SmallUNet(nn.BatchNorm2d, (8, 16, 32))
    random = np.random.default_rng([0, seed])
    drawn = [draw_volume(kinds[k % len(kinds)], random, shifted=False) for k in range(TRAINED_ON)]
    volumes = torch.from_numpy(np.stack([volume for volume, _ in drawn]).reshape(-1, 1, *SIZE[1:]))
    truths = torch.from_numpy(np.stack([truth for _, truth in drawn]).reshape(-1, 1, *SIZE[1:])).float()
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, STEPS)
    for _ in range(STEPS):
        which = torch.from_numpy(random.integers(0, len(volumes), BATCH))
        loss = cross_entropy_and_iou(network(of_slices(volumes[which])), truths[which])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def of_slices(grey: Tensor) -> Tensor:
    """Slices (N, 1, H, W) in [0, 1] as the network reads them, (N, 3, H, W)."""
    return ((grey - MEAN) / STD).expand(-1, 3, -1, -1)
