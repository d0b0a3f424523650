"""Whose turn it is: changes from several threads are made one after the other, in the order they were asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that is given in order, and whose holder can see that someone waits.

    >>> turns = Turns()
    >>> with turns.mine():
    ...     turns.awaited
    False
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()  # the first has its turn

    @property
    def awaited(self) -> bool:
        """Whether anyone stands behind the one whose turn it is."""
        return len(self._line) > 1

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Wait for one's turn, and have it. An interrupted wait leaves the line."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._line[0] is ticket)
            yield
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()
