"""Networks of volumes from the packages that people use, small ones with random weights.

None of these packages is needed by interactify; they may lie in a folder of their own on PYTHONPATH:

    python -m pip install --no-deps --target FOLDER monai dynamic-network-architectures einops \
        segmentation-models-pytorch-3d timm_3d pretrainedmodels munch

MONAI's are the architectures of its `monai.networks.nets`; nnU-Net's come from `dynamic_network_architectures`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

PACKAGES = ("monai", "dynamic-network-architectures", "segmentation-models-pytorch-3d", "torchvision")
_WIDTHS = (8, 16, 32)


def volume_architectures() -> dict[str, Callable[[], nn.Module]]:
    """Functions that build each network, by "package name"."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for name, options in _MONAI.items():
        found[f"MONAI {name}"] = _builder("monai.networks.nets", name.partition(",")[0], options)
    for kind, options in _NNUNET.items():
        for deep in (False, True):
            name = f"nnU-Net {kind}{', deep supervision' if deep else ''}"
            found[name] = _builder(
                "dynamic_network_architectures.architectures.unet",
                kind,
                {**_nnunet(), **options, "deep_supervision": deep},
            )
    for kind in ("Unet", "UnetPlusPlus", "FPN", "Linknet", "MAnet", "PAN", "PSPNet", "DeepLabV3", "DeepLabV3Plus"):
        options = {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": 1, "classes": 2}
        found[f"smp-3d {kind}/resnet18"] = _builder("segmentation_models_pytorch_3d", kind, options)
    for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d"):
        found[f"torchvision {name}, dense"] = _dense(name)
    return found


class DenseVideo(nn.Module):
    """A video classifier of torchvision whose head is applied at every position: (N, 3, T, H, W) to class maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        head = network.fc if hasattr(network, "fc") else None
        self.network = network
        self.head: nn.Module
        if isinstance(head, nn.Linear):  # the ResNets; S3D's head is convolutions already
            self.head = nn.Conv3d(head.in_features, head.out_features, 1)
            self.head.weight.data = head.weight.data[:, :, None, None, None]
            self.head.bias = head.bias
            self.body = nn.Sequential(*list(network.children())[:-2])  # without the pooling and the head
        else:
            self.body = network.get_submodule("features")  # type: ignore[assignment]
            self.head = network.get_submodule("classifier")
        del self.network

    def forward(self, x: Any) -> Any:
        """(N, classes, t, h, w) logits, smaller than the video."""
        return self.head(self.body(x))


def _builder(module: str, name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network: nn.Module = getattr(importlib.import_module(module), name)(**options)
        return network

    return build


def _dense(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        video = importlib.import_module("torchvision.models.video")
        return DenseVideo(getattr(video, name)(weights=None, num_classes=5))

    return build


def _nnunet() -> dict[str, Any]:
    return {
        "input_channels": 1, "n_stages": 3, "features_per_stage": _WIDTHS, "conv_op": nn.Conv3d, "kernel_sizes": 3,
        "strides": (1, 2, 2), "num_classes": 2, "n_conv_per_stage_decoder": (1, 1), "conv_bias": True,
        "norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip


_SPACE: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
_MONAI: dict[str, dict[str, Any]] = {
    "UNet": {**_SPACE, "channels": _WIDTHS, "strides": (2, 2), "num_res_units": 2},
    "BasicUNet": {**_SPACE, "features": (8, 8, 16, 32, 32, 8)},
    "BasicUNetPlusPlus": {**_SPACE, "features": (8, 8, 16, 32, 32, 8)},
    "SegResNet": {**_SPACE, "init_filters": 8, "blocks_down": (1, 2, 2), "blocks_up": (1, 1)},
    "SegResNetDS": {**_SPACE, "init_filters": 8, "blocks_down": (1, 2, 2), "dsdepth": 2},
    "AttentionUnet": {**_SPACE, "channels": _WIDTHS, "strides": (2, 2)},
    "DynUNet": {**_SPACE, "kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2),
                "filters": _WIDTHS},
    "DynUNet, deep supervision": {**_SPACE, "kernel_size": (3, 3, 3, 3), "strides": (1, 2, 2, 2),
                                  "upsample_kernel_size": (2, 2, 2), "filters": (8, 16, 32, 32),
                                  "deep_supervision": True, "deep_supr_num": 2},
    "SwinUNETR": {**_SPACE, "feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)},
    "UNETR": {**_SPACE, "img_size": 32, "feature_size": 8, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4},
    "VNet": {**_SPACE},
    "FlexibleUNet": {"in_channels": 1, "out_channels": 2, "backbone": "resnet10", "spatial_dims": 3,
                     "decoder_channels": (32, 16, 16, 8, 8)},
    "HighResNet": {**_SPACE},
}  # fmt: skip
_NNUNET: dict[str, dict[str, Any]] = {
    "PlainConvUNet": {"n_conv_per_stage": (2, 2, 2)},
    "ResidualEncoderUNet": {"n_blocks_per_stage": (1, 2, 2)},
    "ResidualUNet": {"n_blocks_per_stage": (1, 2, 2)},
}
