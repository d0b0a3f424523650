"""Sessions on volumes as the page's queue, journal and saver ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.app.volumes.open_volume import OpenVolume
from interactify.web.actions import Action


class SessionsOnVolumes:
    """See `interactify.app.sessions.Sessions` for the methods. Whole masks are not asked for: they may be large."""

    run_here = True
    on_volumes = True

    def state_of(self, session: OpenVolume[Any], most_points: int) -> dict[str, Any]:
        return session.state()

    def version_of(self, session: OpenVolume[Any]) -> object:
        return session.version

    def run(self, action: Action, session: OpenVolume[Any], key: str) -> None:
        action.run(session)

    def is_repeatable(self, session: OpenVolume[Any], action: Action) -> bool:
        return session.is_repeatable(action.name == "add")

    def initial_mask(self, session: OpenVolume[Any]) -> NDArray[np.bool_]:
        raise NotImplementedError

    def accepted_labels(self, session: OpenVolume[Any]) -> NDArray[np.uint8]:
        raise NotImplementedError

    def to_read(self, session: OpenVolume[Any]) -> OpenVolume[Any]:
        return session.copied()
