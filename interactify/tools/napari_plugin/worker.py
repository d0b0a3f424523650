"""One thing after another in a thread of its own, so that the window answers while a network is asked.

The thread holds nothing of the window: neither the worker nor what is to be done with an outcome. Whoever lets go of a
widget lets go of its thread too, and no part of a window is ever taken apart in another thread than its own.
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
    """What the thread holds of Qt: by it outcomes come to the thread in which this was made."""

    come = Signal(int, object)


class Worker(QObject):
    """Does what it is asked in the order in which it is asked; what comes of it is handed over in the window's thread.

    The thread begins when something is asked, and ends with `stop`, or with the worker.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._then: dict[int, Callable[[Any], None]] = {}
        self._jobs: Jobs | None = None
        self._end: Callable[[], Any] = lambda: None
        self._outcomes = _Outcomes()
        self._outcomes.come.connect(self._deliver)

    @property
    def idle(self) -> bool:
        """Whether all that was asked is done and handed over."""
        return not self._then

    def ask(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `job` in the thread, and call `then` in the window's with what it returned, or with what it raised.

        A job should hold nothing of the window: it may be the last to let go of it.
        """
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            self._end = weakref.finalize(self, self._jobs.put, None)
            given = self._jobs, self._outcomes
            threading.Thread(target=_work, args=given, name="interactify", daemon=True).start()
        number = next(self._numbers)
        self._then[number] = then
        self._jobs.put((number, job))

    def stop(self) -> None:
        """End the thread once all that was asked is done. Another one begins where more is asked."""
        self._end()
        self._jobs = None

    def _deliver(self, number: int, outcome: Any) -> None:
        self._then.pop(number)(outcome)


def _work(jobs: Jobs, outcomes: _Outcomes) -> None:
    while (asked := jobs.get()) is not None:
        _do(*asked, outcomes)
        del asked  # it is not to be held until the next one comes


def _do(number: int, job: Callable[[], Any], outcomes: _Outcomes) -> None:
    outcome: Any
    try:
        outcome = job()
    except BaseException as error:  # whatever it is, it is the window's to show
        outcome = error
    with suppress(RuntimeError):  # Qt has ended
        outcomes.come.emit(number, outcome)
