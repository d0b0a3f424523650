"""The library's errors and its warning. Each text says what was expected, what was given, and what to try."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any


class InteractifyError(Exception):
    """The base of all errors of this library: catch it to catch them all."""


class PhotoError(InteractifyError, ValueError):
    """A photo that can't be read: no pixels, an unknown layout, values out of range."""


class InteractionError(InteractifyError, ValueError):
    """An invalid interaction: outside the photo, not a number, of an unknown kind."""


class NoPhotoError(InteractifyError, RuntimeError):
    """A predictor was called before it was given a photo, or for several photos where it was given one."""


class ClosedSessionError(InteractifyError, RuntimeError):
    """A session was used after it was closed."""


class ModelError(InteractifyError, ValueError):
    """A network that the library can't use as it is: no per-pixel output, no stem, an unknown name of a layer."""


class ModelChangedError(ModelError):
    """A network that changed after a session on it was opened: new weights, statistics, modules or hooks."""


class CheckpointError(InteractifyError, ValueError):
    """A file of weights or a saved session that is unreadable or does not fit."""


class NonFiniteError(InteractifyError, ArithmeticError):
    """The network returned NaN or infinity, from which no mask can be made."""


class NotEnoughMemoryError(InteractifyError, MemoryError):
    """The device or the host has too little memory to run the network."""


class TrainingError(InteractifyError, ArithmeticError):
    """A training can't go on."""


class OptionError(InteractifyError, ValueError):
    """An option with an invalid value."""


class StoreError(InteractifyError, RuntimeError):
    """A store of sessions that can't be opened, read or written."""


class ServiceError(InteractifyError, RuntimeError):
    """A service of sessions that refuses a request, or that can't be reached."""


class SessionGoneError(ServiceError):
    """A session that a service does not have, or no longer."""


class SessionChangedError(ServiceError):
    """A session at a service that was changed since: what is asked for now is of another state."""


class AdapterError(InteractifyError, RuntimeError):
    """An adapter for a family of networks that can't be loaded, or that fails."""


class InteractifyWarning(UserWarning):
    """Something that the library had to assume or to guess, and that makes masks worse where it is wrong."""


def warn_user(text: str) -> None:
    """Warn with an `InteractifyWarning` that names the line that called the library, not a line inside of it."""
    if _quiet.get():
        return
    package, frame, level = str(Path(__file__).parent), sys._getframe(1), 2
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(package)
        or frame.f_globals.get("__name__") == "torch.utils._contextlib"  # the decorator of `wrap`
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, InteractifyWarning, stacklevel=level)


@contextmanager
def quietly() -> Iterator[None]:
    """Drop the warnings of `warn_user` in the block: the user has had them already. Other threads are not affected."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller's caller that a public name has a new one; the old name is kept for one release."""
    warnings.warn(f"{old} is {new} now", DeprecationWarning, stacklevel=3)


def extra(name: str) -> str:
    """The command that installs an optional extra, for an error: there is no release yet, so from a clone.

    >>> f"Try {extra('napari')}."
    "Try pip install -e '.[napari]' in a clone of interactify."
    """
    return f"pip install -e '.[{name}]' in a clone of interactify"


def with_type(value: Any) -> str:
    """A value for an error: its text, cut where it is long, and its type."""
    return f"{text_of(value)} ({type(value).__name__})"


def text_of(value: Any) -> str:
    """The text of a value, cut where it is long; only its type where it has no text."""
    try:
        text = repr(value)
    except Exception:  # integers of thousands of digits, and objects whose __repr__ fails
        return f"a {type(value).__name__} that can't be shown"
    return text if len(text) <= 60 else text[:57] + "..."


def reason_of(cause: BaseException, longest: int = 300) -> str:
    r"""The type and text of an error of other code, for an error of ours: in one line, without colours, not too long.

    >>> reason_of(RuntimeError("size \x1b[31mmismatch\x1b[0m:\n  64"))
    'RuntimeError: size mismatch: 64'
    """
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*(?:\x07|$)", "", str(cause))
    text = " ".join(text.split())
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def ran_out(problem: BaseException) -> bool:
    """Whether an exception says that a device or the host is out of memory.

    >>> ran_out(torch.OutOfMemoryError("CUDA out of memory")), ran_out(RuntimeError("shapes do not fit"))
    (True, False)
    """
    torch = sys.modules.get("torch")  # not imported for this: commands that never load torch import this module
    on_device = torch is not None and isinstance(problem, torch.OutOfMemoryError)
    # On the host torch has no class of its own for it, only the name of the allocator in a RuntimeError's text.
    on_host = isinstance(problem, RuntimeError) and "DefaultCPUAllocator" in str(problem)
    return on_device or on_host or isinstance(problem, MemoryError)


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise NotEnoughMemoryError where memory runs out inside the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as cause:
        if isinstance(cause, NotEnoughMemoryError) or not ran_out(cause):
            raise
        raise NotEnoughMemoryError(
            "Expected enough memory to run the network, got too little; nothing was changed. Try a smaller photo "
            "(wrap(resolution=…)), half precision (precision='bfloat16'), or variables deeper inside the network "
            f"(variables='scale_bias@B'), which need less. The cause: {str(cause).strip().splitlines()[0]}"
        ) from cause
