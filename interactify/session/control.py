"""What is being refined: whose turn it is, whether it is to end before it is done, and what it has come to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from interactify import brs
from interactify.refinement.history import Steps
from interactify.refinement.problem import Problem


class Control:
    """A session's changes as they run. Everything may be asked from any thread."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._cancelled = threading.Event()
        self._at_once = False
        self.latest: tuple[Steps, int | None, Problem, Tensor] | None = None

    @contextmanager
    def turn(self, newer: bool = False) -> Iterator[None]:
        """Wait until other changes are made, and make one; what is being refined ends where this one is `newer`."""
        with self.turns.acquire(urgent=newer):
            try:
                yield
            finally:
                self.latest = None

    def stop_condition(self, max_seconds: float | None) -> Callable[[], str | None]:
        """Forget what was cancelled before; returns what a refinement asks between evaluations.

        It says why to end ("superseded", "cancelled", "time"), or None.
        """
        self._cancelled.clear()
        if self._at_once:
            return lambda: "superseded"
        stop = brs.stopping(max_seconds, self._cancelled.is_set)
        return lambda: "superseded" if self.turns.should_yield else stop()

    @contextmanager
    def superseding(self) -> Iterator[None]:
        """What is refined meanwhile ends as "superseded": for saying again what ended so."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def cancel(self) -> None:
        """Let what is being refined end after the evaluation that is running."""
        self._cancelled.set()

    def observer(self, steps: Steps, target: int | None) -> Callable[[Problem, Tensor], None]:
        """What a refinement that goes on from these steps is to tell after each evaluation: log-odds, for `preview`."""

        def seen(problem: Problem, odds: Tensor) -> None:
            self.latest = steps, target, problem, odds

        return seen


@dataclass(frozen=True, eq=False)
class _Ticket:
    urgent: bool


class Turns:
    """A lock that is given in order, and whose holder can see that it should make way.

    >>> turns = Turns()
    >>> with turns.acquire():
    ...     turns.should_yield
    False
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[_Ticket] = deque()  # the first has its turn

    @property
    def should_yield(self) -> bool:
        """Whether the next in line asks the one whose turn it is to make way."""
        with self._changed:
            return len(self._queue) > 1 and self._queue[1].urgent

    @contextmanager
    def acquire(self, urgent: bool = False) -> Iterator[None]:
        """Wait for one's turn, and have it; the one before need not finish where one `urgent`.

        An interrupted wait leaves the line.
        """
        ticket = _Ticket(urgent)
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._queue[0] is ticket)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
