"""One thing after another in a thread of its own, so that the window answers while a network is asked."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal


class Worker(QObject):
    """Does what it is asked in the order in which it is asked; what comes of it is handed over in the window's thread.

    Lives as long as the program, or until `stop`.
    """

    _done = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._done.connect(self._deliver)  # made in the window's thread, so that is where it is delivered
        threading.Thread(target=self._run, name="interactify", daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether all that was asked is done and handed over."""
        return self._waiting == 0

    def ask(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `job` in the thread, and call `then` in the window's with what it returned, or with what it raised."""
        self._waiting += 1
        self._jobs.put((job, then))

    def stop(self) -> None:
        """End the thread once all that was asked is done."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, then = asked
            outcome: Any
            try:
                outcome = job()
            except BaseException as error:  # whatever it is, it is the window's to show
                outcome = error
            try:
                self._done.emit((then, outcome))
            except RuntimeError:  # the window is gone
                return

    def _deliver(self, done: tuple[Callable[[Any], None], Any]) -> None:
        self._waiting -= 1
        then, outcome = done
        then(outcome)
