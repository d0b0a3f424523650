"""Networks that find objects, with boxes, instead of a class for each pixel: known by their classes, and refused.

Running them would tell the same by what they return, but takes minutes: an untrained one finds objects everywhere.
"""

from __future__ import annotations

from typing import NoReturn

from torch import nn

from interactify.errors import ModelError
from interactify.inspection.objects import INSTEAD

_PACKAGES = ("torchvision.models.detection", "detectron2.modeling.meta_arch.rcnn", "mmdet.models.detectors")


class Objects:
    """torchvision's, Detectron2's and MMDetection's detectors, and the networks of Ultralytics with such a head."""

    name = "objects"

    def recognises(self, model: nn.Module) -> bool:
        return _is_of(model, _PACKAGES) or any(
            kind.__name__ == "Detect"
            for module in nn.Module.modules(model)
            if _is_of(module, ("ultralytics.",))
            for kind in type(module).__mro__
        )

    def knows(self, model: nn.Module) -> NoReturn:
        raise ModelError(
            f"Expected a network that returns a map of classes for each pixel, got {type(model).__name__}, which finds "
            f"objects: boxes, scores and labels, and masks of these. {INSTEAD}"
        )


def _is_of(module: nn.Module, packages: tuple[str, ...]) -> bool:
    return any(kind.__module__.startswith(packages) for kind in type(module).__mro__)
