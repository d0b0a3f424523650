"""Whether clicks repair a part of a steady mask, and what of a refinement's change is displayed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Click
from interactify.interactions.gestures import Scribble
from interactify.propagation.change_gate import STEADY, ChangeGate, alike
from interactify.propagation.click_reach import Depths, within_reach
from interactify.propagation.propagation import Propagation
from interactify.refinement.history import Step
from interactify.refinement.problem import Problem

PART: Final = 0.5  # of the depth of the object's deepest pixel: clicks that are deeper mean more than a part of it
BEFORE: Final = 2  # interactions that a mask has to have had: a first click that changed nothing tells nothing


def with_part(problem: Problem, last: Step) -> Problem:
    """A problem that knows whether its newest clicks repair a part of a mask that was steady, with the energy for that.

    Steady is a mask that hardly changed with the click before. A click in the middle of the object means more than a
    part of it, and so does one far from the mask. A mask that was not held, or was seen in another window, is not known
    to be steady.
    """
    steady = len(last.interactions) >= BEFORE and last.steadiness >= STEADY
    new = _new_points(problem, last)
    if not steady or new is None or problem.held is None or problem.crop is not last.crop:
        return replace(problem, energy=brs.energy_settling(problem.energy, False))
    depths = Depths.of(last.result.logits, problem.crop.view.content_size)
    own = None if depths is None else depths.at(problem.points[torch.from_numpy(new)], problem.positive[new])
    part = depths is not None and own is not None and bool((own <= PART * depths.thickest).all())
    return replace(problem, part=part, energy=brs.energy_settling(problem.energy, part))


def gate_of(propagation: Propagation, problem: Problem, last: Step, before: Tensor) -> ChangeGate | None:
    """The gate of the object's own map in a problem; None where any change is displayed.

    Args:
        propagation: that of the object's class in this photo.
        problem: what the refinement solves.
        last: the step before.
        before: (1, 1, h', w') the displayed log-odds before the newest interactions, in the problem's crop.
    """
    crop, new = problem.crop, _new_points(problem, last)
    if new is None:
        return None
    points, content = problem.points[torch.from_numpy(new)], crop.view.content_size
    reach = colours = None
    if propagation.reach is not None:
        reach = within_reach(before, content, points, problem.positive[new], propagation.reach)
    if propagation.gates and problem.part:
        colours = alike(crop.guide, points, propagation.alike)
    if reach is None and colours is None:
        return None
    return ChangeGate(before, content, reach, colours)


def _new_points(problem: Problem, last: Step) -> NDArray[np.bool_] | None:
    """Which of the problem's points the newest clicks and strokes put on the object's map; None for other gestures."""
    constraints = problem.constraints
    newest = constraints.interactions[len(last.interactions) :]
    drawn = constraints.region is not None or constraints.mask is not None
    known = not last.interactions or last.targets[0] == problem.target
    if drawn or not known or not all(isinstance(each, (Click, Scribble)) for each in newest):
        return None
    new: NDArray[np.bool_] = (constraints.owners[problem.inside] >= len(last.interactions)) & (problem.maps == 0)
    return new if new.any() else None
