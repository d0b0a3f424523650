"""One step of a session as JSON and arrays, and read again: believed in nothing that can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from interactify.composing import composed
from interactify.gestures import interaction_from_json
from interactify.interactions import checked
from interactify.scene import Scene
from interactify.timeline import Step, Steps
from interactify.window import Window


def described(step: Step) -> dict[str, Any]:
    """What is stored of a step beside its arrays; what was said before it is stored with the steps before."""
    result = step.result
    return {
        "window": [result.window.top, result.window.left, result.window.height, result.window.width],
        "interactions": [each.to_json() for each in step.interactions],
        "in_centre": result.said.in_centre,
        "targets": list(step.targets),
        "evaluations": result.evaluations,
        "status": result.status,
        "seconds": result.seconds,
    }


def read_step(
    scene: Scene, target: int | None, before: Steps, stored: dict[str, Any], arrays: dict[str, np.ndarray], key: str
) -> Step:
    """The step that follows `before`. Raises ValueError, KeyError or TypeError where it can't be one."""
    last = before[-1] if before else scene.begun(target)
    interactions = tuple(checked(interaction_from_json(entry), scene.size) for entry in stored["interactions"])
    if interactions[: len(last.interactions)] != last.interactions:
        raise ValueError("interactions that contradict each other")
    window = Window(*(int(side) for side in stored["window"]))
    if window.common(scene.photo) != window:
        raise ValueError("a window beyond the photo")
    frame = last.frame if window == last.frame.window else scene.frame(window)
    targets = tuple(scene.net.network.target(each) for each in stored["targets"])
    values, odds = arrays[f"{key}_values"], arrays[f"{key}_odds"]
    if values.shape != tuple(frame.start.shape) or odds.shape != (1, len(targets), *frame.view.network_size):
        raise ValueError(f"{key} has another shape than this network's variables")
    if not (np.isfinite(values).all() and np.isfinite(odds).all()):
        raise ValueError(f"{key} holds numbers that are none")
    given = None
    if f"{key}_given" in arrays:
        height, width = scene.size
        given = np.unpackbits(arrays[f"{key}_given"], count=height * width).astype(bool).reshape(height, width)
        given.setflags(write=False)
    return composed(
        last,
        scene.told(interactions, targets[0], bool(stored["in_centre"])),
        frame,
        torch.from_numpy(values).to(frame.start),
        torch.from_numpy(odds).to(last.odds),
        targets,
        scene.photo,
        given,
        evaluations=int(stored["evaluations"]),
        status=str(stored["status"]),
        seconds=float(stored["seconds"]),
    )
