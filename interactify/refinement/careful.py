"""Whether a refinement may only display a large change among the colours of what was clicked, and which these are."""

from __future__ import annotations

from typing import Final

import torch

from interactify.interactions.click import Click
from interactify.interactions.gestures import Scribble
from interactify.propagation.change_gate import STEADY, ChangeGate, alike
from interactify.propagation.propagation import Propagation
from interactify.refinement.history import Step
from interactify.refinement.problem import Problem

BEFORE: Final = 2  # interactions that a mask has to have had: a first click that changed nothing tells nothing


def gate_of(propagation: Propagation, problem: Problem, last: Step) -> ChangeGate | None:
    """The gate of the object's own map in a problem; None where any change is displayed.

    Args:
        propagation: that of the object's class in this photo.
        problem: with what is held of the mask before; where nothing is held, nothing was steady.
        last: the step before. Its mask is compared with the new one where both were seen in the same window.
    """
    constraints, crop = problem.constraints, problem.crop
    same = crop is last.crop and last.targets[0] == problem.target
    steady = len(last.interactions) >= BEFORE and last.steadiness >= STEADY
    if not propagation.gates or problem.held is None or not same or not steady:
        return None
    newest = constraints.interactions[len(last.interactions) :]
    new = torch.from_numpy(constraints.owners[problem.inside] >= len(last.interactions))
    if not bool(new.any()) or not all(isinstance(each, (Click, Scribble)) for each in newest):
        return None
    colours = alike(crop.guide, problem.points[new], propagation.alike)
    return ChangeGate(last.result.logits, colours, crop.view.content_size)
