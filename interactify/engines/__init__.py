"""How work on many items is spread: over processes of this machine, or over a cluster by Ray Data.

What is done with an item is a `Work`; an engine's `run` gives a `Finished` for each item, in the order in which they
end. An item whose process ends with it is tried again, and then given up: the others go on.
"""

from interactify.engines.local import Local
from interactify.engines.on_ray import OnRay
from interactify.engines.work import Engine, Finished, Work

__all__ = ["Engine", "Finished", "Local", "OnRay", "Work"]
