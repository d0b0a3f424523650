"""What of a refinement's change is displayed: what is near the newest clicks, or of the colours that they are on."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from interactify.interactions.click import Click
from interactify.interactions.gestures import Scribble
from interactify.propagation.change_gate import STEADY, ChangeGate, alike
from interactify.propagation.click_reach import within_reach
from interactify.propagation.propagation import Propagation
from interactify.refinement.history import Step
from interactify.refinement.problem import Problem

BEFORE: Final = 2  # interactions that a mask has to have had: a first click that changed nothing tells nothing


def gate_of(propagation: Propagation, problem: Problem, last: Step, before: Tensor) -> ChangeGate | None:
    """The gate of the object's own map in a problem; None where any change is displayed.

    Args:
        propagation: that of the object's class in this photo.
        problem: with what is held of the mask before; where nothing is held, nothing was steady.
        last: the step before. Whether its mask was steady is known where it was seen in the same window.
        before: (1, 1, h', w') the displayed log-odds before the newest interactions, in the problem's crop.
    """
    constraints, crop = problem.constraints, problem.crop
    newest = constraints.interactions[len(last.interactions) :]
    drawn = constraints.region is not None or constraints.mask is not None
    new = (constraints.owners[problem.inside] >= len(last.interactions)) & (problem.maps == 0)
    known = not last.interactions or last.targets[0] == problem.target
    if drawn or not known or not new.any() or not all(isinstance(each, (Click, Scribble)) for each in newest):
        return None
    points, content = problem.points[torch.from_numpy(new)], crop.view.content_size
    reach = colours = None
    if propagation.reach is not None:
        reach = within_reach(before, content, points, problem.positive[new], propagation.reach)
    steady = len(last.interactions) >= BEFORE and last.steadiness >= STEADY
    if propagation.gates and problem.held is not None and crop is last.crop and steady:
        colours = alike(crop.guide, points, propagation.alike)
    if reach is None and colours is None:
        return None
    return ChangeGate(before, content, reach, colours)
