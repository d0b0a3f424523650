"""The pairs of architecture and encoder that segmentation_models_pytorch can build.

`python -m benchmarks.smp_architectures` builds all of its 12 × 76 native pairs and prints where `refusal` is wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import segmentation_models_pytorch as smp
import torch
from torch import nn

from benchmarks.architectures import timm_cnns

ARCHITECTURES = (
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet"),
    *("Segformer", "DPT"),
)
_DILATED = ("PAN", "DeepLabV3", "DeepLabV3Plus")
_POOLS = ("vgg", "densenet", "inceptionresnetv2", "inceptionv4", "xception")


def refusal(architecture: str, encoder: str) -> str | None:
    """Why smp 0.6.0 refuses to build a pair with a native encoder; None if it builds it.

    >>> refusal("PAN", "vgg11")
    'the encoder halves its maps by pooling, which cannot be dilated'
    """
    if architecture == "DPT":
        return "takes timm's encoders only (tu-…)"
    if architecture in _DILATED and encoder.startswith(_POOLS):
        return "the encoder halves its maps by pooling, which cannot be dilated"
    if architecture in ("UnetPlusPlus", "Linknet") and encoder.startswith("mit_b"):
        return "the decoder needs a map at half the input's size, which the encoder doesn't have"
    return None


def smp_pairs() -> list[tuple[str, str]]:
    """The 779 pairs (architecture, native encoder) that can be built, of 912; names as in smp.

    >>> len(smp_pairs())
    779
    """
    return [pair for pair in _all_pairs() if refusal(*pair) is None]


def smp_timm_pairs() -> list[tuple[str, str]]:
    """Unet with each of timm's CNNs as its encoder, ("Unet", "tu-resnet18"), …; of timm 1.0.31 smp builds all 652."""
    return [("Unet", f"tu-{name}") for name in timm_cnns()]


def built(architecture: str, encoder: str, **options: object) -> nn.Module:
    """The network with random weights, in evaluation mode. Raises as smp does for a refused pair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # "timm-" encoders have newer names
        network: nn.Module = getattr(smp, architecture)(encoder, encoder_weights=None, **options)
    return network.eval()


def _all_pairs() -> list[tuple[str, str]]:
    return [(architecture, encoder) for architecture in ARCHITECTURES for encoder in smp.encoders.get_encoder_names()]


def _wrong() -> Iterator[str]:
    """Each pair for which `refusal` is wrong, with the result of building it."""
    for architecture, encoder in _all_pairs():
        # A mix transformer reads a tensor's value while it is built, so it can't be built on the meta device.
        device = "cpu" if encoder.startswith("mit_b") else "meta"
        try:
            with torch.device(device):
                built(architecture, encoder)
            error = None
        except (ValueError, RuntimeError) as cause:
            error = f"{type(cause).__name__}: {cause}"
        if (error is None) != (refusal(architecture, encoder) is None):
            yield f"{architecture} {encoder}: {error or 'was built'}"


if __name__ == "__main__":
    wrong = list(_wrong())
    print("\n".join(wrong) or f"all as expected: {len(smp_pairs())} of {len(_all_pairs())} pairs can be built")
