"""Builds the network that a text names: a folder, a file of weights, a function, or a model of a hub."""

from interactify.models.build import build_model, quickest_device

__all__ = ["build_model", "quickest_device"]
