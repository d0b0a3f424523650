"""Which requests reach the routes: those of known keys, from no page of a browser, and of allowed length.

The service is for programs. A page of any site can make a browser send requests here; the browser then names the page's
origin, and such requests are refused. Where no key is needed, the service listens at the loopback address, and the Host
header has to name it: a page can point its own host name here, but can't choose that header.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interactify.serve.keys import Keys
from interactify.serve.metrics import Metrics
from interactify.web.limits import (
    HEADERS,
    LOOPBACK,
    MAX_BODY_BYTES,
    limited,
    not_http,
    refused,
    with_headers,
    wrong_length,
)

API: Final = "/v1/"
UPLOADS: Final = "/v1/sessions"


class Guard:
    """The ASGI middleware that checks each request before its body is read, and counts the responses."""

    def __init__(self, app: ASGIApp, keys: Keys, metrics: Metrics, upload_bytes: int) -> None:
        """With the most bytes of a photo's file."""
        self.app, self.keys, self.metrics, self.upload_bytes = app, keys, metrics, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 400, 401, 403, 413 or 421."""
        if await not_http(self.app, scope, receive, send):
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("endpoint"), "__name__", "none")
                self.metrics.requests.labels(route, str(message["status"])).inc()
            await send(message)

        sends, limit = with_headers(counted, HEADERS), self._most_bytes(scope)
        refusal = self._refusal(scope, limit)
        if refusal is not None:
            await refusal(scope, receive, sends)
            return
        await self.app(scope, limited(receive, limit), sends)

    def _most_bytes(self, scope: Scope) -> int:
        return max(self.upload_bytes, MAX_BODY_BYTES) if scope["path"] == UPLOADS else MAX_BODY_BYTES

    def _refusal(self, scope: Scope, limit: int) -> Response | None:
        headers = Headers(scope=scope)
        if headers.getlist("origin") or headers.get("sec-fetch-site", "none") != "none":
            return refused(403, "This request is from a page in a browser. Ask from a program.")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (self.keys.digests is None and not _is_loopback(hosts[0])):
            return refused(421, "Expected a request to 127.0.0.1 or localhost, not to another name.")
        owner = self.keys.owner(_bearer(headers))
        if owner is None and scope["path"].startswith(API):
            return refused(401, "A key is needed: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        scope.setdefault("state", {})["owner"] = owner
        return wrong_length(headers, limit)


def _bearer(headers: Headers) -> str:
    """The key of a request, "" where there is none."""
    given = headers.getlist("authorization")
    scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _is_loopback(host: str) -> bool:
    name, _, port = host.lower().rpartition(":")
    return host.lower() in LOOPBACK or (name in LOOPBACK and port.isascii() and port.isdigit())
