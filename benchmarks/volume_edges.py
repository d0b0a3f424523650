"""What following edges brings to a network of volumes: `python -m benchmarks.volume_edges [--volumes 6] [--out FILE]`.

A small 3-D U-Net is trained on easy synthetic volumes, some minutes, and measured on parts of harder ones that it never
saw (`slice_volumes.py`), once with `propagation="none"` and once with "edges". A simulated user clicks five times, each
time in the middle of the largest error in space. The figure is the IoU of the volume after five clicks; its difference
comes with the interval of the paired bootstrap over volumes (`paired.py`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

import interactify
from benchmarks.slice_volumes import KINDS, MEAN, STD, Truth, draw_volume
from benchmarks.slices import difference
from benchmarks.speed_measure import machine
from interactify.export.files import write_json
from interactify.interactions import VoxelClick
from interactify.learning import cross_entropy_and_iou
from interactify.slices.corrections import iou

SIDE: Final = 40  # voxels of what the network is trained on and measured on
CLICKS, STEPS, BATCH, TRAINED_ON = 5, 250, 4, 24
OUT: Final = Path(__file__).parent / "results" / "volume-edges.json"
PROPAGATIONS: Final = ("none", "edges")


class Small3d(nn.Module):
    """A plain U-Net of three levels: (N, 1, D, H, W) to logits (N, 1, D, H, W), sides divisible by 4."""

    def __init__(self, widths: tuple[int, int, int] = (8, 16, 24)) -> None:
        super().__init__()

        def block(inside: int, out: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv3d(inside, out, 3, padding=1, bias=False), nn.BatchNorm3d(out), nn.ReLU())

        a, b, c = widths
        self.down = nn.ModuleList([block(1, a), block(a, b), block(b, c)])
        self.up = nn.ModuleList([block(c + b, b), block(b + a, a)])
        self.head = nn.Conv3d(a, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down[0](x)
        middle = self.down[1](F.max_pool3d(fine, 2))
        coarse = self.down[2](F.max_pool3d(middle, 2))
        middle = self.up[0](torch.cat([_doubled(coarse), middle], 1))
        logits: Tensor = self.head(self.up[1](torch.cat([_doubled(middle), fine], 1)))
        return logits


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="trilinear", align_corners=False)


def drawn(kind: str, seed: list[int], *, shifted: bool) -> tuple[NDArray[np.float32], Truth]:
    """A part of a synthetic volume, (SIDE, SIDE, SIDE), where most of its objects are, and its truth."""
    volume, truth = draw_volume(kind, np.random.default_rng(seed), shifted=shifted)
    rows, columns = (int(np.argmax(np.convolve(truth.sum(axes), np.ones(SIDE), "valid"))) for axes in ((0, 2), (0, 1)))
    part = (slice(0, SIDE), slice(rows, rows + SIDE), slice(columns, columns + SIDE))
    return volume[part].copy(), truth[part]


def trained(seed: int = 0) -> nn.Module:
    """The network, trained on volumes that are easier than those to measure."""
    torch.manual_seed(seed)
    network = Small3d()
    pairs = [drawn(KINDS[k % len(KINDS)], [0, seed, k], shifted=False) for k in range(TRAINED_ON)]
    volumes = (torch.from_numpy(np.stack([volume for volume, _ in pairs]))[:, None] - MEAN) / STD
    truths = torch.from_numpy(np.stack([truth for _, truth in pairs]))[:, None].float()
    random = np.random.default_rng([0, seed])
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, STEPS)
    for _ in range(STEPS):
        which = torch.from_numpy(random.integers(0, len(volumes), BATCH))
        flips = [axis for axis in (2, 3, 4) if random.random() < 0.5]
        loss = cross_entropy_and_iou(network(volumes[which].flip(flips)), truths[which].flip(flips))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def next_click(truth: Truth, mask: NDArray[np.bool_]) -> VoxelClick | None:
    """A click in the middle of the deepest error, missing or too much; None where nothing is wrong."""
    depths = [distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1, 1:-1] for wrong in (truth & ~mask, mask & ~truth)]
    missing, extra = (float(depth.max()) for depth in depths)
    if not missing and not extra:
        return None
    depth = depths[0] if missing > extra else depths[1]
    z, y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return VoxelClick(int(x), int(y), missing > extra, z=int(z))


def clicked(net: interactify.Interactive, volume: NDArray[np.float32], truth: Truth) -> float:
    """The IoU after the clicks of the simulated user."""
    session = net.session(interactify.Volume(volume))
    for _ in range(CLICKS):
        click = next_click(truth, session.result.mask)
        if click is None:
            break
        session.add([click])
    return iou(session.result.mask, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=6, help="of each kind; %(default)s by default")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    model = trained()
    nets = {name: interactify.wrap(model, mean=MEAN, std=STD, propagation=name) for name in PROPAGATIONS}
    results: dict[str, Any] = {}
    for kind in KINDS:
        rows = []
        for number in range(given.volumes):
            volume, truth = drawn(kind, [2, KINDS.index(kind), number], shifted=True)
            own = iou(nets["none"].session(interactify.Volume(volume)).result.mask, truth)
            rows.append(
                {"own": round(own, 4)} | {name: round(clicked(net, volume, truth), 4) for name, net in nets.items()}
            )
            print(kind, number, json.dumps(rows[-1]), flush=True)
        means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("own", *PROPAGATIONS)}
        gain = difference(rows, *PROPAGATIONS)
        results[kind] = {"means": means, "edges - none": [round(each, 4) for each in (gain.value, gain.low, gain.high)]}
        results[kind]["volumes"] = rows
        print(kind, json.dumps(results[kind]["means"]), results[kind]["edges - none"], flush=True)
    write_json(given.out, {"side": SIDE, "clicks": CLICKS, "results": results, "machine": machine()})


if __name__ == "__main__":
    main()
