"""The sessions that a replica keeps in memory: a limited number; the one that was asked for longest ago leaves first.

A session leaves in a job of its own, after what waits for it, so that none leaves while it is used.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from interactify.serve.live import Live


class Memory:
    """Sessions by their names. Its methods may be called from several threads."""

    def __init__(self, most: int, leave: Callable[[Live], None]) -> None:
        """With a function that lets a session leave soon, by `drop` in a job of its own."""
        self._most, self._leave = most, leave
        self._sessions: OrderedDict[str, Live] = OrderedDict()  # the last one was asked for last
        self._leaving: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, id: str) -> bool:
        return id in self._sessions

    def get(self, id: str) -> Live | None:
        """A session, which counts as asked for; None where it is not in memory."""
        with self._lock:
            found = self._sessions.get(id)
            if found is not None:
                self._sessions.move_to_end(id)
                found.asked = time.monotonic()
            return found

    def put(self, live: Live) -> None:
        """Add a session; the one that was asked for longest ago has to leave where there are too many."""
        with self._lock:
            self._sessions[live.record.id] = live
            over = len(self._sessions) - len(self._leaving) - self._most
            found = [each for id, each in self._sessions.items() if id not in self._leaving and each is not live]
        self._send_away(found[: max(0, over)])

    def send_unused_away(self, asked_before: float, acted_before: float) -> None:
        """Let sessions leave that were last asked for, or last changed, before these times of `time.monotonic`."""
        with self._lock:
            found = [
                each
                for id, each in self._sessions.items()
                if id not in self._leaving and (each.asked < asked_before or each.acted < acted_before)
            ]
        self._send_away(found)

    def send_away(self, id: str) -> None:
        """Let a session leave, if it is here."""
        found = self._sessions.get(id)
        self._send_away([] if found is None else [found])

    def keep(self, id: str) -> None:
        """Let a session stay after all."""
        with self._lock:
            self._leaving.discard(id)

    def drop(self, id: str) -> None:
        """Forget a session; only in a job of its own."""
        with self._lock:
            self._leaving.discard(id)
            found = self._sessions.pop(id, None)
        if found is not None:
            found.session.close()

    def clear(self) -> None:
        """Forget all of them."""
        for id in list(self._sessions):
            self.drop(id)

    def _send_away(self, found: list[Live]) -> None:
        for each in found:
            with self._lock:
                self._leaving.add(each.record.id)
            self._leave(each)
