"""Any network: nothing is known before it runs, but for its `pretrained_cfg`, and a network of a family inside it.

A module around a network of a known family, a LightningModule say, is of no family itself. What holds for the network
inside holds for it too, unless it is seen to do more than pass the image on.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from interactify.adapters import knowledge_of
from interactify.errors import AdapterError
from interactify.inspection.spec import Knowledge

_NEARLY_ALL = 0.99


class Generic:
    """Takes every network; what is not in its `pretrained_cfg`, or known of the one inside, is found by running it."""

    name = "generic"

    def recognises(self, model: nn.Module) -> bool:
        return True

    def knows(self, model: nn.Module) -> Knowledge:
        return _of_the_one_inside(model).updated(stated(model))


def stated(model: nn.Module) -> Knowledge:
    """What a model's `pretrained_cfg` says, as on timm's models; nothing where it has none.

    Of two sizes the one for use goes before that of training: networks often do best a little above it (Touvron et al.,
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


def _of_the_one_inside(model: nn.Module) -> Knowledge:
    """What is known of the one child that holds nearly all of the weights, or of the one child of that.

    Its forward is not taken over, since the module around it has its own; nor is a size, since that may resize, nor
    anything of the output. Normalisation seen around it goes before its own.
    """
    held = {name: _weights(child) for name, child in model._modules.items() if child is not None}
    name = max(held, key=lambda name: held[name], default=None)
    if name is None or held[name] < _NEARLY_ALL * _weights(model) or not held[name]:
        return Knowledge()
    child = model.get_submodule(name)
    try:
        known = knowledge_of(child)
    except AdapterError:  # wrap(adapter="generic") is the way around an adapter that fails
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
        points={letter: f"{name}.{place}" for letter, place in known.points.items()},
        normalisation=known.normalisation + inside,
        whole=False,
        resolution=None,
        fixed=None,
    )


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in nn.Module.parameters(module))
