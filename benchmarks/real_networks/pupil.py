"""The pupil of a mouse's eye: a U-Net with attention on grey pictures of 148 × 148 pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmarks.real_networks.module_file import module_from
from benchmarks.real_networks.package import RealNetwork


def load(folder: Path) -> nn.Module:
    inside = folder / "mouse_pupil_analysis"
    model: nn.Module = module_from(inside / "unet.py").UNet(use_attention=True)
    (weights,) = (inside / "checkpoints").glob("*.pth")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


NETWORK = RealNetwork(
    name="pupil",
    package="pypi mouse-pupil-analysis==0.3.0",
    licence="MIT",
    task="a mouse's pupil",
    load=load,
    options={"mean": 0.0, "std": 1.0, "resolution": 148, "divisor": 4},
    source="mouse_pupil_analysis/preprocessing.py",
)
