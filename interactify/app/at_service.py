"""The network of a service in place of one in this process: `interactify app --server URL`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from interactify.app.sessions_at_service import SessionsAtService
from interactify.app.store.project import Photo
from interactify.app.store.stored_at_service import StoredAtService
from interactify.web.about import About

if TYPE_CHECKING:  # httpx, an optional package, comes with it
    from interactify.client import Service

FIRST_SECONDS: Final = 5.0  # that the service may be away when the page is started
LOOK_SECONDS: Final = 5.0  # that its answer to "do you run?" may take


class AtService:
    """A network of a service. Once the page has started, requests to a service that is away wait until it is back.

    Attributes:
        network: its name there.
        about: what is told of it.
    """

    sessions = SessionsAtService()

    def __init__(self, service: Service, network: str | None = None) -> None:
        """With a service that was connected with no end of patience, and the name of one of its networks.

        Raises ServiceError where it does not answer or its key is another one; OptionError for an unknown network.
        """
        found = service.about(network, patience=FIRST_SECONDS)
        self.service, self.network, self.about = service, str(found["name"]), About.from_json(found)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the service, or of its replicas."""
        return self.service.connection.addresses

    def stored(self, photo: Photo, out: Path) -> StoredAtService:
        """The session of a photo as it was left."""
        return StoredAtService(self.service, self.network, photo, out)

    @property
    def waits(self) -> bool:
        """Whether a request is being tried again just now."""
        return bool(self.service.connection.trouble)

    def trouble(self) -> str:
        """Why the service does not answer just now, or not all that was asked; "" where it does."""
        connection = self.service.connection
        return connection.trouble or connection.look(LOOK_SECONDS)

    def hurry(self) -> None:
        """Ask no longer where the service is away: this process is to end."""
        self.service.connection.hurry()

    def close(self) -> None:
        """Close the connections."""
        self.service.close()
