"""A value session as an .npz file of interactions, numbers and digests, without pickle, from which it continues.

"header" is JSON: the options, digests of photo and network, all steps without their numbers, and the history as indices
of steps. Numbers ("0_variables", "0_map" for step 0) are stored of the current step, and of those that a time limit or
a cancel ended; the others are refined again when they are needed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray

from interactify.errors import CheckpointError, InteractifyError
from interactify.optim.status import Status
from interactify.refinement.timeline import Timeline
from interactify.session.archive import check_settings, read_archive, write_archive
from interactify.session.session_file import fingerprint
from interactify.values.interactions import value_interaction_from_json
from interactify.values.refiner import Numbers, ValueRefiner, ValueStep

FORMAT: Final = 1


def save_values(path: str | Path, refiner: ValueRefiner, history: Timeline[ValueStep]) -> Path:
    """Write a history to a file; see `ValueSession.save`."""
    refiner.net.check_unchanged(every_value=True)  # the file names the weights that its steps come from
    arrays: dict[str, NDArray] = {}
    stored: list[dict[str, Any]] = []
    indices: dict[int, int] = {id(refiner.first): -1}
    for last in (*history.past, history.now, *history.undone):
        chain = []
        while id(last) not in indices:
            chain.append(last)
            assert last.before is not None
            last = last.before
        for step in reversed(chain):
            index = indices[id(step)] = len(stored)
            if step is history.now or not step.repeatable:
                numbers = refiner.numbers(step)
                arrays[f"{index}_variables"] = numbers.variables.cpu().numpy()
                arrays[f"{index}_map"] = numbers.network_map.float().cpu().numpy()
            stored.append(
                {
                    "after": indices[id(step.before)],
                    "added": [each.to_json() for each in step.groups[-1]],
                    "evaluations": step.evaluations,
                    "status": step.status,
                    "seconds": step.seconds,
                }
            )
    header = {
        "format": FORMAT,
        "kind": "values",
        "settings": settings_of(refiner),
        "photo": refiner.picture.digest(),
        "network": fingerprint(refiner.net.unwrap()),
        "steps": stored,
        "past": [indices[id(step)] for step in history.past],
        "now": indices[id(history.now)],
        "undone": [indices[id(step)] for step in history.undone],
    }
    arrays["plain"] = refiner.numbers(refiner.first).network_map.float().cpu().numpy()
    return write_archive(path, header, arrays)


def settings_of(refiner: ValueRefiner) -> dict[str, Any]:
    """The options that decide the numbers of a session, as JSON has them."""
    net, spec = refiner.net, refiner.net.spec
    return {
        "variables": net.variables.name,
        "solver": net.solver,
        "max_evaluations": net.max_evaluations,
        "tolerance": refiner.given_tolerance,
        "alignment": refiner.alignment,
        "view": [list(refiner.view.content_size), list(refiner.view.network_size)],
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def load_values(path: str | Path, refiner: ValueRefiner) -> Timeline[ValueStep]:
    """The history in a file. Raises CheckpointError for one of anything else."""
    keys = {"settings": dict, "photo": str, "network": str, "steps": list, "now": int}
    header, arrays = read_archive(path, keys, (FORMAT,), "values")
    if header["photo"] != refiner.picture.digest():
        raise CheckpointError(f"Expected the photo that {path} was saved for, unchanged; got another one.")
    if header["network"] != fingerprint(refiner.net.unwrap()):
        raise CheckpointError(
            f"Expected the network that {path} was saved for, got other weights. Try to load those first."
        )
    check_settings(path, header["settings"], settings_of(refiner))
    try:
        own, saved = refiner.numbers(refiner.first).network_map.float().cpu(), torch.from_numpy(arrays["plain"])
        if own.shape != saved.shape or not torch.allclose(own, saved, rtol=1e-2, atol=1e-2 * max(refiner.range, 1e-9)):
            raise CheckpointError(
                f"Expected the network that {path} was saved for, got one with the same weights that gives another map "
                "for this photo. Try the same architecture and options."
            )
        steps = _steps(header, arrays, refiner)
        past, undone = (tuple(steps[index + 1] for index in header[name]) for name in ("past", "undone"))
        return Timeline(steps[header["now"] + 1], past, undone)
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError) as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause


def _steps(header: dict[str, Any], arrays: dict[str, NDArray], refiner: ValueRefiner) -> list[ValueStep]:
    """The first step, and then those of the file."""
    first = refiner.numbers(refiner.first)
    steps = [refiner.first]
    for index, entry in enumerate(header["steps"]):
        before = steps[range(len(steps))[int(entry["after"]) + 1]]
        added = tuple(value_interaction_from_json(each).within(refiner.size) for each in entry["added"])
        if not added:
            raise ValueError(f"step {index} has no interaction")
        evaluations, seconds, status = int(entry["evaluations"]), float(entry["seconds"]), Status.of(entry["status"])
        step = ValueStep(before, (*before.groups, added), evaluations, status, seconds)
        if f"{index}_variables" in arrays:
            read = (torch.from_numpy(arrays[f"{index}_{name}"]) for name in ("variables", "map"))
            numbers = Numbers(
                *(
                    each.to(like)
                    for each, like in zip(read, (first.variables, first.network_map), strict=True)
                    if each.shape == like.shape and bool(torch.isfinite(each).all())
                )
            )
            step = replace(step, fixed=numbers)
        elif not step.repeatable:
            raise ValueError(f"step {index} has no numbers")
        steps.append(step)
    return steps
