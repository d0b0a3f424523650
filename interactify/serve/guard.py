"""Which requests reach the routes: those of known keys, from no page of a browser, and of allowed length.

The service is for programs. A page of any site can make a browser send requests here; the browser then names the page's
origin, and such requests are refused. Where no key is needed, the service listens at the loopback address, and the Host
header has to name it: a page can point its own host name here, but can't choose that header.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from interactify.serve.keys import Keys
from interactify.serve.metrics import Metrics
from interactify.web import guard
from interactify.web.limits import MAX_BODY_BYTES, refused

API: Final = "/v1/"
UPLOADS: Final = "/v1/sessions"


class Guard(guard.Guard):
    """Refuses requests with 401, 403 or 421, and counts the responses."""

    def __init__(self, app: ASGIApp, keys: Keys, metrics: Metrics, upload_bytes: int) -> None:
        """With the most bytes of a photo's file."""
        super().__init__(app)
        self.keys, self.metrics, self.upload_bytes = keys, metrics, upload_bytes

    def responds(self, scope: Scope, status: int) -> None:
        self.metrics.requests.labels(getattr(scope.get("endpoint"), "__name__", "none"), str(status)).inc()

    def most_bytes(self, scope: Scope) -> int:
        return max(self.upload_bytes, MAX_BODY_BYTES) if scope["path"] == UPLOADS else MAX_BODY_BYTES

    def refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        if headers.getlist("origin") or headers.get("sec-fetch-site", "none") != "none":
            return refused(403, "This request is from a page in a browser. Ask from a program.")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (self.keys.digests is None and not _is_loopback(hosts[0])):
            return refused(421, "Expected a request to 127.0.0.1 or localhost, not to another name.")
        owner = self.keys.owner(_bearer(headers))
        if owner is None and scope["path"].startswith(API):
            return refused(401, "A key is needed: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        scope.setdefault("state", {})["owner"] = owner
        return None


def _bearer(headers: Headers) -> str:
    """The key of a request, "" where there is none."""
    given = headers.getlist("authorization")
    scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _is_loopback(host: str) -> bool:
    name, _, port = host.lower().rpartition(":")
    return host.lower() in guard.LOOPBACK or (name in guard.LOOPBACK and port.isascii() and port.isdigit())
