"""timm: its classifiers as dense networks, and what their `pretrained_cfg` states."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from math import lcm
from typing import Any

from torch import nn

from interactify.adapters.dense import class_map
from interactify.adapters.generic import is_from, stated
from interactify.inspection.spec import Knowledge

_DIVISOR = 32  # photos are padded to its multiples anyway
# Their convolutions are not padded: from a smaller image nothing is left at the end.
_UNPADDED = {"InceptionV3": 75, "InceptionV4": 75, "InceptionResnetV2": 75}


class Timm:
    """Classifiers return a class map, their head applied at every position; encoders return their own maps."""

    name = "timm"

    def recognises(self, model: nn.Module) -> bool:
        # A user's architecture that is registered in timm follows its conventions without inheriting anything.
        return is_from(model, "timm") or (_is_classifier(model) and hasattr(model, "pretrained_cfg"))

    def knows(self, model: nn.Module) -> Knowledge:
        config = getattr(model, "pretrained_cfg", None)
        architecture = config.get("architecture") if isinstance(config, Mapping) else None
        known = replace(
            stated(model),
            family=f"timm {architecture or type(model).__name__}",
            divisor=None if isinstance(config, Mapping) and config.get("fixed_input_size") else _divisor(model),
            smallest=_smallest(model, config),
        )
        if not _is_classifier(model):
            return known
        headless = getattr(model, "num_classes", None) == 0
        output = (
            "its features at every position: it has no classifier" if headless else "its head applied at every position"
        )
        return replace(
            known,
            family=f"{known.family}, {output}",
            forward=class_map,
            activation="none",
            class_names=() if headless else _class_names(model),
            points=_points(model),
        )


def _is_classifier(model: nn.Module) -> bool:
    """Whether the model's forward applies its head to its features, and is not an encoder's or a user's own."""
    defined = [
        next((index for index, kind in enumerate(type(model).__mro__) if name in vars(kind)), None)
        for name in ("forward", "forward_features", "forward_head")
    ]
    forward, *parts = (index for index in defined if index is not None)
    return len(parts) == 2 and forward >= min(parts) and "forward" not in vars(model)


def _divisor(model: nn.Module) -> int | None:
    """The divisor that keeps positions and pixels aligned, if it does not divide 32: strides of 64, patches of 14."""
    try:
        strides = {int(info["reduction"]) for info in model.feature_info}  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    needed = lcm(*strides) if strides else 1
    return None if _DIVISOR % needed == 0 else needed


def _smallest(model: nn.Module, config: Any) -> int | None:
    unpadded = [_UNPADDED[kind.__name__] for kind in type(model).__mro__ if kind.__name__ in _UNPADDED]
    stated_size = config.get("min_input_size") if isinstance(config, Mapping) else None
    return max([*unpadded, *(stated_size or ())[-2:]], default=None)


def _points(model: Any) -> dict[str, str]:
    """A: the backbone's last stage. If its layout is channels-last, running the network finds a map instead."""
    try:
        last = model.feature_info[-1]["module"]
    except (AttributeError, IndexError, KeyError, TypeError):
        return {}
    channels_last = str(getattr(model, "output_fmt", "")).endswith("NHWC")
    return {} if channels_last or last not in dict(nn.Module.named_modules(model)) else {"A": last}


def _class_names(model: Any) -> tuple[str, ...]:
    """The classes' names in the weights' configuration, else ImageNet's synonyms: "tabby, tabby cat"."""
    config = getattr(model, "pretrained_cfg", None)
    config = config if isinstance(config, Mapping) else {}
    classes, names = getattr(model, "num_classes", None), config.get("label_names")
    if names and len(names) == classes:
        described = config.get("label_descriptions")
        described = described if isinstance(described, Mapping) else {}
        listed = [names[k] for k in sorted(names)] if isinstance(names, Mapping) else names
        return tuple(str(described.get(name, name)) for name in listed)
    if classes != config.get("num_classes"):  # the user's own head, even if it has as many classes as ImageNet
        return ()
    return _imagenet(classes)


@functools.cache
def _imagenet(classes: int) -> tuple[str, ...]:
    """Names of the ImageNet subset with this number of classes; none if there is no such subset."""
    from timm.data import (
        ImageNetInfo,
        infer_imagenet_subset,
    )  # here: timm is loaded already, since the model is of timm

    subset = infer_imagenet_subset({"num_classes": classes})
    return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()
