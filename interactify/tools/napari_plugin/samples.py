"""The package's own photos, as napari's sample data."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from interactify import zoo

Layers = list[tuple[Any, dict[str, Any], str]]


def cat() -> Layers:
    """A cat, in napari's form of layers: data, options, kind."""
    return _photo("cat")


def coffee() -> Layers:
    """A cup of coffee."""
    return _photo("coffee")


def astronaut() -> Layers:
    """An astronaut."""
    return _photo("astronaut")


def _photo(name: str) -> Layers:
    (path,) = (photo.path for photo in zoo.photos() if photo.name == name)
    with Image.open(path) as stored:
        return [(np.asarray(stored.convert("RGB")), {"name": name}, "image")]
