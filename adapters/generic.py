"""Any network: before it runs, only its `pretrained_cfg` and what is known about a network inside it are known.

A module around a network of a known family, such as a LightningModule, is of no family itself. What is known about the
network inside also applies to the module, unless the module does more than pass the image on.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from interactify.adapters import knowledge_of
from interactify.errors import AdapterError, ModelError
from interactify.inspection.spec import Knowledge

_NEARLY_ALL = 0.99


class Generic:
    """Takes any network; what neither its `pretrained_cfg` nor a network inside tells is found by running it."""

    name = "generic"

    def recognises(self, model: nn.Module) -> bool:
        return True

    def knows(self, model: nn.Module) -> Knowledge:
        return _knowledge_of_child(model).updated(stated(model))


def stated(model: nn.Module) -> Knowledge:
    """What a model's `pretrained_cfg` states, as on timm's models; nothing if it has none.

    The test size goes before the training size: networks often work best a little above the latter (Touvron et al.,
    "Fixing the train-test resolution discrepancy", NeurIPS 2019).
    """
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, dict):
        return Knowledge()
    size, mean, std = (config.get(key) for key in ("input_size", "mean", "std"))
    size = (not config.get("fixed_input_size") and config.get("test_input_size")) or size
    return Knowledge(
        mean=tuple(mean) if mean else None,
        std=tuple(std) if std else None,
        normalisation="the network's own pretrained_cfg" if mean and std else "",
        whole=bool(mean and std),
        resolution=max(size[-2:]) if size else None,
    )


def is_from(model: nn.Module, package: str) -> bool:
    """Whether the model's class, or one it inherits from, is defined in a package; imports nothing.

    >>> is_from(nn.Conv2d(3, 1, 1), "torch")
    True
    """
    return any(kind.__module__.split(".")[0] == package for kind in type(model).__mro__)


def _knowledge_of_child(model: nn.Module) -> Knowledge:
    """What is known about the child that holds nearly all weights, or about the child of that child, and so on.

    The child's forward is left out, since the module around it has its own; so are its size, since the module may
    resize, and its output. Normalisation that is found around the child goes before the child's.
    """
    weights = {name: _weights(child) for name, child in model._modules.items() if child is not None}
    name = max(weights, key=lambda name: weights[name], default=None)
    if name is None or weights[name] < _NEARLY_ALL * _weights(model) or not weights[name]:
        return Knowledge()
    child = model.get_submodule(name)
    try:
        known = knowledge_of(child)
    # wrap(adapter="generic") has to work with an adapter that fails, and what finds objects may be used for a map.
    except (AdapterError, ModelError):
        return Knowledge()
    if not known.family:
        return Knowledge()
    inside = "" if known.normalisation.endswith(" inside") else f", of the {type(child).__name__} inside"
    return replace(
        known,
        family=known.family.partition(", its ")[0],
        forward=None,
        stem=None if known.stem is None else f"{name}.{known.stem}",
        output=None,
        activation=None,
        points={letter: f"{name}.{point}" for letter, point in known.points.items()},
        normalisation=known.normalisation + inside,
        whole=False,
        resolution=None,
        fixed=None,
        numbers=None,
    )


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in nn.Module.parameters(module))
