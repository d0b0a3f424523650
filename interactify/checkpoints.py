"""Checkpoints: read one whatever way it was saved, and say in full why one doesn't fit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interactify.errors import CheckpointError

NESTS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "model.", "_orig_mod.", "net.")  # data parallel, Lightning, torch.compile, habit
SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file, without running code from it.

    Args:
        path: a ``.safetensors`` file, or what `torch.save` wrote: a state dict, or one nested under "state_dict",
            "model" and the like.

    Returns:
        Names and tensors, as in the file, on the CPU.

    Raises:
        CheckpointError: where it is missing, corrupt, or holds something else than named tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"No file of weights at {path}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            held: Any = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:  # zip, pickle and safetensors each have errors of their own
        reason = str(cause).split("\n")[0][:160]
        raise CheckpointError(
            f"Can't read weights from {path} ({type(cause).__name__}: {reason}). It is damaged, or holds more than "
            "tensors: save the network's state_dict() alone."
        ) from cause
    for _ in NESTS:
        if not isinstance(held, Mapping):
            break
        inner = next((held[key] for key in NESTS if isinstance(held.get(key), Mapping)), None)
        if inner is None:
            break
        held = inner
    if not isinstance(held, Mapping):
        raise CheckpointError(f"Expected named tensors in {path}, got a {type(held).__name__}.")
    named = {key: value for key, value in held.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not named or len(named) < len(held):
        others = [str(key) for key in held if key not in named]
        raise CheckpointError(
            f"Expected nothing but named tensors in {path}, got {_few(others) if others else 'nothing'}. "
            "Save the network's state_dict(), alone or under 'state_dict'."
        )
    return named


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a folder that `save_pretrained` wrote."""
    if not folder.is_dir():
        raise CheckpointError(f"No folder at {folder}.")
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as cause:
        raise CheckpointError(f"No readable config.json in {folder}: is it a save_pretrained folder?") from cause
    except ValueError as cause:
        raise CheckpointError(f"{file} is damaged: {cause}.") from cause
    if not isinstance(config, dict):
        raise CheckpointError(f"Expected names and values in {file}, got a {type(config).__name__}.")
    return config


def weights_in(folder: Path) -> Path:
    """The file of weights in a `save_pretrained` folder."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"No model.safetensors in {folder}.")


def class_count(weights: Mapping[str, Tensor]) -> int | None:
    """How many classes the segmentation head in a state dict of smp puts out; None where none is found.

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
    """Load a state dict that has to fit exactly, apart from a prefix before its names.

    Args:
        model: the network; changed only where everything fits.
        weights: names and tensors, of any floating-point precision: the network keeps its own.
        source: where they come from, for the error.

    Returns:
        `model`.

    Raises:
        CheckpointError: for names missing or left over, or tensors of another shape.

    >>> load_into(nn.Linear(2, 1), {"module.weight": torch.ones(1, 2), "module.bias": torch.ones(1)}, Path("w.pt")).bias
    Parameter containing:
    tensor([1.], requires_grad=True)
    """
    wanted = model.state_dict()
    weights = _without_prefix(weights, wanted)
    # Files from before batch normalisation counted its batches are still whole: the count isn't used in evaluation.
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
            f"{source} does not fit {type(model).__name__}: {'; '.join(complaints)}. "
            "Check the architecture, the encoder and the options."
        )
    model.load_state_dict(dict(weights), strict=False)
    return model


def _without_prefix(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Take off prefixes for as long as that makes more names fit."""
    while True:
        fitting = sum(key in wanted for key in weights)
        stripped = [{key.removeprefix(prefix): value for key, value in weights.items()} for prefix in PREFIXES]
        best = max(stripped, key=lambda names: sum(key in wanted for key in names))
        if sum(key in wanted for key in best) <= fitting:
            # Two wrappings at once ("module.model.") show only when both are off.
            twice = [
                {key.removeprefix(outer).removeprefix(inner): value for key, value in weights.items()}
                for outer in PREFIXES
                for inner in PREFIXES
            ]
            best = max(twice, key=lambda names: sum(key in wanted for key in names))
            if sum(key in wanted for key in best) <= fitting:
                return weights
        weights = best


def _few(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
