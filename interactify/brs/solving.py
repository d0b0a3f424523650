"""Solves the refinements of rows: one after the other or together, with what is held, and with what steers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import torch
from torch import Tensor

from interactify.brs.energy import Energy
from interactify.brs.objective import PointTargets, RowsEnergy, RowsForward
from interactify.errors import NonFiniteError, within_memory
from interactify.optim import ROW_SOLVERS, Status

HOLDING: Final = 12  # evaluations while something is held; then it gives way to clicks that do not have their label
SHORTER: Final = 3  # evaluations, without a gradient, on shorter ways
LEAST: Final = 4  # evaluations, from which steering pays: it takes two for a step, and one is left for the answer
STEERED: Final = 12  # evaluations that steer; what has not arrived by then may be lost in their rounding
SLACK: Final = 0.25  # log-odds: how far from the energy's goal a point may be that a steering function says is there
_UNFINISHED: Final = (Status.BUDGET, Status.CONVERGED, Status.STALLED)


class SteeringEnded(Exception):
    """What a `steering` function raises that can't go on: the refinement begins again without it."""


Inertia = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Refinement:
    """The end of a refinement; `values`, `logits` and `energy` are from the same evaluation.

    Attributes:
        values: the variables, shaped like `start`.
        logits: (1, 1, h, w), detached: what `forward(values)` returned.
        energy: E at `values`.
        reached: whether the energy's goal is reached.
        evaluations: how often `forward` and `steering` ran.
        status: an `interactify.optim.Status`: "done", "held", "converged", "budget", "stalled", or what `stop`
            returned.
    """

    values: Tensor
    logits: Tensor
    energy: float
    reached: bool
    evaluations: int
    status: str


@dataclass(frozen=True, eq=False)
class Rows:
    """What is minimised for each row, after `begun` evaluations, by which solver, and when it stops."""

    forward: RowsForward
    targets: Sequence[PointTargets]
    energy: Energy
    inertia: Inertia
    solver: str
    stop: Callable[[], str | None] | None
    at_once: int = 1
    begun: int = 0

    def objective(self, like: Tensor) -> RowsEnergy:
        """The objective for variables like these of one row."""
        return RowsEnergy(self.forward, like, self.targets, self.energy, self.inertia, self.at_once, self.begun)

    def without_hold(self, left: Sequence[int]) -> Rows:
        """Those rows that are left, with nothing held."""
        targets = [replace(self.targets[row], held=None) for row in left]
        return replace(
            self, forward=lambda values, rows: self.forward(values, [left[row] for row in rows]), targets=targets
        )


def guided(guide: Rows, rows: Rows, start: Tensor, max_evaluations: int) -> Refinement:
    """The refinement of one row whose way is found by `guide`, and whose answer is that of `rows`."""
    try:
        (way,) = refined(guide, start[None], min(STEERED, max_evaluations - 1))
    except (NonFiniteError, SteeringEnded):
        return refined(rows, start[None], max_evaluations)[0]
    stopped = way.status not in (*_UNFINISHED, Status.DONE, Status.HELD)
    values = start.detach() if way.status == Status.SUPERSEDED else way.values  # that one has only begun
    objective = replace(rows, begun=way.evaluations).objective(start)
    with within_memory():
        energy, labelled, reached, logits = objective.answer(values, 0, SLACK)
        finite = math.isfinite(energy)
        if stopped and not finite:
            values, (energy, labelled, reached, logits) = start.detach(), objective.answer(start.detach(), 0, SLACK)
    reached &= way.reached and labelled
    answer = Refinement(values, logits, energy, reached, way.evaluations + 1, way.status)
    # What is held has had its evaluations: as without steering, the labels are enough from there on.
    given_way = rows.targets[0].held is not None and way.evaluations >= HOLDING
    if stopped or reached or (labelled and (way.status == Status.HELD or given_way)):
        return answer
    left = max_evaluations - answer.evaluations
    status = Status.BUDGET if left < 1 else None if rows.stop is None else rows.stop()
    if status is not None and finite:
        return replace(answer, status=status)
    rest = replace(rows.without_hold([0]) if given_way else rows, begun=answer.evaluations)
    (found,) = refined(rest, (values if finite else start)[None], max(1, left))
    return replace(found, evaluations=answer.evaluations + found.evaluations)


def refined(how: Rows, starts: Tensor, max_evaluations: int) -> list[Refinement]:
    """The refinement of each row, from its start."""
    targets, stop = how.targets, how.stop
    holds = any(target.held is not None for target in targets)
    first = min(max_evaluations, HOLDING) if holds else max_evaluations
    objective = how.objective(starts[0])
    found = _solved(objective, starts, how.solver, first, stop)
    found = [_shortened(objective, row, starts[row], each, first, stop) for row, each in enumerate(found)]
    left = [
        row
        for row, each in enumerate(found)
        if each.status in _UNFINISHED and targets[row].held is not None and not objective.satisfied(each.logits, row)
    ]
    if not left or max_evaluations - first < 1:
        return found
    stopped = None if stop is None else stop()
    if stopped is not None:
        return [replace(each, status=stopped) if row in left else each for row, each in enumerate(found)]
    # What is held gives way where it keeps a click from its label.
    free = how.without_hold(left).objective(starts[0])
    again = torch.stack([found[row].values for row in left])
    for row, each in zip(left, _solved(free, again, how.solver, max_evaluations - first, stop), strict=True):
        found[row] = replace(each, evaluations=each.evaluations + found[row].evaluations)
    return found


def _solved(
    objective: RowsEnergy, starts: Tensor, solver: str, max_evaluations: int, stop: Callable[[], str | None] | None
) -> list[Refinement]:
    flat = starts.detach().clone().reshape(len(starts), -1)
    with within_memory():
        solutions = ROW_SOLVERS[solver](
            objective, flat, max_evaluations=max_evaluations, lower_bound=objective.energy.lower_bound, stop=stop
        )
    return [
        Refinement(
            solution.x.to(starts.dtype).view(starts.shape[1:]),
            cast(Tensor, solution.payload),
            solution.value,
            solution.done,
            solution.evaluations,
            solution.status,
        )
        for solution in solutions
    ]


def _shortened(
    objective: RowsEnergy,
    row: int,
    start: Tensor,
    found: Refinement,
    max_evaluations: int,
    stop: Callable[[], str | None] | None,
) -> Refinement:
    """A refinement, or one on a shorter way from the start, where the whole way changes much of what is held."""
    held = objective.targets[row].held
    if held is None or math.isinf(held.tolerance) or not found.reached or found.evaluations < 2:
        return found
    if float(held.energy(found.logits[0]) - objective.held_at_start[row]) <= held.tolerance:
        return found
    best, share, length = found, 0.5, 0.25
    for count in range(found.evaluations + 1, min(found.evaluations + SHORTER, max_evaluations) + 1):
        stopped = None if stop is None else stop()
        if stopped is not None:
            return replace(best, status=stopped)
        values = torch.lerp(start.detach(), found.values, share)
        energy, satisfied, logits = objective.without_gradient(values, row)
        if satisfied and energy < best.energy:
            best = Refinement(values, logits, energy, False, count, Status.HELD)
        best = replace(best, evaluations=count)
        share, length = (share - length if satisfied else share + length), length / 2
    return best
