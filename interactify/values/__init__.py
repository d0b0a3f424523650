"""Networks whose map is a number for each pixel, not a class: alpha mattes, depth, height, flow magnitude.

`interactify.wrap_values(model)` is the way in; this package has what it returns, and what a user can say.
"""

from interactify.values.goals import Alignment, Goals
from interactify.values.interactions import (
    HigherValue,
    SameValue,
    ValueClick,
    ValueInteraction,
    ValueScribble,
    value_interaction_from_json,
)
from interactify.values.network import ValueNetwork, wrap_values
from interactify.values.result import ValueResult
from interactify.values.session import ValueSession

__all__ = [
    "Alignment",
    "Goals",
    "HigherValue",
    "SameValue",
    "ValueClick",
    "ValueInteraction",
    "ValueNetwork",
    "ValueResult",
    "ValueScribble",
    "ValueSession",
    "value_interaction_from_json",
    "wrap_values",
]
