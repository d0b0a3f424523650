"""Jobs one after the other in a thread of their own, so that the window responds while a network runs.

The thread has no reference to the window: neither to the worker nor to a job's callback. A widget that is dropped drops
its thread too, and no part of a window is ever destroyed outside the window's thread.
"""

from __future__ import annotations

import itertools
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from qtpy.QtCore import QObject, Signal

Jobs: TypeAlias = "queue.SimpleQueue[tuple[int, Callable[[], Any]] | None]"


class _Outcomes(QObject):
    """The thread's only Qt object: its signal brings outcomes to the thread that created it."""

    arrived = Signal(int, object)


class Worker(QObject):
    """Runs jobs in order, and passes their outcomes to callbacks in the window's thread.

    The thread starts with the first job, and ends with `stop`, or with the worker.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._callbacks: dict[int, Callable[[Any], None]] = {}
        self._jobs: Jobs | None = None
        self._end: Callable[[], Any] = lambda: None
        self._outcomes = _Outcomes()
        self._outcomes.arrived.connect(self._deliver)

    @property
    def idle(self) -> bool:
        """Whether all jobs are done, and their callbacks called."""
        return not self._callbacks

    def run(self, job: Callable[[], Any], callback: Callable[[Any], None]) -> None:
        """Run `job` in the thread, and call `callback` in the window's thread with its return value or exception.

        A job should have no reference to the window: it may be the last one.
        """
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            self._end = weakref.finalize(self, self._jobs.put, None)
            arguments = self._jobs, self._outcomes
            threading.Thread(target=_work, args=arguments, name="interactify", daemon=True).start()
        number = next(self._numbers)
        self._callbacks[number] = callback
        self._jobs.put((number, job))

    def stop(self) -> None:
        """End the thread once all jobs are done. A later job starts another one."""
        self._end()
        self._jobs = None

    def _deliver(self, number: int, outcome: Any) -> None:
        self._callbacks.pop(number)(outcome)


def _work(jobs: Jobs, outcomes: _Outcomes) -> None:
    while (numbered := jobs.get()) is not None:
        _do(*numbered, outcomes)
        del numbered  # else it would stay alive until the next job


def _do(number: int, job: Callable[[], Any], outcomes: _Outcomes) -> None:
    outcome: Any
    try:
        outcome = job()
    except BaseException as error:  # of any kind: the window displays it
        outcome = error
    with suppress(RuntimeError):  # Qt has ended
        outcomes.arrived.emit(number, outcome)
