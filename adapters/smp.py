"""segmentation_models_pytorch: encoders of known normalisation, decoders of known parts, an activation at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from interactify.adapters.generic import stated
from interactify.inspection.normalisation import IMAGENET
from interactify.inspection.spec import Knowledge

_PACKAGE = "segmentation_models_pytorch"

# Of the weights that smp offers for its own encoders all but these were trained with ImageNet's mean and deviation. The
# settings themselves are kept on a hub since smp 0.5; until then they were part of it.
_INCEPTION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_DPN = tuple(value / 255 for value in (124, 117, 104)), (1 / (0.0167 * 255),) * 3
_OTHER = {
    **dict.fromkeys(("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite"), _INCEPTION),
    "dpn": _DPN,
}
_CLAMPED = 0.02  # how near to 0 and 1 log-odds are followed; from there on they go on straight

# B, the middle of the decoder: the name of a module in it.
_MIDDLE: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("UnetDecoder", "MAnetDecoder", "LinknetDecoder"), lambda d: _half("blocks", d.blocks)),
    "UnetPlusPlusDecoder": lambda d: f"blocks.x_0_{d.depth // 2}",
    "FPNDecoder": lambda d: "p3",
    "PSPDecoder": lambda d: "psp",
    "PANDecoder": lambda d: "gau2" if hasattr(d, "gau2") else "fpa",
    "DeepLabV3Decoder": lambda d: "aspp",
    # The first depthwise convolution of ASPP and skip joined: scales pass through it as they are.
    "DeepLabV3PlusDecoder": lambda d: "block2.0.0",
    "UPerNetDecoder": lambda d: _half("fpn_lateral_blocks", d.fpn_lateral_blocks),
    "SegformerDecoder": lambda d: "fuse_stage.0",  # the stages joined, before normalisation
    "DPTDecoder": lambda d: _half("fusion_blocks", d.fusion_blocks),
}


class Smp:
    """Knows smp's networks, and subclasses of them: points, divisor, the encoder's normalisation, the activation."""

    name = "smp"

    def recognises(self, model: nn.Module) -> bool:
        return any(
            kind.__name__ == "SegmentationModel" and kind.__module__.split(".")[0] == _PACKAGE
            for kind in type(model).__mro__
        )

    def knows(self, model: nn.Module) -> Knowledge:
        name = _encoder_name(model)
        hidden = _hidden_logits(model)
        known = Knowledge(
            family=f"{_PACKAGE}, {name} encoder" if name else _PACKAGE,
            forward=hidden,
            activation="none" if hidden is not None else None,
            points=_points(model),
        )
        return known.updated(_size(model)).updated(_normalisation(model, name)).updated(stated(model))


def _encoder_name(model: nn.Module) -> str:
    """As smp calls it ("resnet34", "tu-convnext_tiny"); "" for an encoder that smp does not know."""
    own = str(getattr(model, "name", "")).partition("-")[2]  # "u-resnet34"
    configured = str(_config(model).get("encoder_name") or "")
    for name in (own, configured):
        if name.startswith("tu-") or name in _registered():
            return name
    timm = getattr(getattr(model, "encoder", None), "name", None)
    return f"tu-{timm}" if isinstance(timm, str) and _timm_settings(model) else ""


def _config(model: nn.Module) -> dict[str, Any]:
    """What the constructor was called with; empty for a subclass with parameters of its own, or of an older smp."""
    config = getattr(model, "_hub_mixin_config", None)
    return config if isinstance(config, dict) else {}


def _registered() -> dict[str, Any]:
    """What smp calls its encoders, and a user those added to them; the module is loaded where a model of it is."""
    found = getattr(sys.modules.get(f"{_PACKAGE}.encoders"), "encoders", {})
    return found if isinstance(found, dict) else {}


def _timm_settings(model: nn.Module) -> dict[str, Any]:
    inner = getattr(getattr(model, "encoder", None), "model", None)
    settings = getattr(inner, "pretrained_cfg", None) or getattr(inner, "default_cfg", None)
    return settings if isinstance(settings, dict) else {}


def _normalisation(model: nn.Module, name: str) -> Knowledge:
    """The encoder's; of any other number of channels than three nothing is known."""
    if getattr(getattr(model, "encoder", None), "_in_channels", 3) != 3 or not name:
        return Knowledge()
    weights = _config(model).get("encoder_weights")
    settings = _timm_settings(model) or _settings(name, str(weights or "imagenet"))
    mean, std = settings.get("mean"), settings.get("std")
    if mean is None or std is None:
        return Knowledge()
    # smp divides the photo by 255 for an encoder that reads [0, 1], and leaves it alone for one of [0, 255].
    scale = 1 if (settings.get("input_range") or (0, 1))[1] == 1 else 255
    usual = f"the {name} encoder's"
    return Knowledge(
        mean=_scaled(mean, scale),
        std=_scaled(std, scale),
        normalisation=f"{usual}, {weights} weights" if isinstance(weights, str) else f"assumed: {usual} usual",
        bgr=settings.get("input_space") == "BGR" or None,
    )


def _settings(name: str, weights: str) -> dict[str, Any]:
    """What the registry says of weights: older versions of smp, and users who add an encoder, say it there."""
    entry = _registered().get(name, {})
    offered = entry.get("pretrained_settings") or {}
    said: object = offered.get(weights) or next(iter(offered.values()), {})
    if isinstance(said, dict) and "mean" in said:
        return said
    if not entry.get("encoder", object).__module__.startswith(_PACKAGE):
        return {}
    mean, std = next((pair for start, pair in _OTHER.items() if name.startswith(start)), IMAGENET)
    return dict(zip(("mean", "std"), _INCEPTION if weights == "advprop" else (mean, std), strict=True))


def _scaled(values: Sequence[float], scale: float) -> tuple[float, ...]:
    return tuple(float(value) / scale for value in values)


def _size(model: nn.Module) -> Knowledge:
    """What height and width must be divisible by, and at least; whether one size is all that goes."""
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    stride, kinds = getattr(encoder, "output_stride", None), _kinds(decoder)
    least = _least_of_timm(model)
    if not getattr(model, "requires_divisible_input_shape", True) or not isinstance(stride, int):
        return Knowledge(smallest=least or None)
    if "DPTDecoder" in kinds:  # it halves the last of its maps until it lies at 1/4, 1/8, 1/16, … of the image
        stride = math.lcm(stride, 2 ** (len(decoder.reassemble_blocks) + 1))  # type: ignore[union-attr]
    vit = getattr(encoder, "model", None)
    size = getattr(getattr(vit, "patch_embed", None), "img_size", None)
    if getattr(vit, "dynamic_img_size", None) is False and size and size[0] == size[1]:
        return Knowledge(divisor=stride, resolution=int(size[0]), fixed=True)
    if "PANDecoder" in kinds:  # it halves the deepest map three times more
        least = max(least, 8 * stride)
    return Knowledge(divisor=stride, smallest=least or None)


def _least_of_timm(model: nn.Module) -> int:
    """The least height and width that one of timm's encoders takes; 0 where any that is usual will do."""
    settings = _timm_settings(model)
    unpadded = str(settings.get("architecture", "")).startswith(("inception_v", "inception_resnet"))
    return max([75 if unpadded else 0, *(settings.get("min_input_size") or ())[-2:]])


def _points(model: nn.Module) -> dict[str, str]:
    """f-BRS's places, of which those are named that exist: a subclass may be built otherwise."""
    decoder = getattr(model, "decoder", None)
    middle = next((_MIDDLE[kind](decoder) for kind in _kinds(decoder) if kind in _MIDDLE), None)
    places = {"A": "encoder", "B": f"decoder.{middle}", "C": "decoder"}
    names = {name for name, _ in nn.Module.named_modules(model)}
    return {letter: name for letter, name in places.items() if name in names}


def _kinds(decoder: object) -> list[str]:
    return [kind.__name__ for kind in type(decoder).__mro__ if kind.__module__.split(".")[0] == _PACKAGE]


def _half(name: str, blocks: Sequence[nn.Module]) -> str:
    return f"{name}.{(len(blocks) - 1) // 2}"


def _hidden_logits(model: nn.Module) -> Callable[[nn.Module, Tensor], Any] | None:
    """A forward that ends before an activation through which no click could act; None where there is no such.

    A sigmoid and a softmax are not among them: logits are read before these anyway, and they tell what the classes
    are to each other. Nor are a logarithm of a softmax, which is as good as logits, and a user's own function.
    """
    head = getattr(model, "segmentation_head", None)
    if not isinstance(head, nn.Module) or "forward" in vars(model):
        return None
    found = [name for name, module in nn.Module.named_modules(head) if type(module).__name__ == "Activation"]
    last = getattr(head.get_submodule(found[-1]), "activation", None) if found else None
    logits_of = _LOGITS_OF.get(type(last).__name__)
    return None if logits_of is None else _ending_before(f"segmentation_head.{found[-1]}", logits_of)


def _ending_before(name: str, logits_of: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Any]:
    def forward(network: nn.Module, image: Tensor) -> Any:
        """The network's own forward, in which the activation passes on what it reads."""
        activation = network.get_submodule(name)
        handle = activation.register_forward_hook(lambda module, args, out: logits_of(args[0]))
        try:
            return type(network).forward(network, image)
        finally:
            handle.remove()

    return forward


def _log_odds_of_unclamped(value: Tensor) -> Tensor:
    """Log-odds of what a clamp to [0, 1] makes a probability of; straight on where it would have cut off.

    >>> [round(value, 2) for value in _log_odds_of_unclamped(torch.tensor([0.5, 0.9, 1.0, 3.0])).tolist()]
    [0.0, 2.2, 4.91, 106.95]
    """
    inside = value.clamp(_CLAMPED, 1 - _CLAMPED)
    return torch.logit(inside) + (value - inside) / (_CLAMPED * (1 - _CLAMPED))


# By the activation's class: what logits are made of its input.
_LOGITS_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "ArgMax": torch.clone,
    "Tanh": torch.clone,
    "Clamp": _log_odds_of_unclamped,
}
