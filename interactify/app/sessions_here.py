"""Sessions whose network runs in this process."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.session.session import Session
from interactify.training.accepted import labels_of_session
from interactify.web.actions import Action
from interactify.web.states import session_state


class SessionsHere:
    """See `Sessions` for the methods."""

    run_here = True
    on_volumes = False

    def state_of(self, session: Session, most_points: int) -> dict[str, Any]:
        return session_state(session, most_points)

    def version_of(self, session: Session) -> object:
        return session.history

    def run(self, action: Action, session: Session, key: str) -> None:
        action.run(session)

    def is_repeatable(self, session: Session, action: Action) -> bool:
        """As `Sessions.is_repeatable`.

        A cancelled or timed-out refinement depends on timing. Of several refined steps it is unknown which was
        superseded.
        """
        adds = action.name == "add"
        endings = {step.status for step in session.steps[-1 if adds else 0 :]}
        return not endings & ({"cancelled", "time"} if adds else {"cancelled", "time", "superseded"})

    def initial_mask(self, session: Session) -> NDArray[np.bool_]:
        return session.initial_step.result.mask

    def accepted_labels(self, session: Session) -> NDArray[np.uint8]:
        return labels_of_session(session)

    def to_read(self, session: Session) -> Session:
        return copy.copy(session)
