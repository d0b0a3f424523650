"""A photo's session, whose network runs in this process or at a service: what the page asks of it where the two differ.

Both have methods of the same names (`interactify.client.Session`); where they do, the page calls those. A session on a
volume (`OpenVolume`) is queued, written and restored like them; what is shown of it is in `app/volumes/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from interactify.web.actions import Action

if TYPE_CHECKING:  # a session here needs torch, a client needs httpx: a page has one of the two
    from interactify import client
    from interactify.app.volumes.open_volume import OpenVolume
    from interactify.refinement.result import Result
    from interactify.session.session import Session

AnySession: TypeAlias = "Session | client.Session"
Opened: TypeAlias = "AnySession | OpenVolume[Any]"
AnyResult: TypeAlias = "Result | client.Result"


class Sessions(Protocol):
    """The sessions of a place: `sessions_here.py`, or `sessions_at_service.py`.

    Attributes:
        run_here: whether their network runs in this process, so that there are masks of a refinement that still runs.
        on_volumes: whether they are on volumes, each an `OpenVolume`.
    """

    run_here: bool
    on_volumes: bool

    def state_of(self, session: Any, most_points: int) -> dict[str, Any]:
        """The state of a session as JSON, as `session_state` gives it."""

    def version_of(self, session: Any) -> object:
        """What differs from its value before exactly where an action has changed the session."""

    def run(self, action: Action, session: Any, key: str) -> None:
        """Run an action; one that comes to a service twice with the same key is made there once."""

    def is_repeatable(self, session: Any, action: Action) -> bool:
        """Whether running an action again, which has just run, gives the same masks, also where it ended early."""

    def initial_mask(self, session: Any) -> NDArray[np.bool_]:
        """(H, W) bool: the network's own mask, before any interaction."""

    def accepted_labels(self, session: Any) -> NDArray[np.uint8]:
        """What a network may learn from the session, (H, W) uint8; see `labels_of_session`."""

    def to_read(self, session: Any) -> Any:
        """A copy of the session as it is now. Of one at a service, what is asked for after a change is refused."""
