"""Which requests reach an application: they are checked before their bodies are read. Each server has its own guard.

Its headers are in every response, so that a browser neither guesses a response's type, nor keeps it, nor shows it in
another site's page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interactify.web.limits import TooLong, wrong_length

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """The ASGI middleware around an application. Refused requests never reach its routes."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] = HEADERS) -> None:
        self.app, self.headers = app, headers

    def refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """The response to a request that is answered without the application; None where it may pass."""
        raise NotImplementedError

    def most_bytes(self, scope: Scope) -> int:
        """How many bytes a request's body may have."""
        raise NotImplementedError

    def responds(self, scope: Scope, status: int) -> None:
        """Called when a response begins, with its status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it: `refusal`'s response, 400 or 413 for its length."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sends(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.responds(scope, message["status"])
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        headers, limit = Headers(scope=scope), self.most_bytes(scope)
        answer = self.refusal(scope, headers) or wrong_length(headers, limit)
        if answer is None:
            await self.app(scope, _limited(receive, limit), sends)
        else:
            await answer(scope, receive, sends)


def _limited(receive: Receive, limit: int) -> Receive:
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
