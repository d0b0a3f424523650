"""A photo's session, whose network runs in this process or at a service: what the page asks of it where the two differ.

Both have methods of the same names (`interactify.client.Session`); where they do, the page calls those.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from interactify.session.session import Session
from interactify.training.accepted import labels_of_session
from interactify.web.actions import Action
from interactify.web.states import session_state, thinned

if TYPE_CHECKING:  # a client needs httpx, an optional package
    from interactify import client
    from interactify.refinement.result import Result

AnySession: TypeAlias = "Session | client.Session"
AnyResult: TypeAlias = "Result | client.Result"

READING_SECONDS: Final = 10.0  # for which a service that is away is asked again for what is only read


def runs_here(session: AnySession) -> bool:
    """Whether its network runs in this process, so that there are masks of a refinement that still runs."""
    return isinstance(session, Session)


def state_of(session: AnySession, most_points: int) -> dict[str, Any]:
    """The state of a session as JSON, as `session_state` gives it."""
    if isinstance(session, Session):
        return session_state(session, most_points)
    state = session.result.state
    kept = ("objects", "active", "can_undo", "can_redo", "result")
    interactions = [thinned(each, most_points) for each in state["interactions"]]
    return {**{name: state[name] for name in kept}, "interactions": interactions}


def version_of(session: AnySession) -> object:
    """What differs from its value before exactly where an action has changed the session."""
    return session.history if isinstance(session, Session) else session.result.number


def run(action: Action, session: AnySession, key: str) -> None:
    """Run an action; one that comes to a service twice with the same key is made there once."""
    if isinstance(session, Session):
        action.run(session)
    else:
        session.repeat({"do": action.content}, key)


def is_repeatable(session: AnySession, action: Action) -> bool:
    """Whether running an action again, which has just run, gives the same masks, also where it ended early.

    A cancelled or timed-out refinement depends on timing. Of several refined steps it is unknown which was superseded.
    A service ends refinements in no other way than it can repeat.
    """
    if not isinstance(session, Session):
        return True
    adds = action.name == "add"
    endings = {step.status for step in session.steps[-1 if adds else 0 :]}
    return not endings & ({"cancelled", "time"} if adds else {"cancelled", "time", "superseded"})


def initial_mask(session: AnySession) -> NDArray[np.bool_]:
    """(H, W) bool: the network's own mask, before any interaction."""
    return session.initial_step.result.mask if isinstance(session, Session) else session.initial_mask


def accepted_labels(session: AnySession) -> NDArray[np.uint8]:
    """What a network may learn from the session, (H, W) uint8; see `labels_of_session`."""
    return labels_of_session(session) if isinstance(session, Session) else session.accepted_labels()


def to_read(session: AnySession) -> AnySession:
    """A copy of the session as it is now. Of one at a service, what is asked for after a change is refused."""
    copied = copy.copy(session)
    if not isinstance(copied, Session):
        copied.patience = READING_SECONDS
    return copied
