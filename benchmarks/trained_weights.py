"""Weights that a benchmark's training wrote: the network with them, or an error that says which command makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from interactify.checkpoints import load_into, read_weights
from interactify.errors import CheckpointError


def trained(build: Callable[[], nn.Module], weights: Path, command: str, minutes: float | None = None) -> nn.Module:
    """The trained network, in evaluation mode.

    Args:
        build: makes it with any weights.
        weights: the file of its state dict.
        command: the arguments of `python -m` that train it.
        minutes: how long that takes, where it is known.

    Raises:
        CheckpointError: it is not trained yet, or the file has another network's weights.
    """
    if not weights.is_file():
        lasting = "" if minutes is None else f", which takes {minutes:g} minutes"
        raise CheckpointError(
            f"Expected the weights of a trained network in {weights}, got none. Try python -m {command}{lasting}."
        )
    return load_into(build(), read_weights(weights), weights).eval()
