"""A folder for a network that was trained for clicks: its weights, and how its maps are drawn.

`model.safetensors` has the weights of a `ReconfiguredStem`, the network's own among them, and `clicks.json` the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from interactify.checkpoints import load_into, read_weights
from interactify.errors import CheckpointError, InteractifyError, reason_of
from interactify.export.files import prepare_folder, write_json, write_whole
from interactify.inspection.click_input import ClickMaps
from interactify.stem import ReconfiguredStem, reconfigure_stem

WEIGHTS, CONFIG = "model.safetensors", "clicks.json"


def save_click_network(
    network: ReconfiguredStem, folder: str | os.PathLike[str], *, model: str | None = None, half: bool = False
) -> Path:
    """Write a click network to a folder.

    Args:
        network: with `click_maps`.
        folder: it is created where missing.
        model: how the network inside is built, as for `interactify.models.build_model`; None where code builds it.
        half: floating-point weights in half precision, for a small file.

    Returns:
        The folder.

    Raises:
        CheckpointError: the network does not state how its maps are drawn.
        OptionError: the folder can't be written to.
    """
    if network.click_maps is None:
        raise CheckpointError(
            "Expected a network that states how its maps are drawn, got click_maps=None. Try network.click_maps = "
            "interactify.ClickMaps(…)."
        )
    into = prepare_folder(folder)
    weights = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    write_whole(into / WEIGHTS, save(weights))
    write_json(into / CONFIG, {"click_maps": asdict(network.click_maps), "model": model})
    return into


def read_click_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `clicks.json` says: "click_maps", and "model", the text from which the network inside is built, or None.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    file = Path(folder) / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, Mapping):
            raise ValueError(f"a {type(config).__name__}")
        return {"click_maps": ClickMaps(**config["click_maps"]), "model": config.get("model")}
    except (OSError, ValueError, TypeError, KeyError, InteractifyError) as cause:
        raise CheckpointError(
            f"Expected a readable {CONFIG} of a click network in {folder}, got {reason_of(cause, 160)}. Try a "
            "folder that save_click_network wrote."
        ) from cause


def load_click_network(model: nn.Module, folder: str | os.PathLike[str]) -> ReconfiguredStem:
    """Read a click network from a folder.

    Args:
        model: the network inside, of the same architecture; its weights don't matter. It is copied, and not changed.
        folder: as `save_click_network` wrote it.

    Returns:
        The click network in evaluation mode, in the precision of `model`.

    Raises:
        CheckpointError: files are missing or damaged, or don't fit the network.
        ModelError: no convolution of the network reads the image.

    >>> import tempfile
    >>> inside = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     network = reconfigure_stem(inside, click_maps=ClickMaps("disk"))
    ...     load_click_network(inside, save_click_network(network, folder)).click_maps
    ClickMaps(kind='disk', radius=None, previous_mask=False)
    """
    maps = read_click_config(folder)["click_maps"]
    file = Path(folder) / WEIGHTS
    weights = read_weights(file)
    network = reconfigure_stem(model, click_maps=maps)
    with torch.no_grad():
        load_into(network, weights, file)
    return network.eval()
