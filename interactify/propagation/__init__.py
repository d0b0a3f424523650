"""How the rest of a picture follows a correction: along edges, and to what has the object's colours."""

from interactify.propagation.propagation import Propagation, Spread, propagation_named, usual_propagation

__all__ = ["Propagation", "Spread", "propagation_named", "usual_propagation"]
