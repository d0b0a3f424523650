"""A session as an .npz file of interactions, variables and digests, without pickle, from which it continues exactly.

Only what can't be computed again is stored of a step; `read_step` computes the rest.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import CheckpointError, with_type
from interactify.export.files import write_whole
from interactify.interactions.click import checked
from interactify.interactions.gestures import interaction_from_json
from interactify.optim.status import Status
from interactify.pictures.digests import tensors_digest
from interactify.pictures.window import Window
from interactify.refinement.history import History, InitialMap, Snapshot, Step, Steps
from interactify.refinement.next_step import next_step
from interactify.refinement.refiner import Refiner
from interactify.refinement.wrapped import Wrapped

FORMAT: Final = 3


def save_session(path: str | Path, history: History, refiner: Refiner, net: Wrapped, target: int | None) -> Path:
    """Write a history to a file; see `Session.save`. `target` is the session's own class."""
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    indices: dict[int, int] = {}  # of steps, by id: snapshots share them
    for track in (track for snapshot in history.snapshots for track in snapshot.tracks):
        before: Step | None = None
        for step in track.steps:
            if id(step) not in indices:
                index = indices[id(step)] = len(steps)
                arrays[f"{index}_values"] = step.values.cpu().numpy()
                arrays[f"{index}_odds"] = step.log_odds.cpu().numpy()
                if step.initial_map is not None:
                    is_mask = step.initial_map.dtype == bool
                    arrays[f"{index}_given"] = np.packbits(step.initial_map) if is_mask else step.initial_map
                after = None if before is None else indices[id(before)]
                steps.append({"after": after, "target": track.target, **_stored_step(step)})
            before = step
    header = {"format": FORMAT, "settings": settings_of(net, refiner, target), "photo": refiner.picture.digest()}
    header |= {"network": fingerprint(net.unwrap()), "steps": steps}
    header |= {"boards": [_stored_snapshot(each, indices) for each in history.snapshots], "now": len(history.past)}
    # Weights do not tell ReLU from softplus; the network's prediction for this photo does.
    arrays["plain"] = refiner.initial_step(target).result.logits.cpu().numpy()
    buffer = io.BytesIO()
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return write_whole(path, buffer.getvalue())


def _stored_snapshot(snapshot: Snapshot, indices: dict[int, int]) -> dict[str, Any]:
    """The index of each object's last step, null where it has none; and the index of the active object."""
    tracks = [
        {"name": t.name, "target": t.target, "last": indices[id(t.steps[-1])] if t.steps else None}
        for t in snapshot.tracks
    ]
    return {"objects": tracks, "active": snapshot.active}


def _stored_step(step: Step) -> dict[str, Any]:
    """What is stored of a step beside its arrays."""
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
        **({"value_range": list(refiner.picture.value_range)} if refiner.picture.value_range else {}),
        "fit": net.spec.fit,
        "view": [list(size) for size in (view.photo_size, view.content_size, view.network_size)],
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def fingerprint(model: nn.Module) -> str:
    """A digest of all of a network's weights and buffers."""
    return tensors_digest([tensor for _, tensor in sorted(model.state_dict().items()) if isinstance(tensor, Tensor)])


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
        raise CheckpointError(f"Expected a session file, got {path}, which does not exist. Try another path.") from None
    except Exception as cause:  # zip, zlib, NumPy's header parser and JSON each have their own errors
        given = path if isinstance(path, Path) else with_type(path)
        raise CheckpointError(
            f"Expected a session saved by interactify, got {given}, which is not one ({type(cause).__name__}: {cause})."
            " Try another file."
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"Expected a session file of format {FORMAT}, got {path} of format {version!r}. Try the version of "
            "interactify that wrote it."
        )
    return header, arrays


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
    values, log_odds = arrays[f"{key}_values"], arrays[f"{key}_odds"]
    if values.shape != tuple(crop.start.shape) or log_odds.shape != (1, len(targets), *crop.view.network_size):
        raise ValueError(f"step {key} has variables or log-odds of another shape than this network's")
    if not (np.isfinite(values).all() and np.isfinite(log_odds).all()):
        raise ValueError(f"step {key} holds NaN or infinity")
    given: InitialMap | None = None
    stored_map = arrays.get(f"{key}_given")  # a label map, or a mask's bits
    if stored_map is not None:
        height, width = refiner.size
        given = stored_map
        if stored_map.dtype != np.int16:
            given = np.unpackbits(stored_map, count=height * width).astype(bool).reshape(height, width)
        if given.shape != refiner.size or (
            given.dtype == np.int16 and not -1 <= given.min() <= given.max() < refiner.classes
        ):
            raise ValueError(f"step {key} has a label map of another photo or network")
        given.setflags(write=False)
    return next_step(
        last,
        refiner.constraints_of(interactions, targets[0], bool(stored["in_centre"])),
        crop,
        torch.from_numpy(values).to(crop.start),
        torch.from_numpy(log_odds).to(last.log_odds),
        targets,
        refiner.photo_window,
        given,
        evaluations=int(stored["evaluations"]),
        status=Status.of(str(stored["status"])),
        seconds=float(stored["seconds"]),
    )
