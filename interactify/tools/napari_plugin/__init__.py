"""napari's plugin: a widget in which points are clicks and a layer of labels has the masks; napari.yaml declares it."""

import os
import sys
from contextlib import suppress
from importlib import import_module


def _load_triton() -> None:
    """Load Triton, which torch imports, so that its LLVM is its own.

    Where Mesa draws napari's canvas, another LLVM is loaded already. Triton's would be bound to that one's symbols, and
    the process would crash.
    """
    deep = getattr(os, "RTLD_DEEPBIND", 0)  # Linux alone has it
    if not deep or "triton" in sys.modules:
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | deep)
    try:
        with suppress(ImportError):  # torch for CPUs comes without it
            import_module("triton")
    finally:
        sys.setdlopenflags(flags)


_load_triton()
