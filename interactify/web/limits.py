"""How long a request may be, decided before it is read; and a response that says why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 2 * 2**20  # of every request but an upload
TOO_LONG: Final = "The request is too long."
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every response of both servers; a browser then neither guesses its type, nor keeps it, nor shows it elsewhere."""


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


def limited(receive: Receive, limit: int) -> Receive:
    """The same body, which raises TooLong beyond a limit in bytes, whatever its header says."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLong
        return message

    return counted


async def not_http(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> bool:
    """Whether a scope is no request; then it is dealt with: the application's start and end pass, websockets end."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
    elif scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
    return scope["type"] != "http"


def with_headers(send: Send, added: Mapping[str, str]) -> Send:
    """The same responses, with headers added to each."""

    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers[name] = value
        await send(message)

    return sends
