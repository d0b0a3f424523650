"""Checkpoints: reads weights from any common kind of file, and reports in full why they don't fit a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from interactify.errors import CheckpointError, reason_of

NESTS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "model.", "_orig_mod.", "net.")  # data parallel, Lightning, torch.compile, habit
MAX_NAMES = 3  # in an error message


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file, without running code from it.

    Args:
        path: a ``.safetensors`` file, or what `torch.save` wrote: a state dict, or one nested under "state_dict",
            "model" and the like.

    Returns:
        Names and tensors, as in the file, on the CPU.

    Raises:
        CheckpointError: it is missing, corrupt, or holds something else than named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected a file of weights at {path}, got none. Try another path.")
    try:
        with torch.device("cpu"):  # whatever the default device is
            if path.suffix == ".safetensors":
                loaded: Any = load_file(path)
            else:
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:  # zip, pickle and safetensors each have errors of their own
        raise CheckpointError(
            f"Expected readable weights in {path}, got {reason_of(cause, 160)}. The file is damaged, or holds "
            "more than tensors. Try saving the network's state_dict() alone."
        ) from cause
    for _ in NESTS:
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[key] for key in NESTS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"Expected named tensors in {path}, got a {type(loaded).__name__}. Try saving the network's state_dict()."
        )
    named = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not named or len(named) < len(loaded):
        others = [str(key) for key in loaded if key not in named]
        raise CheckpointError(
            f"Expected nothing but named tensors in {path}, got {_few(others) if others else 'nothing'}. "
            "Try saving the network's state_dict(), alone or under 'state_dict'."
        )
    return named


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a folder that `save_pretrained` wrote."""
    if not folder.is_dir():
        raise CheckpointError(f"Expected a folder at {folder}, got none. Try another path.")
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as cause:
        raise CheckpointError(
            f"Expected a readable config.json in {folder}, got none. Try a folder that save_pretrained wrote."
        ) from cause
    except ValueError as cause:
        raise CheckpointError(f"Expected JSON in {file}, got a damaged file: {cause}. Try saving it again.") from cause
    if not isinstance(config, dict):
        raise CheckpointError(
            f"Expected names and values in {file}, got a {type(config).__name__}. Try saving it again."
        )
    return config


def weights_in(folder: Path) -> Path:
    """The file of weights in a `save_pretrained` folder."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"Expected model.safetensors in {folder}, got no such file. Try saving the network again.")


def class_count(weights: Mapping[str, Tensor]) -> int | None:
    """The number of classes of the segmentation head in a state dict of smp; None if there is no such head.

    >>> class_count({"module.segmentation_head.0.weight": torch.zeros(21, 16, 3, 3)})
    21
    """
    heads = [
        (int(match[1]), tensor.shape[0])
        for key, tensor in weights.items()
        if tensor.ndim == 4 and (match := re.search(r"(?:^|\.)segmentation_head\.(?:head\.)?(\d+)\.weight$", key))
    ]
    return max(heads)[1] if heads else None


def load_into(model: nn.Module, weights: Mapping[str, Tensor], source: Path) -> nn.Module:
    """Load a state dict that fits exactly, except for a prefix before its names.

    Args:
        model: the network; changed only if everything fits.
        weights: names and tensors, of any floating-point precision: the network keeps its own.
        source: their file, for the error message.

    Returns:
        `model`.

    Raises:
        CheckpointError: missing names, unknown names, or tensors of another shape.

    >>> load_into(nn.Linear(2, 1), {"module.weight": torch.ones(1, 2), "module.bias": torch.ones(1)}, Path("w.pt")).bias
    Parameter containing:
    tensor([1.], requires_grad=True)
    """
    wanted = model.state_dict()
    weights = _without_prefix(weights, wanted)
    # Old files lack the batch norms' count of batches, which evaluation does not use.
    missing = [key for key in wanted if key not in weights and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in weights if key not in wanted]
    shapes = [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    complaints = []
    if missing:
        complaints.append(f"{len(missing)} of {len(wanted)} tensors are missing: {_few(missing)}")
    if unexpected:
        complaints.append(f"{len(unexpected)} are unknown to the network: {_few(unexpected)}")
    if shapes:
        complaints.append(f"{len(shapes)} have another shape: {_few(shapes)}")
    if complaints:
        raise CheckpointError(
            f"Expected weights that fit {type(model).__name__}, got {source}, which does not fit: "
            f"{'; '.join(complaints)}. Try another architecture, encoder or options."
        )
    model.load_state_dict(dict(weights), strict=False)
    return model


def _without_prefix(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove prefixes as long as more names fit: a network may have a "model." of its own, which has to stay."""

    def fitting(names: Mapping[str, Tensor]) -> int:
        return sum(key in wanted for key in names)

    pairs = [(outer, inner) for outer in PREFIXES for inner in PREFIXES]
    while True:
        best = max((_stripped(weights, prefix) for prefix in PREFIXES), key=fitting)
        if fitting(best) <= fitting(weights):
            # With two wrappers at once ("module.model."), names fit only without both.
            best = max((_stripped(weights, *pair) for pair in pairs), key=fitting)
            if fitting(best) <= fitting(weights):
                return weights
        weights = best


def _stripped(weights: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """The weights without these prefixes, one after the other."""
    names = dict(weights)
    for prefix in prefixes:
        consume_prefix_in_state_dict_if_present(names, prefix)
    return names


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
