"""segmentation_models_pytorch: encoders of known normalisation, decoders of known parts, an activation at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from interactify.adapters.generic import stated
from interactify.inspection.click_input import stated_click_maps
from interactify.inspection.normalisation import IMAGENET
from interactify.inspection.spec import Knowledge

_PACKAGE = "segmentation_models_pytorch"

# All weights that smp offers for its own encoders, except these, were trained with ImageNet's mean and deviation. Since
# smp 0.5 the settings are on a hub; before that they were part of smp.
_INCEPTION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_DPN = tuple(value / 255 for value in (124, 117, 104)), (1 / (0.0167 * 255),) * 3
_OTHER = {
    **dict.fromkeys(("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite"), _INCEPTION),
    "dpn": _DPN,
}
_CLAMPED = 0.02  # distance from 0 and 1 from which log-odds continue as a straight line

# Insertion point B, the middle of the decoder: the name of a module in it.
_MIDDLE: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("UnetDecoder", "MAnetDecoder", "LinknetDecoder"), lambda d: _half("blocks", d.blocks)),
    "UnetPlusPlusDecoder": lambda d: f"blocks.x_0_{d.depth // 2}",
    "FPNDecoder": lambda d: "p3",
    "PSPDecoder": lambda d: "psp",
    "PANDecoder": lambda d: "gau2" if hasattr(d, "gau2") else "fpa",
    "DeepLabV3Decoder": lambda d: "aspp",
    # The first depthwise convolution after ASPP and skip are joined: it passes scales on unchanged.
    "DeepLabV3PlusDecoder": lambda d: "block2.0.0",
    "UPerNetDecoder": lambda d: _half("fpn_lateral_blocks", d.fpn_lateral_blocks),
    "SegformerDecoder": lambda d: "fuse_stage.0",  # where the stages are joined, before normalisation
    "DPTDecoder": lambda d: _half("fusion_blocks", d.fusion_blocks),
}


class Smp:
    """smp's networks and their subclasses: insertion points, divisor, the encoder's normalisation, the activation."""

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
    """The encoder's name in smp ("resnet34", "tu-convnext_tiny"); "" for an encoder that smp does not know."""
    own = str(getattr(model, "name", "")).partition("-")[2]  # "u-resnet34"
    configured = str(_config(model).get("encoder_name") or "")
    for name in (own, configured):
        if name.startswith("tu-") or name in _registered():
            return name
    timm = getattr(getattr(model, "encoder", None), "name", None)
    return f"tu-{timm}" if isinstance(timm, str) and _timm_settings(model) else ""


def _config(model: nn.Module) -> dict[str, Any]:
    """The constructor's arguments; empty for a subclass with its own parameters, or from an older smp."""
    config = getattr(model, "_hub_mixin_config", None)
    return config if isinstance(config, dict) else {}


def _registered() -> dict[str, Any]:
    """The encoders of smp by name, with those that users added; the module is loaded if there is a model of it."""
    found = getattr(sys.modules.get(f"{_PACKAGE}.encoders"), "encoders", {})
    return found if isinstance(found, dict) else {}


def _timm_settings(model: nn.Module) -> dict[str, Any]:
    inner = getattr(getattr(model, "encoder", None), "model", None)
    settings = getattr(inner, "pretrained_cfg", None) or getattr(inner, "default_cfg", None)
    return settings if isinstance(settings, dict) else {}


def _normalisation(model: nn.Module, name: str) -> Knowledge:
    """The encoder's normalisation; for any other number of image channels than three nothing is known."""
    maps = stated_click_maps(model)
    channels = getattr(getattr(model, "encoder", None), "_in_channels", 3) - (0 if maps is None else maps.channels)
    if channels != 3 or not name:
        return Knowledge()
    weights = _config(model).get("encoder_weights")
    settings = _timm_settings(model) or _settings(name, str(weights or "imagenet"))
    mean, std = settings.get("mean"), settings.get("std")
    if mean is None or std is None:
        return Knowledge()
    # smp divides the photo by 255 for an encoder that reads [0, 1], but not for one that reads [0, 255].
    scale = 1 if (settings.get("input_range") or (0, 1))[1] == 1 else 255
    usual = f"the {name} encoder's"
    return Knowledge(
        mean=_scaled(mean, scale),
        std=_scaled(std, scale),
        normalisation=f"{usual}, {weights} weights" if isinstance(weights, str) else f"assumed: {usual} usual",
        bgr=settings.get("input_space") == "BGR" or None,
    )


def _settings(name: str, weights: str) -> dict[str, Any]:
    """The registry's settings of weights: older versions of smp, and users who add an encoder, put them there."""
    entry = _registered().get(name, {})
    offered = entry.get("pretrained_settings") or {}
    settings: object = offered.get(weights) or next(iter(offered.values()), {})
    if isinstance(settings, dict) and "mean" in settings:
        return settings
    if not entry.get("encoder", object).__module__.startswith(_PACKAGE):
        return {}
    mean, std = next((pair for start, pair in _OTHER.items() if name.startswith(start)), IMAGENET)
    return dict(zip(("mean", "std"), _INCEPTION if weights == "advprop" else (mean, std), strict=True))


def _scaled(values: Sequence[float], scale: float) -> tuple[float, ...]:
    return tuple(float(value) / scale for value in values)


def _size(model: nn.Module) -> Knowledge:
    """The divisor and the least value of height and width; whether only one size is possible."""
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    stride, kinds = getattr(encoder, "output_stride", None), _kinds(decoder)
    least = _least_of_timm(model)
    if not getattr(model, "requires_divisible_input_shape", True) or not isinstance(stride, int):
        return Knowledge(smallest=least or None)
    if "DPTDecoder" in kinds:  # it halves its last map until it has 1/4, 1/8, 1/16, … of the image's size
        stride = math.lcm(stride, 2 ** (len(decoder.reassemble_blocks) + 1))  # type: ignore[union-attr]
    vit = getattr(encoder, "model", None)
    size = getattr(getattr(vit, "patch_embed", None), "img_size", None)
    if getattr(vit, "dynamic_img_size", None) is False and size and size[0] == size[1]:
        return Knowledge(divisor=stride, resolution=int(size[0]), fixed=True)
    if "PANDecoder" in kinds:  # it halves the deepest map three times more
        least = max(least, 8 * stride)
    return Knowledge(divisor=stride, smallest=least or None)


def _least_of_timm(model: nn.Module) -> int:
    """The least height and width that an encoder of timm takes; 0 if any usual size works."""
    settings = _timm_settings(model)
    unpadded = str(settings.get("architecture", "")).startswith(("inception_v", "inception_resnet"))
    return max([75 if unpadded else 0, *(settings.get("min_input_size") or ())[-2:]])


def _points(model: nn.Module) -> dict[str, str]:
    """f-BRS's insertion points, as far as they exist: a subclass may be built in another way."""
    decoder = getattr(model, "decoder", None)
    middle = next((_MIDDLE[kind](decoder) for kind in _kinds(decoder) if kind in _MIDDLE), None)
    points = {"A": "encoder", "B": f"decoder.{middle}", "C": "decoder"}
    names = {name for name, _ in nn.Module.named_modules(model)}
    return {letter: name for letter, name in points.items() if name in names}


def _kinds(decoder: object) -> list[str]:
    return [kind.__name__ for kind in type(decoder).__mro__ if kind.__module__.split(".")[0] == _PACKAGE]


def _half(name: str, blocks: Sequence[nn.Module]) -> str:
    return f"{name}.{(len(blocks) - 1) // 2}"


def _hidden_logits(model: nn.Module) -> Callable[[nn.Module, Tensor], Any] | None:
    """A forward that ends before an activation that passes no gradient to clicks; None if there is no such activation.

    Sigmoid and softmax are not among them: logits are read before these anyway, and they show whether classes exclude
    each other. Nor are the logarithm of a softmax, which is as good as logits, and a user's own function.
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
        """The network's own forward, with an activation that passes its input on."""
        activation = network.get_submodule(name)
        handle = activation.register_forward_hook(lambda module, args, out: logits_of(args[0]))
        try:
            return type(network).forward(network, image)
        finally:
            handle.remove()

    return forward


def _log_odds_of_unclamped(value: Tensor) -> Tensor:
    """Log-odds of a value that a clamp to [0, 1] turns into a probability; a straight line beyond the clamp.

    >>> [round(value, 2) for value in _log_odds_of_unclamped(torch.tensor([0.5, 0.9, 1.0, 3.0])).tolist()]
    [0.0, 2.2, 4.91, 106.95]
    """
    inside = value.clamp(_CLAMPED, 1 - _CLAMPED)
    return torch.logit(inside) + (value - inside) / (_CLAMPED * (1 - _CLAMPED))


# By the activation's class: from its input to logits.
_LOGITS_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "ArgMax": torch.clone,
    "Tanh": torch.clone,
    "Clamp": _log_odds_of_unclamped,
}
