"""Builds the network that a text names: a file, a folder, weights, a function, or a model of a hub."""

from interactify.models.build import build_model, quickest_device
from interactify.models.files import ModelLike, as_module, read_network

__all__ = ["ModelLike", "as_module", "build_model", "quickest_device", "read_network"]
