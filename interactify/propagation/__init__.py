"""Spread the correction of a click over the picture: along its edges, and to pixels of the object's colours."""

from interactify.propagation.propagation import Propagation, Spread, propagation_named, usual_propagation

__all__ = ["Propagation", "Spread", "propagation_named", "usual_propagation"]
