"""Spread the correction of a click over the picture: along its edges, and to pixels of the object's colours."""

from interactify.propagation.click_reach import Reach
from interactify.propagation.propagation import (
    PROPAGATIONS,
    Propagation,
    Spread,
    propagation_named,
    usual_propagation,
)

__all__ = ["PROPAGATIONS", "Propagation", "Reach", "Spread", "propagation_named", "usual_propagation"]
