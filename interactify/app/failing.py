"""What goes wrong while a photo is worked on, in words for the page."""

from __future__ import annotations

from interactify.errors import InteractifyError, NotEnoughMemoryError


class Busy(InteractifyError, RuntimeError):
    """Too much is waiting already."""


def told(cause: Exception) -> InteractifyError:
    """What went wrong, in words for the page; what nobody foresaw comes from the network."""
    if isinstance(cause, InteractifyError):
        return cause
    if isinstance(cause, MemoryError):
        return NotEnoughMemoryError("There is not enough memory for this. Close other programs, or scale the photo.")
    first_line = str(cause).strip().split("\n", 1)[0][:300]
    return Failed(
        f"The network failed ({type(cause).__name__}: {first_line}). What holds is as it was; try another way."
    )


class Failed(InteractifyError, RuntimeError):
    """Something nobody foresaw, in the network most likely."""
