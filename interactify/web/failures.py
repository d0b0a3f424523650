"""Errors as responses: in words for whoever sent the request, and with the status that says whose fault it is."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from interactify.errors import InteractifyError, NonFiniteError, NotEnoughMemoryError, PhotoError
from interactify.web.limits import TOO_LONG, TooLong, refused

T = TypeVar("T")


class Busy(InteractifyError, RuntimeError):
    """Too many actions wait already, or the photo is being closed."""


class Failed(InteractifyError, RuntimeError):
    """An unexpected error, most likely from the network."""


def user_error(cause: Exception) -> InteractifyError:
    """An exception as one of the library's errors, whose text is sent."""
    if isinstance(cause, InteractifyError):
        return cause
    if isinstance(cause, MemoryError):
        return NotEnoughMemoryError("Not enough memory. Close other programs, or scale the photo down.")
    first_line = str(cause).strip().split("\n", 1)[0][:300]
    return Failed(
        f"The network failed ({type(cause).__name__}: {first_line}). Nothing was changed. Try another interaction."
    )


def status_of(cause: InteractifyError) -> int:
    """The HTTP status of one of the library's errors."""
    network = isinstance(cause, (Failed, NonFiniteError, NotEnoughMemoryError))
    return 429 if isinstance(cause, Busy) else 415 if isinstance(cause, PhotoError) else 500 if network else 422


async def result_of(future: Future[T]) -> T:
    """What another thread gives, or raises as `user_error` says; no thread waits for it."""
    try:
        return await asyncio.wrap_future(future)
    except Exception as cause:
        raise user_error(cause) from cause


def too_many_waiting(most: int, what: str) -> Busy:
    """The error where so many actions of something wait already."""
    return Busy(f"{most} actions of this {what} wait already. Wait until they are done.")


async def _http_error(request: Request, cause: HTTPException) -> Response:
    return refused(cause.status_code, cause.detail, cause.headers)


async def _too_long(request: Request, cause: TooLong) -> Response:
    return refused(413, TOO_LONG)


async def _disconnected(request: Request, cause: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _library_error(request: Request, cause: InteractifyError) -> Response:
    return refused(status_of(cause), str(cause), kind=type(cause).__name__)


async def _unexpected_error(request: Request, cause: Exception) -> Response:
    return refused(500, f"An unexpected error ({type(cause).__name__}). The server still runs; try again.")


HANDLERS: Final[dict[Any, Any]] = {
    HTTPException: _http_error,
    InteractifyError: _library_error,
    TooLong: _too_long,
    ClientDisconnect: _disconnected,
    Exception: _unexpected_error,
}
"""The exception handlers of a Starlette application."""
