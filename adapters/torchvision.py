"""torchvision's segmentation networks: FCN, DeepLabV3 and LR-ASPP, which return a dict of maps."""

from __future__ import annotations

from torch import nn

from interactify.adapters.generic import stated
from interactify.inspection.normalisation import IMAGENET
from interactify.inspection.spec import Knowledge

_PACKAGE = "torchvision.models.segmentation"
_RESOLUTION = 520  # pixels, to which the transforms of all its weights resize a photo


class Torchvision:
    """Their class names, the size and normalisation of their weights, and their insertion points."""

    name = "torchvision"

    def recognises(self, model: nn.Module) -> bool:
        here = any(kind.__module__.startswith(_PACKAGE) for kind in type(model).__mro__)
        return here and hasattr(model, "backbone")  # not a head alone

    def knows(self, model: nn.Module) -> Knowledge:
        mean, std = IMAGENET
        known = Knowledge(
            family="torchvision",
            class_names=_voc(),
            points=_points(model),
            mean=mean,
            std=std,
            normalisation="ImageNet's, as of all of torchvision's weights",
            resolution=_RESOLUTION,
            divisor=1,  # they resize their map to the size of any image
        )
        return known.updated(stated(model))


def _voc() -> tuple[str, ...]:
    """The 21 names of Pascal VOC that come with the weights; for networks with 21 classes."""
    # Here: torchvision is loaded already, since the model is of torchvision.
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    return tuple(FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"])


def _points(model: nn.Module) -> dict[str, str]:
    """A: after the backbone; C: the input of the last convolution; B: ASPP, or the first layer of a head without it."""
    head = getattr(model, "classifier", None)
    points = {"A": "backbone"}
    if isinstance(head, nn.Sequential):
        points |= {"B": "classifier.0", "C": f"classifier.{len(head) - 2}"}
    elif hasattr(head, "cbr"):  # LR-ASPP: no module returns the input of its last convolution, cbr's map times a gate
        points |= {"B": "classifier.cbr.0", "C": "classifier.cbr"}
    names = {name for name, _ in nn.Module.named_modules(model)}
    return {letter: name for letter, name in points.items() if name in names}
