"""A session in memory that stays equal to its log: actions are run and written, and those it lacks are run again.

What makes a replay exact: a refinement depends only on the interactions before it and on whether a newer action ended
it early, which the log says. It must not depend on time, so networks with `max_seconds` are not served.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError
from interactify.serve.device_queue import Steps
from interactify.serve.store.log import StoreLog
from interactify.serve.store.records import Record, Store
from interactify.session.session import Session
from interactify.web.actions import Action, check
from interactify.web.log import replay, write
from interactify.web.states import session_state


class Outrun(Exception):
    """Another replica has added to the log first: the session here is no longer the one of the log."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A session's state after an action.

    Attributes:
        number: of the last action.
        state: as JSON.
        mask: (H, W) bool, of the active object.
        base: the number of the action after which the active object's mask was `before`; None where it is not at hand.
    """

    number: int
    state: Mapping[str, Any]
    mask: NDArray[np.bool_]
    base: int | None = None
    before: NDArray[np.bool_] | None = None


class Live:
    """A session in memory. Only jobs of its own change it, one at a time.

    Attributes:
        number: of the last action that it has.
        numbers: of the actions by the keys of their requests, so that one that comes twice is made once.
        asked, acted: when it was last asked for, and last changed, by `time.monotonic`.
    """

    def __init__(self, record: Record, session: Session) -> None:
        self.record, self.session = record, session
        self.number = 0
        self.numbers: dict[str, int] = {}
        self.asked = self.acted = time.monotonic()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.record.height, self.record.width

    def catch_up(self, store: Store) -> Steps[None]:
        """Run the actions of the log that memory lacks, one in each step."""
        for entry in replay(StoreLog(store, self.record.id), self.number, self.session, self.size):
            self._now(entry)
            yield

    def act(self, action: Action, key: str, store: Store, superseded: Callable[[], bool]) -> Answer:
        """Run an action and write it to the store; only then it is answered.

        Args:
            action: what to do.
            key: of the request.
            store: where it is written.
            superseded: whether a newer action has come, for which a refinement ends early.

        Raises:
            Outrun: another replica was first. What is in memory is of no use any more.
            InteractifyError: from the action; the session is as it was.
            StoreError: it could not be written. What is in memory is of no use any more.
        """
        check(action, self.session, self.size)
        history, before = self.session.history, self.session.result.mask
        with self.session.control.superseding(superseded) if action.name == "add" else nullcontext():
            action.run(self.session)
        number = self.number
        if self.session.history is history:
            return self.answer(number, before)
        entry = write(StoreLog(store, self.record.id), number + 1, action, self.session.result.status, key)
        if entry is None:
            raise Outrun
        self._now(entry)
        return self.answer(number, before)

    def answer_of(self, name: str | None) -> Answer:
        """The state as it is, with the interactions and the mask of an object. Raises as `object_named`."""
        chosen = self.object_named(name)
        return Answer(self.number, session_state(self.session, name=chosen), self.session.result_of(chosen).mask)

    def answer(self, base: int | None = None, before: NDArray[np.bool_] | None = None) -> Answer:
        """The state as it is; with the mask `before` that the client has since the action `base`."""
        return Answer(self.number, session_state(self.session), self.session.result.mask, base, before)

    def object_named(self, name: str | None) -> str:
        """An object's name; the active one's for None. Raises InteractionError where there is none of that name."""
        if name is not None and name not in self.session.objects:
            raise InteractionError(f"Expected one of the objects {list(self.session.objects)}, got {name[:60]!r}.")
        return self.session.active if name is None else name

    def _now(self, entry: Mapping[str, Any]) -> None:
        self.number = entry["n"]
        self.numbers[entry["key"]] = entry["n"]
        self.acted = time.monotonic()
