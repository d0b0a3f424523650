"""Which requests are allowed: checks of their Host, Origin, token and length.

A page of another site can make a browser send requests here, and can point its own host name here. It can't choose the
Host and Origin headers that the browser then sends. Both are checked on every request.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Scope

from interactify.web import guard
from interactify.web.guard import LOOPBACK
from interactify.web.limits import MAX_BODY_BYTES, refused
from interactify.web.pictures import MAX_FILE_BYTES
from interactify.web.tokens import digest_of, new_token, same

UPLOADS: Final = "/api/photos"
SAFE_METHODS: Final = ("GET", "HEAD")


PAGE_HEADERS: Final = {
    **guard.HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """The address of a server, and the token that its clients need.

    Attributes:
        host: the address that the server listens at; None for the loopback address, which needs no token.
        port: the port.
        token: what a browser has to send; None where no token is needed.
    """

    host: str | None
    port: int
    token: str | None = None

    @classmethod
    def create(cls, host: str | None, port: int) -> Access:
        """The access to a server: with a new token unless it listens at the loopback address."""
        return cls(host, port, None if host is None else new_token())

    @property
    def cookie(self) -> str:
        """The name of the token's cookie; the port is in it, since browsers send cookies to all ports of a host."""
        return f"interactify_token_{self.port}"

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name, _, port = host.lower().rpartition(":")
        if not name or name.endswith(":") or port != str(self.port):
            name, port = host.lower(), "80"
        if port != str(self.port):
            return False
        own = {*LOOPBACK, *(() if self.host is None else (_bracketed(self.host.lower()), socket.gethostname().lower()))}
        return name in own or (self.host in ("0.0.0.0", "::") and _is_address(name))

    def address(self) -> str:
        """The address to open in a browser, with the token where one is needed."""
        name = "127.0.0.1" if self.host is None else _bracketed(self.host)
        if self.host in ("0.0.0.0", "::"):
            name = socket.gethostname()
        return f"http://{name}:{self.port}/" + ("" if self.token is None else f"?token={self.token}")


class Guard(guard.Guard):
    """Refuses requests with 401, 403 or 421, and answers the address with the token."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        super().__init__(app, PAGE_HEADERS)
        self.access = access

    def most_bytes(self, scope: Scope) -> int:
        return MAX_FILE_BYTES if scope["path"] == UPLOADS else MAX_BODY_BYTES

    def refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.access.allows_host(hosts[0]):
            return refused(421, f"Expected a request to {self.access.address().split('?')[0]}, not to another name.")
        if len(origins) > 1 or (origins and origins[0].lower() != f"http://{hosts[0].lower()}"):
            return refused(403, "This request is from a page of another origin. Open the page of this server.")
        log_in = self._log_in(scope)
        if log_in is not None:
            return log_in
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return refused(403, "This request is from a page of another site. Open the page of this server.")
        if scope["method"] not in SAFE_METHODS and not origins:
            return refused(403, "Expected an Origin header, as browsers send it. Try the origin of the page.")
        return self._without_token(headers)

    def _without_token(self, headers: Headers) -> Response | None:
        token = self.access.token
        if token is None or same(_cookie(headers, self.access.cookie), digest_of(token)):
            return None
        return refused(401, "A token is needed. Open the address that the server printed when it started.")

    def _log_in(self, scope: Scope) -> Response | None:
        """The response to the address with the token, from whatever site its link was followed: a cookie.

        It comes with a page that reloads itself: after a redirect, browsers would not send the cookie of a link from
        another site.
        """
        token = self.access.token
        if token is None or (scope["path"], scope["method"]) != ("/", "GET"):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not same(given, digest_of(token)):
            return None
        reload = '<meta http-equiv="refresh" content="0;url=/"><title>interactify</title><a href="/">Open the page</a>'
        response = HTMLResponse(f'<!doctype html><html lang="en">{reload}</html>')
        response.set_cookie(self.access.cookie, token, httponly=True, samesite="strict", path="/")
        return response


def _cookie(headers: Headers, name: str) -> str:
    """A cookie's value, "" where there is none; cookies of other pages on this host are ignored."""
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
