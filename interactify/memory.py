"""Where memory does not suffice: one error that says what to try, whatever ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from interactify.errors import NotEnoughMemoryError


def ran_out(problem: BaseException) -> bool:
    """Whether an exception says that memory was asked for in vain, on a device or on the host.

    >>> ran_out(torch.OutOfMemoryError("CUDA out of memory")), ran_out(RuntimeError("shapes do not fit"))
    (True, False)
    """
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
