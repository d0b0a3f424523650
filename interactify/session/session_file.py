"""A session as a file: interactions, variables and digests in an .npz, no pickle, and exactly where one left off.

A step is read as what it is worth: nothing is taken from the file that can be worked out again.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import CheckpointError, shown
from interactify.export.files import write_whole
from interactify.interactions.click import checked
from interactify.interactions.gestures import interaction_from_json
from interactify.pictures.digests import tensors_digest
from interactify.pictures.window import Window
from interactify.refinement.history import History, Snapshot, Step, Steps
from interactify.refinement.next_step import next_step
from interactify.refinement.refiner import Refiner
from interactify.refinement.wrapped import Wrapped

FORMAT = 3


def save_session(path: str | Path, history: History, refiner: Refiner, net: Wrapped, target: int | None) -> Path:
    """Write a history to a file; see `Session.save`. `target` is the session's own class."""
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    places: dict[int, int] = {}  # of steps, by identity: snapshots share them
    for track in (track for snapshot in history.snapshots for track in snapshot.tracks):
        before: Step | None = None
        for step in track.steps:
            if id(step) not in places:
                place = places[id(step)] = len(steps)
                arrays[f"{place}_values"] = step.values.cpu().numpy()
                arrays[f"{place}_odds"] = step.odds.cpu().numpy()
                if step.initial_mask is not None:
                    arrays[f"{place}_given"] = np.packbits(step.initial_mask)
                after = None if before is None else places[id(before)]
                steps.append({"after": after, "target": track.target, **described(step)})
            before = step
    header = {"format": FORMAT, "settings": settings_of(net, refiner, target), "photo": refiner.picture.digest()}
    header |= {"network": fingerprint(net.unwrap()), "steps": steps}
    header |= {"boards": [_snapshot(snapshot, places) for snapshot in history.snapshots], "now": len(history.past)}
    # Weights do not tell ReLU from softplus; what the network says of this photo does.
    arrays["plain"] = refiner.initial_step(target).result.logits.cpu().numpy()
    buffer = io.BytesIO()
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return write_whole(path, buffer.getvalue())


def _snapshot(snapshot: Snapshot, places: dict[int, int]) -> dict[str, Any]:
    """Of each object its last step, null where nothing was said of it; and which object is spoken of."""
    tracks = [
        {"name": t.name, "target": t.target, "last": places[id(t.steps[-1])] if t.steps else None}
        for t in snapshot.tracks
    ]
    return {"objects": tracks, "active": snapshot.active}


def read_session(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a session file. Raises CheckpointError for anything else."""
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
        version = header["format"]
        for key, kind in (("settings", dict), ("photo", str), ("network", str), ("steps", list), ("boards", list)):
            if not isinstance(header[key], kind):
                raise TypeError(f"{key} is no {kind.__name__}")
    except FileNotFoundError:
        raise CheckpointError(f"There is no session file {path}.") from None
    except Exception as cause:  # zip, zlib, NumPy's header parser and JSON each have their own ways to break
        raise CheckpointError(
            f"{path if isinstance(path, Path) else shown(path)} is not a session saved by interactify "
            f"({type(cause).__name__}: {cause})."
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version!r}; this version reads {FORMAT}. Use the version that wrote it."
        )
    return header, arrays


def settings_of(net: Wrapped, refiner: Refiner, target: int | None) -> dict[str, Any]:
    """What decides how clicks become masks, beside network and photo; compared on loading."""
    view = refiner.first_crop.view
    return {
        "variables": repr(net.variables),
        "energy": repr(net.energy),
        "solver": net.solver,
        "zoom": net.zoom,
        "mirror": net.options["mirror"],
        "propagation": repr(net.propagation),
        "max_evaluations": net.max_evaluations,
        "target": target,
        "tile": refiner.tile,
        "view": [list(size) for size in (view.photo_size, view.content_size, view.network_size)],
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def fingerprint(model: nn.Module) -> str:
    """A digest of all of a network's weights and buffers."""
    return tensors_digest([tensor for _, tensor in sorted(model.state_dict().items()) if isinstance(tensor, Tensor)])


def described(step: Step) -> dict[str, Any]:
    """What is stored of a step beside its arrays; what was said before it is stored with the steps before."""
    result = step.result
    return {
        "window": [result.window.top, result.window.left, result.window.height, result.window.width],
        "interactions": [each.to_json() for each in step.interactions],
        "in_centre": result.constraints.assume_centre,
        "targets": list(step.targets),
        "evaluations": result.evaluations,
        "status": result.status,
        "seconds": result.seconds,
    }


def read_step(
    refiner: Refiner, target: int | None, before: Steps, stored: dict[str, Any], arrays: dict[str, np.ndarray], key: str
) -> Step:
    """The step that follows `before`. Raises ValueError, KeyError or TypeError where it can't be one."""
    last = before[-1] if before else refiner.initial_step(target)
    interactions = tuple(checked(interaction_from_json(entry), refiner.size) for entry in stored["interactions"])
    if interactions[: len(last.interactions)] != last.interactions:
        raise ValueError("interactions that contradict each other")
    window = Window(*(int(side) for side in stored["window"]))
    if window.common(refiner.photo_window) != window:
        raise ValueError("a window beyond the photo")
    crop = last.crop if window == last.crop.window else refiner.crop(window)
    targets = tuple(refiner.net.network.target(each) for each in stored["targets"])
    values, odds = arrays[f"{key}_values"], arrays[f"{key}_odds"]
    if values.shape != tuple(crop.start.shape) or odds.shape != (1, len(targets), *crop.view.network_size):
        raise ValueError(f"{key} has another shape than this network's variables")
    if not (np.isfinite(values).all() and np.isfinite(odds).all()):
        raise ValueError(f"{key} holds numbers that are none")
    given = None
    if f"{key}_given" in arrays:
        height, width = refiner.size
        given = np.unpackbits(arrays[f"{key}_given"], count=height * width).astype(bool).reshape(height, width)
        given.setflags(write=False)
    return next_step(
        last,
        refiner.constraints_of(interactions, targets[0], bool(stored["in_centre"])),
        crop,
        torch.from_numpy(values).to(crop.start),
        torch.from_numpy(odds).to(last.odds),
        targets,
        refiner.photo_window,
        given,
        evaluations=int(stored["evaluations"]),
        status=str(stored["status"]),
        seconds=float(stored["seconds"]),
    )
