"""What the maps of transformers' networks for depth and matting are: numbers for each pixel, not classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from interactify.inspection.spec import Knowledge, Numbers

_OUTPUTS = {"ForDepthEstimation": "predicted_depth", "ForImageMatting": "alphas"}
_METRES = ("glpn", "zoedepth", "chmv2", "tipsv2_dpt")  # whose processors give the map out as it is

_OPEN = Numbers("depth or its inverse, up to scale and shift", alignment="scale_shift")
_METRIC = Numbers("depth, in the units that it was trained in")
_MATTE = Numbers("opacity, in [0, 1]", tolerance=0.02, probability=True)


def output_of_numbers(model: nn.Module) -> str | None:
    """The name of the map of numbers in what a model of transformers returns; None for a model of anything else.

    >>> output_of_numbers(type("DPTForDepthEstimation", (nn.Module,), {})())
    'predicted_depth'
    """
    names = [base.__name__ for base in type(model).__mro__]
    return next((key for end, key in _OUTPUTS.items() if any(name.endswith(end) for name in names)), None)


def with_numbers(known: Knowledge, model: nn.Module, output: str) -> Knowledge:
    """What is known of a model whose map, `output`, is of numbers, completed from its configuration.

    DPT on its own ViT takes squares, to which its image processor resizes photos. GLPN's processor does not normalise.
    vitmatte reads the photo, normalised, and the trimap as it is.
    """
    config: Any = model.config
    stated: dict[str, Any] = {"numbers": _MATTE if output == "alphas" else _depth(config)}
    if getattr(config, "return_dict", True):
        stated["output"] = output
    backbone = getattr(config, "backbone_config", None)
    if config.model_type == "dpt":
        on_backbone = backbone is not None and not getattr(config, "is_hybrid", False)
        patch = getattr(backbone, "patch_size", None)
        stated |= {"divisor": patch if isinstance(patch, int) else None} if on_backbone else {"fit": "squash"}
    if config.model_type == "glpn" and known.mean is None:
        source = "the default of GLPNImageProcessor, assumed: give mean=, std= if yours differ"
        stated |= {"mean": 0.0, "std": 1.0, "normalisation": source}
    if config.model_type == "vitmatte" and isinstance(known.mean, tuple) and isinstance(known.std, tuple):
        stated |= {"mean": (*known.mean, 0.0), "std": (*known.std, 1.0)}
    return known.updated(Knowledge(**stated))


def _depth(config: Any) -> Numbers:
    metric = config.model_type in _METRES or getattr(config, "depth_estimation_type", None) == "metric"
    return _METRIC if metric else _OPEN
