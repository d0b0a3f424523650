"""The one family of errors: each says what was expected, what came, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InteractifyError(Exception):
    """Anything that went wrong in a way the library foresaw. Catch this to catch them all."""


class PhotoError(InteractifyError, ValueError):
    """A picture that can't be read or is not a picture: no pixels, unknown layout, values out of range."""


class InteractionError(InteractifyError, ValueError):
    """A click that is not one: outside the photo, not a number, of an unknown kind."""


class NoPhotoError(InteractifyError, RuntimeError):
    """A predictor was asked before it was given a photo, or asked for many where it was given one."""


class ModelError(InteractifyError, ValueError):
    """A network the library can't work with as it is: no per-pixel output, no stem, an unknown layer name."""


class CheckpointError(InteractifyError, ValueError):
    """A file of weights, or a saved session, that is unreadable or does not fit."""


class NonFiniteError(InteractifyError, ArithmeticError):
    """The network returned NaN or infinity; no mask is made from it."""


class NotEnoughMemoryError(InteractifyError, MemoryError):
    """A device, or the host, has not the memory that a network needs to be run."""


class OptionError(InteractifyError, ValueError):
    """An option with a value the library does not know."""


class AdapterError(InteractifyError, RuntimeError):
    """An adapter for a family of networks that can't be loaded, or fails at its work."""


def shown(value: Any) -> str:
    """What came, for an error: its text, cut short, and its type."""
    return f"{text_of(value)} ({type(value).__name__})"


def text_of(value: Any) -> str:
    """A value as it would be typed, cut where it is long; what it is where it can't be."""
    try:
        text = repr(value)
    except Exception:  # integers of thousands of digits, and objects that can't tell of themselves
        return f"a {type(value).__name__} that can't be shown"
    return text if len(text) <= 60 else text[:57] + "..."


def ran_out(problem: BaseException) -> bool:
    """Whether an exception says that memory was asked for in vain, on a device or on the host.

    >>> ran_out(torch.OutOfMemoryError("CUDA out of memory")), ran_out(RuntimeError("shapes do not fit"))
    (True, False)
    """
    import torch  # only where something went wrong: errors are read by commands that never load it

    # On the host torch has no class of error for it, only the name of the allocator in a RuntimeError's text.
    on_host = isinstance(problem, RuntimeError) and "DefaultCPUAllocator" in str(problem)
    return on_host or isinstance(problem, (torch.OutOfMemoryError, MemoryError))


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise NotEnoughMemoryError for memory that runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as cause:
        if isinstance(cause, NotEnoughMemoryError) or not ran_out(cause):
            raise
        raise NotEnoughMemoryError(
            "The memory does not suffice to run the network here; nothing was changed. Let it see the photo smaller "
            "(wrap(resolution=…)), compute in half precision (precision='bfloat16'), or move variables deeper inside "
            f"(variables='scale_bias@B'), which need less. It was: {str(cause).strip().splitlines()[0]}"
        ) from cause
