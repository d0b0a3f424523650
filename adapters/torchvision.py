"""torchvision's segmentation networks: FCN, DeepLabV3 and LR-ASPP, which return a dict of maps."""

from __future__ import annotations

from torch import nn

from interactify.adapters.generic import stated
from interactify.inspection.normalisation import IMAGENET
from interactify.inspection.spec import Knowledge

_PACKAGE = "torchvision.models.segmentation"
_RESOLUTION = 520  # pixels: what the transforms of all its weights resize a photo to


class Torchvision:
    """Knows their names of classes, the size and normalisation of their weights, and their parts."""

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
            divisor=1,  # they resize their map to whatever size the image has
        )
        return known.updated(stated(model))


def _voc() -> tuple[str, ...]:
    """The 21 names of Pascal VOC that come with the weights; they hold where a network has as many classes."""
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    return tuple(FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"])


def _points(model: nn.Module) -> dict[str, str]:
    """A after the backbone; C what the last convolution reads; B ASPP, or the first layer of a head without."""
    head = getattr(model, "classifier", None)
    places = {"A": "backbone"}
    if isinstance(head, nn.Sequential):
        places |= {"B": "classifier.0", "C": f"classifier.{len(head) - 2}"}
    elif hasattr(head, "cbr"):  # LR-ASPP: its last convolution reads what no module gives, cbr's map times a gate
        places |= {"B": "classifier.cbr.0", "C": "classifier.cbr"}
    names = {name for name, _ in nn.Module.named_modules(model)}
    return {letter: name for letter, name in places.items() if name in names}
