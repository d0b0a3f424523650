"""Solvers: from an objective and a starting point to the best point found, two of them behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import lbfgs, scipy
from .solution import Evaluation, Objective, RowEvaluations, RowsObjective, Solution, StopAsked

SOLVERS: Final[dict[str, Callable[..., Solution]]] = {"lbfgs": lbfgs.minimise, "scipy": scipy.minimise}
"""Solvers by name: "lbfgs" stays on the variables' device, "scipy" is the reference it is measured against."""

ROW_SOLVERS: Final[dict[str, Callable[..., list[Solution]]]] = {
    "lbfgs": lbfgs.minimise_rows,
    "scipy": scipy.minimise_rows,
}
"""The same for the rows of a batch: "lbfgs" evaluates them together, "scipy" one after the other."""

__all__ = [
    "ROW_SOLVERS", "SOLVERS", "Evaluation", "Objective", "RowEvaluations", "RowsObjective", "Solution", "StopAsked",
    "lbfgs", "scipy",
]  # fmt: skip
