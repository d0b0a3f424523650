"""Errors of an open photo, in words for the page."""

from __future__ import annotations

from interactify.errors import InteractifyError, NotEnoughMemoryError


class Busy(InteractifyError, RuntimeError):
    """Too many actions wait already, or the photo is being closed."""


class Failed(InteractifyError, RuntimeError):
    """An unexpected error, most likely from the network."""


def user_error(cause: Exception) -> InteractifyError:
    """An exception as one of the library's errors, whose text the page shows."""
    if isinstance(cause, InteractifyError):
        return cause
    if isinstance(cause, MemoryError):
        return NotEnoughMemoryError("Not enough memory. Close other programs, or scale the photo down.")
    first_line = str(cause).strip().split("\n", 1)[0][:300]
    return Failed(
        f"The network failed ({type(cause).__name__}: {first_line}). Nothing was changed. Try another interaction."
    )
