"""A service: its networks, and the sessions that are opened and resumed there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from interactify.client.connection import Connection
from interactify.client.photos import file_of
from interactify.client.session import Session
from interactify.errors import OptionError

KEY: Final = "INTERACTIFY_KEY"


def connect(addresses: str | Sequence[str], key: str | None = None, **options: Any) -> Service:
    """A service, at one address or at those of its replicas; `options` are those of `Connection`.

    Without a key, that of the environment variable INTERACTIFY_KEY is sent where it is set.

    >>> connect("http://127.0.0.1:8348")
    Service(http://127.0.0.1:8348)
    """
    return Service(Connection(addresses, key or os.environ.get(KEY) or None, **options))


class Service:
    """A service of sessions. Made by `connect`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def session(
        self,
        photo: Any,
        *,
        network: str | None = None,
        target: int | str | None = None,
        name: str | None = None,
        heartbeat: bool = True,
    ) -> Session:
        """Open a photo.

        Args:
            photo: the path of a file here, its bytes, or an array (H, W, 3) uint8.
            network: the name of one of the service's networks; by default its first.
            target: the class of a positive click, as for `Interactive.session`.
            name: the photo's name, by default the file's.
            heartbeat: keep the session's place while nothing is done, by a request from a thread now and then.

        Raises:
            PhotoError: it can't be read here or there, or is beyond the service's limits.
            OptionError: there is no such network or class.
            ServiceError: the service refuses, or does not answer.
        """
        content, own = file_of(photo)
        headers = {"Content-Type": "application/octet-stream"}
        return self._open(name or own, network, target, heartbeat, content=content, headers=headers)

    def session_at(
        self,
        path: str,
        *,
        network: str | None = None,
        target: int | str | None = None,
        name: str | None = None,
        heartbeat: bool = True,
    ) -> Session:
        """Open a photo that lies below one of the service's folders; else as `session`."""
        return self._open(name, network, target, heartbeat, json={"path": path})

    def resume(self, id: str, token: str, *, heartbeat: bool = True) -> Session:
        """Go on with a session that was opened before, also by another process. Raises ServiceError."""
        headers = {"Session-Token": token}
        state = self.connection.request("GET", f"/v1/sessions/{id}", headers=headers).json()
        return Session(self.connection, state, token, heartbeat=heartbeat)

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions that were opened with this key, without their tokens."""
        found: list[dict[str, Any]] = self.connection.request("GET", "/v1/sessions").json()["sessions"]
        return found

    def networks(self, *, patience: float | None = None) -> list[dict[str, Any]]:
        """The service's networks: their names, classes, and what else is told of them; the first is the default."""
        answer = self.connection.request("GET", "/v1/networks", patience=patience)
        found: list[dict[str, Any]] = answer.json()["networks"]
        return found

    def about(self, network: str | None = None, *, patience: float | None = None) -> dict[str, Any]:
        """What is told of one network, by default the first. Raises OptionError where there is none of that name."""
        found = self.networks(patience=patience)
        named = {each["name"]: each for each in found}
        if network is not None and network not in named:
            raise OptionError(f"Expected one of the networks {', '.join(named)}, got {network[:60]!r}.")
        return found[0] if network is None else named[network]

    def close(self) -> None:
        """Close the connections."""
        self.connection.close()

    def _open(
        self, name: str | None, network: str | None, target: int | str | None, heartbeat: bool, **body: Any
    ) -> Session:
        given = {"name": name, "network": network, "target": target}
        params = {key: value for key, value in given.items() if value is not None}
        state = self.connection.request("POST", "/v1/sessions", params=params, **body).json()
        return Session(self.connection, state, state["token"], state["lease_seconds"], heartbeat=heartbeat)

    def __repr__(self) -> str:
        return f"Service({', '.join(self.connection.addresses)})"
