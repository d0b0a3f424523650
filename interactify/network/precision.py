"""In which type a network computes: its own, a reduced one throughout, or a reduced one for what only steers."""

from __future__ import annotations

import os
from typing import Final

import torch

from interactify.errors import OptionError
from interactify.inspection.spec import ModelSpec

PRECISIONS: Final = {"float32": None, "auto": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

VARIABLE: Final = "INTERACTIFY_PRECISION"


def autocast_named(precision: str, spec: ModelSpec) -> torch.dtype | None:
    """The type of convolutions and matrix products under autocast; None for the network's own precision.

    Raises OptionError for another name, or where the network does not compute in float32.
    """
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise OptionError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    dtype = PRECISIONS[precision]
    if dtype is not None and spec.dtype != torch.float32:
        raise OptionError(
            f"Expected a network in float32 for precision={precision!r}, got {str(spec.dtype).split('.')[-1]}. Try "
            "without precision=, or call model.float() first."
        )
    return dtype


def unsteered(precision: str, spec: ModelSpec) -> str:
    """Why passes in bfloat16 do not steer a network's refinements; "" where they may. See `slow`.

    Raises OptionError as `slow`.
    """
    if precision != "auto":
        return f"precision is {precision!r}"
    if spec.dtype != torch.float32:
        return f"the network computes in {str(spec.dtype).split('.')[-1]}"
    if spec.sides == 3:
        return "volumes are refined in float32"
    return slow(spec.device.type)


def slow(device: str) -> str:
    """Why bfloat16 is not taken to be faster than float32 on a type of device; "" where it is.

    It is decided by what the hardware is, not by a clock: a photo gets the same mask each time on one machine. The
    environment variable INTERACTIFY_PRECISION, "float32" or "bfloat16", decides it for processors of several kinds.

    Raises OptionError for another value of that variable.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "float32", "bfloat16"):
        raise OptionError(f"Expected the environment variable {VARIABLE} to be float32 or bfloat16, got {asked!r}.")
    if asked == "float32":
        return f"{VARIABLE} is float32"
    if device != "cpu":
        return f"on {device} it was not shown to be faster than float32"
    # A version of torch that can't ask for AMX can't use it. With AVX-512 BF16 alone it was slower (docs/tried.md).
    if not asked and not getattr(torch.cpu, "_is_amx_tile_supported", bool)():
        return "this processor has no AMX"
    return ""
