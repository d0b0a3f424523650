"""Solvers: from an objective and a starting point to the best point found, two of them behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import lbfgs, scipy
from .solution import Evaluation, Objective, RowEvaluations, RowsObjective, Solution, StopAsked

ROW_SOLVERS: Final[dict[str, Callable[..., list[Solution]]]] = {
    "lbfgs": lbfgs.minimise_rows,
    "scipy": scipy.minimise_rows,
}
"""Solvers of a batch's rows by name: "lbfgs" stays on the variables' device and evaluates the rows together, "scipy" is
the reference it is measured against and takes one row after the other."""

__all__ = [
    "ROW_SOLVERS", "Evaluation", "Objective", "RowEvaluations", "RowsObjective", "Solution", "StopAsked",
    "lbfgs", "scipy",
]  # fmt: skip
