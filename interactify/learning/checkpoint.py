"""The file from which a training goes on after an interruption, whenever it comes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from interactify.errors import CheckpointError, reason_of
from interactify.export.files import write_whole

FORMAT = 1


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        step: the number of steps done.
        seconds: how long they took together, over all runs.
        losses: (step, mean loss since the one before).
        scores: (step, score on the validation part), the higher the better.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)


def save(path: Path, recipe: Mapping[str, Any], progress: Progress, states: Mapping[str, Any]) -> None:
    """Write a training's state: a reader finds this one or the one before, never a part."""
    buffer = io.BytesIO()
    content = {"format": FORMAT, "recipe": dict(recipe), "progress": asdict(progress), "states": dict(states)}
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, recipe: Mapping[str, Any]) -> tuple[Progress, dict[str, Any]] | None:
    """Read a training's state; None where there is none.

    Raises:
        CheckpointError: the file is damaged, or belongs to a training with another recipe.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        progress, states, other = Progress(**content["progress"]), content["states"], content["recipe"]
    except Exception as cause:  # zip, pickle and missing names each have errors of their own
        raise CheckpointError(
            f"Expected the state of a training in {path}, got a damaged file ({reason_of(cause, 160)}). Try another "
            "folder, or remove the file to begin anew."
        ) from cause
    if other != dict(recipe):
        changed = sorted(name for name in {*other, *recipe} if other.get(name) != recipe.get(name))
        was = ", ".join(f"{name}={other.get(name)!r}" for name in changed)
        raise CheckpointError(
            f"Expected a training with the recipe of {path} ({was}), got another one. Try the same options to go on, "
            "or another folder to begin anew."
        )
    return progress, states
