"""Why a refinement ended; the class has a module of its own, which those who have no torch can import."""

from interactify.status import Status

__all__ = ["Status"]
