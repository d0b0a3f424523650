"""A session as an .npz file of interactions, variables and digests, without pickle, from which it continues exactly.

Format 4: "header" is JSON, with the options, digests of photo and network, all steps without their numbers, and for
each snapshot of the history ("boards") the last step of each object. Numbers are stored of the steps that the next
click or an undo soon after depends on: variables ("0_values" for step 0), log-odds ("0_odds"), initial masks
("0_given"). The others are refined again when they are needed (`stored_steps.py`). In format 3 every step has its
numbers. Format 5 is format 4 with steps that have a "choice", an alternative that is not the usual one: it is written
only where there is one, so that versions that know no alternatives read all other files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from interactify.interactions.click import checked
from interactify.interactions.gestures import interaction_from_json
from interactify.optim.status import Status
from interactify.pictures.digests import tensors_digest
from interactify.pictures.window import Window
from interactify.refinement.choices import USUAL, checked_choice
from interactify.refinement.history import History, InitialMap, Snapshot, Step, Steps, groups_of
from interactify.refinement.refiner import Refiner
from interactify.refinement.wrapped import Wrapped
from interactify.session.archive import as_bytes, from_bytes, read_archive, write_archive
from interactify.session.stored_steps import Record, Source, StoredStep, is_repeatable

FORMAT: Final = 4
WITH_CHOICES: Final = 5
READ: Final = (3, FORMAT, WITH_CHOICES)
ROOM: Final = 4_000_000  # bytes of variables and log-odds beyond those that the next click needs
BACK: Final = (1, 4, 16, 64, 256)  # steps before the last one that are stored first, so that an undo waits little


def save_session(path: str | Path, history: History, refiner: Refiner, net: Wrapped, target: int | None) -> Path:
    """Write a history to a file; see `Session.save`. `target` is the session's own class."""
    net.check_unchanged(every_value=True)  # the file names the weights that its steps come from
    arrays: dict[str, np.ndarray] = {}
    stored: list[dict[str, Any]] = []
    indices: dict[int, int] = {}  # of steps, by id: snapshots share them
    chosen = _chosen(history, refiner)
    for track in (track for snapshot in history.snapshots for track in snapshot.tracks):
        before: Step | None = None
        for step, added in zip(track.steps, groups_of(track.steps), strict=True):
            if id(step) not in indices:
                index = indices[id(step)] = len(stored)
                after = None if before is None else indices[id(before)]
                entry = {"after": after, "target": track.target, **_stored_step(step, added)}
                stored.append(entry | _stored_numbers(step, str(index), chosen.get(id(step), ()), arrays))
            before = step
    version = WITH_CHOICES if any("choice" in entry for entry in stored) else FORMAT
    header = {"format": version, "settings": settings_of(net, refiner, target), "photo": refiner.picture.digest()}
    header |= {"network": fingerprint(net.unwrap()), "steps": stored}
    header |= {"boards": [_stored_snapshot(each, indices) for each in history.snapshots], "now": len(history.past)}
    # Weights do not tell ReLU from softplus; the network's prediction for this photo does.
    plain = refiner.initial_step(target).result.logits
    arrays["plain"] = plain.clamp(-6e4, 6e4).half().cpu().numpy()
    return write_archive(path, header, arrays)


def _chosen(history: History, refiner: Refiner) -> dict[int, tuple[str, ...]]:
    """Which numbers of which steps are stored, by the steps' id."""
    chosen: dict[int, tuple[str, ...]] = {}
    wished: list[Step] = []
    both, room = ("values", "log_odds"), ROOM
    for track in history.now.tracks:
        window = None if not track.steps else track.steps[-1].window
        for step in reversed(track.steps):  # the last one, and of those before it whatever lies around its window
            if step is track.steps[-1] or (window != refiner.photo_window and step.window != window):
                window, chosen[id(step)] = step.window, both if step is track.steps[-1] else ("log_odds",)
                wished.append(step)  # where the network goes back to its window, it starts from its values
        wished += [track.steps[-1 - back] for back in BACK if back < len(track.steps)]
    for track in (track for snapshot in history.snapshots for track in snapshot.tracks):
        chosen |= {id(step): both for step in track.steps if not is_repeatable(step)}
    others = (track.steps for each in (*reversed(history.past), *history.undone) for track in each.tracks)
    wished += [steps[-1] for steps in others if steps]
    for step in wished:
        values, log_odds = step.known
        if chosen.get(id(step)) == both or values is None or log_odds is None:
            continue
        size = values.nbytes + log_odds.nbytes
        if size <= room:
            chosen[id(step)], room = both, room - size
    return chosen


def _stored_snapshot(snapshot: Snapshot, indices: dict[int, int]) -> dict[str, Any]:
    """The index of each object's last step, null where it has none; and the index of the active object."""
    tracks = [
        {"name": t.name, "target": t.target, "last": indices[id(t.steps[-1])] if t.steps else None}
        for t in snapshot.tracks
    ]
    return {"objects": tracks, "active": snapshot.active}


def _stored_step(step: Step, added: Sequence[Any]) -> dict[str, Any]:
    """What is stored of every step."""
    window = step.window
    return {
        "window": [window.top, window.left, window.height, window.width],
        "added": [each.to_json() for each in added],
        "in_centre": step.assume_centre,
        "targets": list(step.targets),
        "evaluations": step.evaluations,
        "status": step.status,
        "seconds": step.seconds,
        "steadiness": step.steadiness,
        **({} if step.choice == USUAL else {"choice": step.choice}),
    }


def _stored_numbers(
    step: Step, key: str, chosen: Sequence[str], arrays: dict[str, np.ndarray]
) -> dict[str, list[str] | list[float | None]]:
    """Add what is chosen of a step's numbers to the arrays; returns what is added to its entry in the header."""
    if not chosen:
        return {}
    names = ["odds"]
    arrays[f"{key}_odds"] = as_bytes(step.log_odds)
    if "values" in chosen:
        names.append("values")
        arrays[f"{key}_values"] = as_bytes(step.values)
    if step.initial_map is not None:
        names.append("given")
        is_mask = step.initial_map.dtype == bool
        arrays[f"{key}_given"] = np.packbits(step.initial_map) if is_mask else step.initial_map
    probabilities = step.result.class_probabilities
    if np.isnan(probabilities).all():
        return {"has": names}
    return {"has": names, "classes": [None if np.isnan(each) else each for each in probabilities.tolist()]}


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
        **({"click_maps": repr(net.spec.click_maps)} if net.network.reads_clicks else {}),
        **({"value_range": list(refiner.picture.value_range)} if refiner.picture.value_range else {}),
        "fit": net.spec.fit,
        "view": [list(size) for size in (view.photo_size, view.content_size, view.network_size)],
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def identity_of(net: Wrapped, refiner: Refiner, target: int | None, weights: str) -> str:
    """A digest of all that a session's masks depend on: its photo, the network's `fingerprint`, its settings."""
    depends_on = [refiner.picture.digest(), weights, settings_of(net, refiner, target)]
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def fingerprint(model: nn.Module) -> str:
    """A digest of all of a network's weights and buffers."""
    return tensors_digest([tensor for _, tensor in sorted(model.state_dict().items()) if isinstance(tensor, Tensor)])


def read_session(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a session file. Raises CheckpointError for anything else."""
    keys = {"settings": dict, "photo": str, "network": str, "steps": list, "boards": list}
    return read_archive(path, keys, READ)


def read_step(
    source: Source, target: int | None, before: Steps, stored: dict[str, Any], arrays: dict[str, np.ndarray], key: str
) -> Step:
    """The step that follows `before`. Raises ValueError, KeyError or TypeError where it can't be one."""
    refiner, last = source.refiner, before[-1].interactions if before else ()
    old = "interactions" in stored  # format 3
    interactions = tuple(
        checked(interaction_from_json(entry), refiner.size) for entry in stored["interactions" if old else "added"]
    )
    if old and interactions[: len(last)] != last:
        raise ValueError("interactions that contradict each other")
    window = Window(*(int(side) for side in stored["window"]))
    if window.common(refiner.photo_window) != window:
        raise ValueError("a window beyond the photo")
    targets = tuple(refiner.net.network.target(each) for each in stored["targets"])
    if not targets:
        raise ValueError("a step without classes")
    steady = float(stored.get("steadiness", 0.0))
    if not 0 <= steady <= 1:
        raise ValueError(f"a steadiness of {steady}")
    record = Record(
        interactions=interactions if old else (*last, *interactions),
        targets=targets,
        window=window,
        assume_centre=bool(stored["in_centre"]),
        evaluations=int(stored["evaluations"]),
        status=Status.of(str(stored["status"])),
        seconds=float(stored["seconds"]),
        steadiness=steady,
        choice=checked_choice(stored.get("choice", USUAL), whole=not refiner.tile),
        **_numbers(source, window, stored, arrays, key, (len(targets), refiner.initial_step(target).log_odds.dtype)),
    )
    step = StoredStep(source, target, before, record)
    if old:  # class probabilities are not in the file: each is computed from the one before
        _ = step.result
    return step


def _numbers(
    source: Source,
    window: Window,
    stored: dict[str, Any],
    arrays: dict[str, np.ndarray],
    key: str,
    of_odds: tuple[int, torch.dtype],
) -> dict[str, Any]:
    """The numbers of a step that a file has, for its `Record`; raises as `read_step`.

    `of_odds` are how many maps of log-odds there are, and their type.
    """
    old = "interactions" in stored
    has = ["odds", "values", *(["given"] if f"{key}_given" in arrays else [])] if old else stored.get("has", [])
    if not has:
        return {}
    crop = source.crop(window)
    found: dict[str, Any] = {}
    kinds = {
        "odds": ((1, of_odds[0], *crop.view.network_size), of_odds[1]),
        "values": (tuple(crop.start.shape), crop.start.dtype),
    }
    for name, (shape, dtype) in kinds.items():
        if name not in has:
            continue
        array = arrays[f"{key}_{name}"]
        array = array if old else from_bytes(array, dtype)
        if array.shape != shape:
            raise ValueError(f"step {key} has variables or log-odds of another shape than this network's")
        if not np.isfinite(array).all():
            raise ValueError(f"step {key} holds NaN or infinity")
        found["log_odds" if name == "odds" else name] = torch.from_numpy(array).to(crop.start.device, dtype)
    if "given" in has:
        found["initial_map"] = _initial_map(source.refiner, arrays[f"{key}_given"])
    if "classes" in stored:
        found["class_probabilities"] = np.array(stored["classes"], float)
    return found


def _initial_map(refiner: Refiner, stored: np.ndarray) -> InitialMap:
    """A label map, or a mask from its bits. Raises ValueError where it can't be one of this photo and network."""
    height, width = refiner.size
    given = stored
    if stored.dtype != np.int16:
        given = np.unpackbits(stored, count=height * width).astype(bool).reshape(height, width)
    if given.shape != refiner.size or (
        given.dtype == np.int16 and not -1 <= given.min() <= given.max() < refiner.classes
    ):
        raise ValueError("a mask or label map of another photo or network")
    given.setflags(write=False)
    return given
