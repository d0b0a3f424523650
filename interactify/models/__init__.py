"""The network that a text names: a folder, a file of weights, a function, or a hub's model."""

from interactify.models.build import build_model, quickest_device

__all__ = ["build_model", "quickest_device"]
