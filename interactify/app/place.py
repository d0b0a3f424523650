"""Where the networks of a project run: in this process (`networks.py`), or at a service (`at_service.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from interactify.app.sessions import Sessions
from interactify.app.store.project import Photo
from interactify.app.store.stored import Stored
from interactify.web.about import About


class Place(Protocol):
    """Where the networks of a project run.

    Attributes:
        about: what the page is told of the first network.
    """

    about: About

    @property
    def sessions(self) -> Sessions:
        """What is asked of its sessions in its own way."""

    def stored(self, photo: Photo, out: Path) -> Stored:
        """The session of a photo as it was left, with its network, not opened yet."""

    def hurry(self) -> None:
        """Wait for nobody any longer: this process is to end."""

    def close(self) -> None:
        """Give back what is held elsewhere."""
