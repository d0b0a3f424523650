"""Any network: nothing is known before it runs, but for what it carries along as `pretrained_cfg`."""

from __future__ import annotations

from torch import nn

from interactify.spec import Knowledge


class Generic:
    """Takes every network; what is not in its `pretrained_cfg` is found by running it."""

    name = "generic"

    def recognises(self, model: nn.Module) -> bool:
        return True

    def knows(self, model: nn.Module) -> Knowledge:
        return stated(model)


def stated(model: nn.Module) -> Knowledge:
    """What a model's `pretrained_cfg` says, as on timm's models; nothing where it has none."""
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, dict):
        return Knowledge()
    size, mean, std = (config.get(key) for key in ("input_size", "mean", "std"))
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
