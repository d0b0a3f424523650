"""BRS: minimise an energy over variables until every click is satisfied. The functional core.

Nothing here knows of sessions, photos or networks: `refine` takes any function from values to logits.
"""

from interactify.brs.energy import (
    Energy,
    Margin,
    MeanPerPolarity,
    Settling,
    SumOfSquares,
    energy_named,
    energy_reaching,
    energy_settling,
    gain_for,
    hold_of,
)
from interactify.brs.hold import Held
from interactify.brs.refinement import check_seconds, check_solver, refine, refine_rows, stopping
from interactify.brs.solving import Refinement, SteeringEnded

__all__ = [
    "Energy",
    "Held",
    "Margin",
    "MeanPerPolarity",
    "Refinement",
    "Settling",
    "SteeringEnded",
    "SumOfSquares",
    "check_seconds",
    "check_solver",
    "energy_named",
    "energy_reaching",
    "energy_settling",
    "gain_for",
    "hold_of",
    "refine",
    "refine_rows",
    "stopping",
]
