"""Who may ask, and how much: the address that was asked for, the page that asks, a token, and the length of what comes.

A page elsewhere can make a browser send requests here, and can have its own name lead here; it can not choose the Host
and Origin that the browser then writes. Both are checked on every request.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interactify.app.pictures import LARGEST_FILE

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
LARGEST_ACTION: Final = 2 * 2**20  # bytes of any body but a picture's
PICTURES: Final = "/api/photos"
SAFE: Final = ("GET", "HEAD")

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """What is let in.

    Attributes:
        host: the address that the server listens at; None for the loopback one, which needs no token.
        port: where.
        token: that a browser has to show; None where none is needed.
    """

    host: str | None
    port: int
    token: str | None = None

    @classmethod
    def opened(cls, host: str | None, port: int) -> Door:
        """The door of a server: beyond the loopback address with a new token."""
        return cls(host, port, None if host is None else secrets.token_urlsafe(24))

    @property
    def cookie(self) -> str:
        """The cookie that holds the token: browsers tell hosts apart by it, but not their ports."""
        return f"interactify_token_{self.port}"

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name, _, port = host.lower().rpartition(":")
        if not name or name.endswith(":") or port != str(self.port):
            name, port = host.lower(), "80"
        if port != str(self.port):
            return False
        own = {*LOOPBACK, *(() if self.host is None else (_bracketed(self.host.lower()), socket.gethostname().lower()))}
        return name in own or (self.host in ("0.0.0.0", "::") and _is_address(name))

    def address(self) -> str:
        """What a browser is to open, with the token where one is needed."""
        name = "127.0.0.1" if self.host is None else _bracketed(self.host)
        if self.host in ("0.0.0.0", "::"):
            name = socket.gethostname()
        return f"http://{name}:{self.port}/" + ("" if self.token is None else f"?token={self.token}")


class Guard:
    """The ASGI middleware that keeps a door. What it refuses never reaches the routes."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it: 400, 401, 403, 413 or 421."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no sockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, sent)
            return
        limit = LARGEST_FILE if scope["path"] == PICTURES else LARGEST_ACTION
        await self.app(scope, _limited(receive, limit), sent)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.door.knows(hosts[0]):
            return refused(421, f"Expected to be asked as {self.door.address().split('?')[0]}, not by another name.")
        if len(origins) > 1 or (origins and origins[0].lower() != f"http://{hosts[0].lower()}"):
            return refused(403, "A page of another origin asks. Open the page that this server gives.")
        entering = self._entering(scope)
        if entering is not None:
            return entering
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return refused(403, "A page of another site asks. Open the page that this server gives.")
        if scope["method"] not in SAFE and not origins:
            return refused(403, "A change was asked for without an Origin. Browsers send one; send the page's own.")
        length = headers.get("content-length")
        if length is not None:
            if not length.isascii() or not length.isdigit() or len(length) > 15:
                return refused(400, "Expected a Content-Length as a number.")
            if int(length) > (LARGEST_FILE if scope["path"] == PICTURES else LARGEST_ACTION):
                return refused(413, "That is too long.")
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.door.token
        if token is None or secrets.compare_digest(_cookie(headers, self.door.cookie).encode(), token.encode()):
            return None
        return refused(401, "A token is needed: open the address that the server printed when it began.")

    def _entering(self, scope: Scope) -> Response | None:
        """The answer to whoever comes with the token, from wherever they followed it: a cookie, and a way on.

        A page that goes on by itself, since browsers keep the cookie from a redirect of another site's link.
        """
        token = self.door.token
        if token is None or (scope["path"], scope["method"]) != ("/", "GET"):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not secrets.compare_digest(asked.encode(), token.encode()):
            return None
        goes_on = '<meta http-equiv="refresh" content="0;url=/"><title>interactify</title><a href="/">Go on</a>'
        response = HTMLResponse(f'<!doctype html><html lang="en">{goes_on}</html>')
        response.set_cookie(self.door.cookie, token, httponly=True, samesite="strict", path="/")
        return response


class TooLong(Exception):
    """A signal: more came than is taken. Answered with 413."""


def refused(status: int, why: str) -> JSONResponse:
    """An answer that says no, and why."""
    why = why.encode("utf-8", "replace").decode()  # the name of a file need not be text
    # What was too long is not waited for: the connection ends with the answer.
    return JSONResponse({"error": why}, status, {"Connection": "close"} if status == 413 else None)


def _limited(receive: Receive, limit: int) -> Receive:
    """The same body, which ends in TooLong where it goes on beyond a limit, whatever its header said."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLong
        return message

    return counted


def _cookie(headers: Headers, name: str) -> str:
    """A cookie's value, "" where there is none; what other pages of this host have set is passed over."""
    for each in headers.get("cookie", "").split(";"):
        key, _, value = each.strip().partition("=")
        if key == name:
            return value
    return ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
