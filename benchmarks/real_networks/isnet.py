"""IS-Net (Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022), as it is after training.

A stem that halves the picture, then a U of eleven blocks that are U's themselves (RSU; Qin et al., "U²-Net", Pattern
Recognition 2020, section 3.1), and a side output for each level. Batch norms are folded into the convolutions, so each
has a bias. The modules are called as in the authors' code, so that a file of weights says where each belongs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = {
    "stage1": (7, 64, 32, 64),
    "stage2": (6, 64, 32, 128),
    "stage3": (5, 128, 64, 256),
    "stage4": (4, 256, 128, 512),
}
"""The encoder's blocks that pool: height, and channels in, inside and out. The decoder's have the same height."""
FLAT = {"stage5": (512, 256, 512), "stage6": (512, 256, 512), "stage5d": (1024, 256, 512)}
"""The blocks that dilate where others pool: channels in, inside and out."""
DECODER = {
    "stage4d": (4, 1024, 128, 256),
    "stage3d": (5, 512, 64, 128),
    "stage2d": (6, 256, 32, 64),
    "stage1d": (7, 128, 16, 64),
}
SIDES = (64, 64, 128, 256, 512, 512)  # channels of the maps that side outputs are made from, from the finest


def _conv(inside: int, out: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, out, 3, padding=dilation, dilation=dilation)


def _down(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def _as_large(x: Tensor, as_: Tensor) -> Tensor:
    return F.interpolate(x, as_.shape[2:], mode="bilinear", align_corners=False)


class RSU(nn.Module):
    """Residual U-block of `height` levels: the last dilates, the others pool; (N, in, h, w) to (N, out, h, w)."""

    def __init__(self, height: int, inside: int, middle: int, out: int) -> None:
        super().__init__()
        self.height = height
        self.rebnconvin = _conv(inside, out)
        for level in range(1, height + 1):
            self.add_module(f"rebnconv{level}", _conv(out if level == 1 else middle, middle, 1 + (level == height)))
        for level in range(height - 1, 0, -1):
            self.add_module(f"rebnconv{level}d", _conv(2 * middle, out if level == 1 else middle))

    def forward(self, x: Tensor) -> Tensor:
        whole = F.relu(self.rebnconvin(x))
        maps, x = [], whole
        for level in range(1, self.height):
            x = F.relu(self.get_submodule(f"rebnconv{level}")(_down(x) if level > 1 else x))
            maps.append(x)
        x = F.relu(self.get_submodule(f"rebnconv{self.height}")(x))
        for level in range(self.height - 1, 0, -1):
            joined = torch.cat([_as_large(x, maps[level - 1]), maps[level - 1]], 1)
            x = F.relu(self.get_submodule(f"rebnconv{level}d")(joined))
        return x + whole


class FlatRSU(nn.Module):
    """The same with four levels of one size, whose convolutions reach 1, 2, 4 and 8 pixels (RSU-4F)."""

    def __init__(self, inside: int, middle: int, out: int) -> None:
        super().__init__()
        self.rebnconvin = _conv(inside, out)
        self.rebnconv1, self.rebnconv2 = _conv(out, middle), _conv(middle, middle, 2)
        self.rebnconv3, self.rebnconv4 = _conv(middle, middle, 4), _conv(middle, middle, 8)
        self.rebnconv3d, self.rebnconv2d = _conv(2 * middle, middle, 4), _conv(2 * middle, middle, 2)
        self.rebnconv1d = _conv(2 * middle, out)

    def forward(self, x: Tensor) -> Tensor:
        whole = F.relu(self.rebnconvin(x))
        one = F.relu(self.rebnconv1(whole))
        two = F.relu(self.rebnconv2(one))
        three = F.relu(self.rebnconv3(two))
        x = F.relu(self.rebnconv4(three))
        x = F.relu(self.rebnconv3d(torch.cat([x, three], 1)))
        x = F.relu(self.rebnconv2d(torch.cat([x, two], 1)))
        x = F.relu(self.rebnconv1d(torch.cat([x, one], 1)))
        return x + whole


class ISNet(nn.Module):
    """(N, 3, H, W) to six probabilities (N, 1, H, W), the finest first, which is the network's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        for name, sizes in {**STAGES, **DECODER}.items():
            self.add_module(name, RSU(*sizes))
        for name, channels in FLAT.items():
            self.add_module(name, FlatRSU(*channels))
        for level, width in enumerate(SIDES, 1):
            self.add_module(f"side{level}", _conv(width, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.conv_in(image)
        maps = []
        for level in range(1, 7):
            x = self.get_submodule(f"stage{level}")(x if level == 1 else _down(x))
            maps.append(x)
        ups = [maps.pop()]
        for level in range(5, 0, -1):
            skip = maps.pop()
            ups.append(self.get_submodule(f"stage{level}d")(torch.cat([_as_large(ups[-1], skip), skip], 1)))
        sides = (self.get_submodule(f"side{level}")(x) for level, x in enumerate(reversed(ups), 1))
        return tuple(torch.sigmoid(_as_large(side, image)) for side in sides)
