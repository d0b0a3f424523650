"""What goes into a solver and what comes out: objective, evaluation and solution; and the check of its options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import OptionError


@dataclass(frozen=True)
class Evaluation:
    """The objective at a point. The solver holds its tensors, so they must not change afterwards.

    value: 0-d tensor on the device of x. gradient: (n,) like x, None only if `done`. done: the caller's goal is reached
    (every click is satisfied), so the solver stops at this point. payload: whatever belongs to the point (BRS: the
    logits), so that prediction and variables always agree.
    """

    value: Tensor
    gradient: Tensor | None
    done: bool
    payload: object = None


Objective = Callable[[Tensor], Evaluation]
"""From x (n,), float32 or float64 on any device, to its Evaluation. It may hold x: no solver changes it afterwards."""


@dataclass(frozen=True)
class RowEvaluations:
    """The objective of a batch at b points: one `Evaluation` for each row, in common tensors.

    value: (b,) tensor on the device of x. gradient: (b, n) like x, None only if every row is done. done: b booleans on
    the host. payloads: b of them, each with its own memory, because each row holds its own.
    """

    value: Tensor
    gradient: Tensor | None
    done: Sequence[bool]
    payloads: Sequence[object]


RowsObjective = Callable[[Tensor, Sequence[int]], RowEvaluations]
"""From x (b, n) and the indices of its rows in x0 to their RowEvaluations. Finished rows are not evaluated."""

StopAsked = Callable[[], str | None]
"""Called before every evaluation but the first: a string ends the minimisation with that status, None continues it."""


@dataclass(frozen=True)
class Solution:
    """The point that a solver ended at; x (n,), value and payload are from the same evaluation.

    status: "done" (by the objective), "converged" (no gradient component above the tolerance), "budget" (evaluations
    used up), "stalled" (no lower value along any direction the solver knows), or what `stop` returned: "time" (no time
    left) or "cancelled" (the result is no longer needed). evaluations: of this row. iterations: accepted steps.
    """

    x: Tensor
    value: float
    payload: object
    done: bool
    evaluations: int
    iterations: int
    status: str


def check_options(
    x0: Tensor,
    max_evaluations: int,
    memory: int,
    gradient_tolerance: float,
    lower_bound: float | None,
    *,
    shape: tuple[str, ...] = ("n",),
) -> None:
    """Raise OptionError for invalid options, before any work."""
    possible = isinstance(x0, Tensor) and x0.dtype in (torch.float32, torch.float64)
    if not possible or x0.ndim != len(shape) or x0.numel() == 0:
        came = f"{tuple(x0.shape)} of {x0.dtype}" if isinstance(x0, Tensor) else type(x0).__name__
        expected = f"({shape[0]},) with n" if len(shape) == 1 else f"({', '.join(shape)}) with {' and '.join(shape)}"
        raise OptionError(
            f"Expected x0 to be a tensor of shape {expected} of 1 or more, float32 or float64, got {came}. "
            "Try flattening and converting the variables first."
        )
    for name, number in (("max_evaluations", max_evaluations), ("memory", memory)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise OptionError(f"Expected {name} to be a whole number of 1 or more, got {number!r}. Try 20.")
    if not (math.isfinite(gradient_tolerance) and gradient_tolerance >= 0):
        raise OptionError(
            f"Expected gradient_tolerance to be a finite number of 0 or more, got {gradient_tolerance!r}. Try 1e-9."
        )
    if lower_bound is not None and not math.isfinite(lower_bound):
        raise OptionError(
            f"Expected lower_bound to be a finite number or None, got {lower_bound!r}. "
            "Try 0.0 for a sum of squares, None if no bound is known."
        )
