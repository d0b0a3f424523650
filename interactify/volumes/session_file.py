"""A session on a volume as a file of interactions, numbers and digests, from which it continues to the last bit.

The header has all steps, each with the step that it follows, and the history as their indices. The arrays are each
step's variables ("0_values" for step 0) and the log-odds of every block that was answered ("answer_0"), once each,
however many steps show it. The network's first map is not in the file: it is computed again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from interactify.interactions.voxel_gestures import voxel_interaction_from_json, voxel_interactions
from interactify.optim.status import Status
from interactify.refinement.timeline import Timeline
from interactify.session.archive import (
    Arrays,
    Header,
    as_bytes,
    from_bytes,
    write_archive,
)
from interactify.session.session_file import fingerprint
from interactify.volumes.block import Block, whole
from interactify.volumes.constraints import combine
from interactify.volumes.displayed import Displayed
from interactify.volumes.refiner import Steps, VolumeRefiner, VolumeStep
from interactify.volumes.result import VolumeResult

FORMAT: Final = 1
KEYS: Final = {"settings": dict, "volume": str, "network": str, "steps": list, "past": list, "now": int, "undone": list}
SAMPLED: Final = 32  # voxels along each side, of which the network's first map is compared


def save_volume_session(path: str | Path, history: Timeline[Steps], refiner: VolumeRefiner, target: int | None) -> Path:
    """Write a history to a file; see `VolumeSession.save`. `target` is the session's own class."""
    refiner.net.check_unchanged(every_value=True)  # the file names the weights that its steps come from
    arrays: Arrays = {}
    stored: list[dict[str, Any]] = []
    indices: dict[int, int] = {}  # of steps, by id: the states of the history share them
    answers: dict[int, int] = {}  # of answers, by id: steps share them
    for steps in (*history.past, history.now, *history.undone):
        after, known = -1, 0
        for step in steps:
            if id(step) not in indices:
                indices[id(step)] = len(stored)
                stored.append({"after": after, **_stored(step, known, len(stored), answers, arrays)})
            after, known = indices[id(step)], len(step.interactions)
    ends = [[indices[id(steps[-1])] if steps else -1 for steps in each] for each in (history.past, history.undone)]
    header = {
        "format": FORMAT,
        "kind": "volume",
        "settings": settings_of(refiner, target),
        "volume": refiner.volume.digest(),
        "network": fingerprint(refiner.net.unwrap()),
        "steps": stored,
        "past": ends[0],
        "now": indices[id(history.now[-1])] if history.now else -1,
        "undone": ends[1],
    }
    arrays["plain"] = first_map(refiner, target).numpy()
    return write_archive(path, header, arrays)


def settings_of(refiner: VolumeRefiner, target: int | None) -> dict[str, Any]:
    """What decides how interactions become masks, beside network and volume; compared on loading."""
    net = refiner.net
    return {
        "variables": repr(net.variables),
        "energy": repr(net.energy),
        "solver": net.solver,
        "propagation": repr(net.propagation),
        "max_evaluations": net.max_evaluations,
        "target": target,
        "value_range": list(refiner.volume.value_range) if refiner.volume.value_range else None,
        "window": list(refiner.grid.window),
        "mean": list(net.spec.mean),
        "std": list(net.spec.std),
        "output": net.spec.output.name,
    }


def _stored(step: VolumeStep, known: int, index: int, answers: dict[int, int], arrays: Arrays) -> dict[str, Any]:
    """A step for the header; its numbers, and the answers that are not there yet, are added to the arrays."""
    shown = []
    for block, values in step.result.displayed.answers:
        if id(values) not in answers:
            answers[id(values)] = len(answers)
            arrays[f"answer_{answers[id(values)]}"] = as_bytes(values)
        shown.append([answers[id(values)], *block.start, *block.size])
    if step.values is not None:
        arrays[f"{index}_values"] = as_bytes(step.values)
    return {
        "added": [each.to_json() for each in step.interactions[known:]],
        "centre": step.result.constraints.assume_centre,
        "target": step.target,
        "block": [*step.block.start, *step.block.size],
        "answers": shown,
        "steadiness": step.steadiness,
        "evaluations": step.result.evaluations,
        "status": step.result.status,
        "seconds": step.result.seconds,
    }


def first_map(refiner: VolumeRefiner, target: int | None) -> Tensor:
    """The network's first map, at evenly spread voxels, float32."""
    first = refiner.initial_step(target).result.displayed.first
    steps = [max(1, side // SAMPLED) for side in first.shape]
    return first[:: steps[0], :: steps[1], :: steps[2]].float().contiguous()


def read_history(header: Header, arrays: Arrays, refiner: VolumeRefiner, session_target: int | None) -> Timeline[Steps]:
    """The stored history, with steps for a volume and a network.

    Raises ValueError, KeyError, TypeError and others where the file is damaged.
    """
    chains: list[Steps] = []  # for each stored step, the steps up to it
    answers: dict[int, Tensor] = {}
    for index, entry in enumerate(header["steps"]):
        before = () if entry["after"] == -1 else chains[range(len(chains))[int(entry["after"])]]
        chains.append((*before, _step(before, entry, arrays, str(index), answers, refiner, session_target)))
    if chains and chains[-1][-1].values is not None:  # all windows have one size, and their variables one shape
        start = refiner.patch(chains[-1][-1].block).start
        for steps in chains:
            values = steps[-1].values
            if values is not None and values.shape != start.shape:
                raise ValueError(f"variables of shape {tuple(values.shape)}, not {tuple(start.shape)}")
    states = [(), *chains]
    past, undone = (tuple(states[range(len(states))[index + 1]] for index in header[k]) for k in ("past", "undone"))
    return Timeline(states[range(len(states))[header["now"] + 1]], past, undone)


def _step(
    before: Steps,
    entry: dict[str, Any],
    arrays: Arrays,
    key: str,
    answers: dict[int, Tensor],
    refiner: VolumeRefiner,
    session_target: int | None,
) -> VolumeStep:
    """The step that follows `before`."""
    added = voxel_interactions([voxel_interaction_from_json(each) for each in entry["added"]], refiner.size)
    if not added:
        raise ValueError(f"step {key} has no interaction")
    interactions = (*(before[-1].interactions if before else ()), *added)
    constraints = combine(interactions, refiner.size, bool(entry["centre"]))
    target = None if entry["target"] is None else refiner.net.network.target(entry["target"])
    block = _block(entry["block"])
    if block.size != refiner.grid.window:
        raise ValueError(f"a window of another size than the network's, {block.size}")
    if constraints.mask is None:
        first = refiner.initial_step(target).result.displayed.first
    else:
        first = torch.from_numpy(constraints.mask.copy())
    shown = []
    for index, *sides in entry["answers"]:
        own = _block(sides)
        if whole(refiner.size).common(own) != own:
            raise ValueError("an answer beyond the volume")
        if index not in answers:
            answers[index] = _finite(arrays[f"answer_{int(index)}"], torch.float32)
        if answers[index].shape != own.size:
            raise ValueError("an answer of another size than its block")
        shown.append((own, answers[index]))
    steady = float(entry["steadiness"])
    if not 0 <= steady <= 1:
        raise ValueError(f"a steadiness of {steady}")
    values = None
    if f"{key}_values" in arrays:
        values = _finite(arrays[f"{key}_values"], torch.float32 if len(arrays[f"{key}_values"]) == 4 else torch.float64)
        values = values.to(refiner.net.spec.device)
    result = VolumeResult(
        Displayed(first, tuple(shown), constraints.regions),
        block,
        constraints,
        int(entry["evaluations"]),
        Status.of(str(entry["status"])),
        float(entry["seconds"]),
        before[-1].result if before else refiner.initial_step(session_target).result,
        refiner.volume.spacing,
        refiner.volume.affine,
    )
    return VolumeStep(interactions, result, block, values, target, steady)


def _block(sides: Any) -> Block:
    z, y, x, depth, height, width = (int(side) for side in sides)
    return Block((z, y, x), (depth, height, width))


def _finite(stored: np.ndarray, dtype: torch.dtype) -> Tensor:
    array = from_bytes(stored, dtype)
    if not np.isfinite(array).all():
        raise ValueError("NaN or infinity")
    return torch.from_numpy(array)
