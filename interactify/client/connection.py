"""Requests to a service, which are tried again: at the next replica where one is away, later where all are busy.

A request that was sent and got no answer may have been made. So an action has a key by which the service knows it
again, and one that comes twice is made once.

A refinement may take long, and the service says meanwhile that it runs (`/healthz`). So a request waits as long as that
is answered; a process that was stopped, or a machine that is gone, answers nothing, and the request is tried elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Final

import httpx

from interactify import errors
from interactify.errors import InteractifyError, OptionError, ServiceError, reason_of, with_type

AWAY: Final = (502, 503, 504)  # of a proxy whose replica is away, and of a replica that is shutting down or full
LATER: Final = 429
FIRST_PAUSE: Final = 0.1  # seconds; it doubles with each round
LONGEST_PAUSE: Final = 2.0
LOOK_PAUSE: Final = 3.0  # seconds that a request waits before the service is asked whether it runs
LOOK_SECONDS: Final = 5.0  # that its answer may take
LOOKS: Final = 2  # without an answer, one after the other: the service has hung


@dataclass(frozen=True)
class _Away:
    """Why no replica has made a request: of the last one, which may have answered that it is busy."""

    why: str
    answered: bool = False

    @property
    def hint(self) -> str:
        busy = "It runs, and is busy or full: try again in a while."
        return busy if self.answered else "Is the service running?"


class Connection:
    """One service, at one or several addresses. Its methods may be called from several threads."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        key: str | None = None,
        *,
        timeout: float = 120.0,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect when the first request is sent.

        Args:
            addresses: of the service, or of each replica: "http://host:8348".
            key: the API key.
            timeout: seconds that one answer may take, at most: of a service that hangs, 13 seconds are waited for.
            patience: seconds for which a request is tried again.
            transport: how requests are sent, for tests.

        Raises:
            OptionError: no address, or one that is none.
        """
        given = [addresses] if isinstance(addresses, str) else list(addresses)
        if not given or not all(isinstance(each, str) and each.startswith(("http://", "https://")) for each in given):
            raise OptionError(f"Expected addresses such as http://127.0.0.1:8348, got {with_type(addresses)}.")
        self.addresses = tuple(each.rstrip("/") for each in given)
        self.patience = patience
        self._first = 0  # the one that answered last
        self._hurried = threading.Event()
        self._troubles: dict[object, str] = {}  # of the requests that are being tried again
        self._timeout = timeout
        options: dict[str, Any] = {
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "transport": transport,
            # Not from the environment: a proxy there would be asked for replicas on this machine, too.
            "trust_env": False,
        }
        limits = httpx.Limits(max_connections=64)
        self._client = httpx.Client(timeout=httpx.Timeout(timeout, connect=5.0), limits=limits, **options)
        # With connections of its own: those of requests may all be in use.
        self._looking = httpx.Client(timeout=LOOK_SECONDS, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        patience: float | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """Send a request, and return the response; `patience` and `timeout` are the connection's by default.

        Raises:
            ServiceError: no replica answers within `patience`; or the service refuses the request.
            InteractifyError: what the service raised, as its own class.
        """
        more: dict[str, Any] = {"params": params, "headers": headers, "json": json, "content": content}
        if timeout is not None:
            more["timeout"] = timeout
        seconds = self.patience if patience is None else patience
        deadline, pause, this = time.monotonic() + seconds, FIRST_PAUSE, object()
        try:
            while True:
                found = self._round(method, path, more)
                if isinstance(found, httpx.Response):
                    return found
                if time.monotonic() + pause > deadline or self._hurried.is_set():
                    raise ServiceError(
                        f"Expected an answer of {' or '.join(self.addresses)} within {seconds:g} seconds, got none "
                        f"({found.why}). {found.hint}"
                    )
                self._troubles[this] = found.why
                self._hurried.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._troubles.pop(this, None)

    def _round(self, method: str, path: str, more: Mapping[str, Any]) -> httpx.Response | _Away:
        """Ask one replica after the other, beginning with the one that answered last."""
        first, count = self._first, len(self.addresses)
        away = _Away("")
        for turn in range(count):
            index = (first + turn) % count
            try:
                response = self._answer(method, self.addresses[index], path, more)
            except httpx.TransportError as cause:
                away = _Away(f"{self.addresses[index]}: {reason_of(cause)}")
                continue
            except RuntimeError as cause:  # another thread has closed it
                if not self.closed:
                    raise
                raise ServiceError("Expected an open connection, got one that was closed. Try connect.") from cause
            if response.status_code in (*AWAY, LATER):
                away = _Away(f"{self.addresses[index]}: {_text_of(response)}", answered=True)
                continue
            self._first = index
            if response.status_code >= 400:
                raise _error_of(response)
            return response
        return away

    def _answer(self, method: str, address: str, path: str, more: Mapping[str, Any]) -> httpx.Response:
        """The answer to a request. Raises httpx.TransportError where none comes, or the service has hung."""
        if more.get("timeout", self._timeout) <= LOOK_PAUSE + LOOKS * LOOK_SECONDS:
            return self._client.request(method, address + path, **more)
        answer: Future[httpx.Response] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._client.request(method, address + path, **more))
            except BaseException as cause:  # raised by `result`, where the request is waited for
                answer.set_exception(cause)

        threading.Thread(target=ask, name="interactify-request", daemon=True).start()
        while not wait([answer], LOOK_PAUSE).done:
            self._check_runs(address)
        return answer.result()

    def _check_runs(self, address: str) -> None:
        """Raise httpx.TransportError where a service does not say that it runs, `LOOKS` times one after the other."""
        for turn in range(1, LOOKS + 1):
            try:
                self._looking.get(f"{address}/healthz")
            except httpx.TransportError:
                if turn == LOOKS:
                    raise
            else:
                return

    @property
    def trouble(self) -> str:
        """Why a request is being tried again just now; "" where none is."""
        return next(iter(tuple(self._troubles.values())), "")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._client.is_closed

    def look(self, seconds: float) -> str:
        """Ask each replica once whether it is ready; returns "" where one is within so many seconds, else why not."""
        found = self._round("GET", "/readyz", {"timeout": seconds})
        return found.why if isinstance(found, _Away) else ""

    def hurry(self) -> None:
        """Ask once and no more: requests that are being tried again end, and later ones are sent once."""
        self._hurried.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._looking.close()


def _text_of(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):  # of a proxy
        return f"status {response.status_code}"


def _error_of(response: httpx.Response) -> InteractifyError:
    """What the service raised, as the class that it names; ServiceError where that is none of the library's."""
    text = _text_of(response)
    try:
        kind = getattr(errors, str(response.json().get("kind")), None)
    except (ValueError, AttributeError):
        kind = None
    if isinstance(kind, type) and issubclass(kind, InteractifyError):
        return kind(text)
    return ServiceError(f"The service refused the request (status {response.status_code}): {text}")
