"""The devices of this machine."""

from __future__ import annotations

import torch

from interactify.errors import OptionError


def device_named(device: str | torch.device) -> torch.device:
    """A device of this machine that computes. Raises OptionError for any other.

    >>> device_named("cpu")
    device(type='cpu')
    """
    try:
        there = torch.device(device)
        torch.empty(1, device=there)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as cause:
        known = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        known += ["mps"] if torch.backends.mps.is_available() else []
        raise OptionError(
            f"Expected a device of this machine, one of {', '.join(known)}, got {device!r} ({cause})."
        ) from cause
    if there.type == "meta":
        raise OptionError("Expected a device that computes, got 'meta'. Try 'cpu'.")
    return there
