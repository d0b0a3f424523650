"""How much a client may ask for: the length of a request, its time, the actions that wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MAX_BODY_BYTES: Final = 2 * 2**20  # of every request but an upload
BODY_SECONDS: Final = 120.0  # that a body may take to come
MAX_WAITING: Final = 64  # actions of one session: no user is that fast
TOO_LONG: Final = "The request is too long."
T = TypeVar("T")


class TooLong(Exception):
    """Raised where a body is longer than allowed. The response is 413."""


def refused(status: int, why: str, headers: Mapping[str, str] | None = None, kind: str = "") -> JSONResponse:
    """An error response with its reason, and the name of the error's class where it has one."""
    why = why.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no text
    # The rest of a body that is too long is not read: the connection is closed.
    closing = {"Connection": "close"} if status == 413 else {}
    return JSONResponse({"error": why, **({"kind": kind} if kind else {})}, status, {**closing, **(headers or {})})


def wrong_length(headers: Headers, limit: int) -> Response | None:
    """The refusal of a request whose Content-Length is no number, or beyond a limit in bytes; else None."""
    length = headers.get("content-length")
    if length is None:
        return None
    if not length.isascii() or not length.isdigit() or len(length) > 15:
        return refused(400, "Expected a Content-Length as a number.")
    return refused(413, TOO_LONG) if int(length) > limit else None


async def read_body(request: Request) -> bytes:
    """The body of a request; raises HTTPException 408 where it does not come in time."""
    return await _within_time(request.body())


async def read_json(request: Request) -> Any:
    """The body of a request as JSON; raises as `read_body` and `json_of`."""
    return json_of(await read_body(request))


def json_of(content: bytes) -> Any:
    """Bytes as JSON; raises HTTPException 400 for anything else."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise HTTPException(400, "Expected JSON.") from cause


async def _within_time(body: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(body, BODY_SECONDS)
    except asyncio.TimeoutError as cause:
        raise HTTPException(408, f"Expected the request within {BODY_SECONDS:g} seconds.") from cause
