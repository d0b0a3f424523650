"""Solvers: from an objective and a starting point to the best point found, two of them behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import lbfgs, scipy
from .solution import Evaluation, Objective, Solution

SOLVERS: Final[dict[str, Callable[..., Solution]]] = {"lbfgs": lbfgs.minimise, "scipy": scipy.minimise}
"""Solvers by name: "lbfgs" stays on the variables' device, "scipy" is the reference it is measured against."""

__all__ = ["SOLVERS", "Evaluation", "Objective", "Solution", "lbfgs", "scipy"]
