"""Sessions whose network runs at a service: nothing here needs torch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.web.actions import Action
from interactify.web.strokes import thinned

if TYPE_CHECKING:  # httpx, an optional package, comes with it
    from interactify.client import Session

READING_SECONDS: Final = 10.0  # for which a service that is away is asked again for what is only read
KEPT: Final = ("objects", "active", "can_undo", "can_redo", "result")  # of a state, beside its interactions


class SessionsAtService:
    """See `Sessions` for the methods."""

    run_here = False
    on_volumes = False

    def state_of(self, session: Session, most_points: int) -> dict[str, Any]:
        state = session.result.state
        interactions = [thinned(each, most_points) for each in state["interactions"]]
        return {**{name: state[name] for name in KEPT}, "interactions": interactions}

    def version_of(self, session: Session) -> object:
        return session.result.number

    def run(self, action: Action, session: Session, key: str) -> None:
        session.repeat({"do": action.content}, key)

    def is_repeatable(self, session: Session, action: Action) -> bool:
        """As `Sessions.is_repeatable`: a service ends refinements in no other way than it can repeat."""
        return True

    def initial_mask(self, session: Session) -> NDArray[np.bool_]:
        return session.initial_mask

    def accepted_labels(self, session: Session) -> NDArray[np.uint8]:
        return session.accepted_labels()

    def to_read(self, session: Session) -> Session:
        copied = copy.copy(session)
        copied.patience = READING_SECONDS
        return copied
