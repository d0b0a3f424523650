"""What is found of a model when it is wrapped: the replica that runs, its spec, and the model's state at that time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from interactify.errors import ModelError
from interactify.inspection.mirror import mirrored
from interactify.inspection.model_state import ModelState, facts_of, written_by
from interactify.inspection.probe import probe, ready
from interactify.inspection.replica import replica_of, unwrapped
from interactify.inspection.spec import Knowledge, ModelSpec


@dataclass(frozen=True)
class Inspected:
    """The replica that runs, ready for images; what was found by running it; and the model as it was."""

    replica: nn.Module
    spec: ModelSpec
    state: ModelState


def inspected(
    model: nn.Module,
    replica: nn.Module,
    known: Knowledge,
    given: Knowledge,
    mirror: bool,
    of_images: Callable[[nn.Module], nn.Module] = lambda replica: replica,
) -> Inspected:
    """Run a new replica of a model once; `of_images` lets one of a click network take images.

    With `mirror`, image and mirror image run in one batch; one after the other where the network takes one image only,
    as programs exported for it do.

    Raises:
        ModelError, OptionError: as `probe`.
    """
    if mirror:
        one = _run(model, of_images(mirrored(ready(replica_of(model), known), at_once=False)), known, given)
        if _takes_pairs(of_images(mirrored(ready(replica_of(model), known))), one.spec):
            with suppress(ModelError):
                return _run(model, of_images(mirrored(ready(replica, known))), known, given)
        return one
    return _run(model, of_images(ready(replica, known)), known, given)


def _takes_pairs(replica: nn.Module, spec: ModelSpec) -> bool:
    """Whether a mirrored replica runs at the size that one image ran at; else every usual size would be tried."""
    image = torch.zeros(1, spec.channels, *spec.probed, dtype=spec.dtype, device=spec.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[spec.device] if spec.device.type == "cuda" else []):
            replica(image)
    except Exception:  # the user's own code, on a batch that it may not accept
        return False
    return True


def _run(model: nn.Module, replica: nn.Module, known: Knowledge, given: Knowledge) -> Inspected:
    before = facts_of(replica)
    spec = probe(model, known, given, replica=replica)
    return Inspected(replica, spec, ModelState(unwrapped(model), written_by(before, facts_of(replica))))
