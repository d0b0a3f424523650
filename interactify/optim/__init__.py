"""Solvers: from an objective and a start to the best point found. Two solvers with the same signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import lbfgs, scipy
from .solution import Evaluation, Objective, RowEvaluations, RowsObjective, Solution, StopAsked
from .status import Status

ROW_SOLVERS: Final[dict[str, Callable[..., list[Solution]]]] = {
    "lbfgs": lbfgs.minimise_rows,
    "scipy": scipy.minimise_rows,
}
"""Solvers of a batch of rows by name: "lbfgs" keeps vectors on the variables' device and evaluates the rows together;
"scipy" is the reference it is compared with, and solves one row after the other."""

__all__ = [
    "ROW_SOLVERS", "Evaluation", "Objective", "RowEvaluations", "RowsObjective", "Solution", "Status",
    "StopAsked", "lbfgs", "scipy",
]  # fmt: skip
