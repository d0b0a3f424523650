"""Whose turn it is: changes from several threads are made one after the other, in the order they were asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class _Ticket:
    hurries: bool


class Turns:
    """A lock that is given in order, and whose holder can see that it should make way.

    >>> turns = Turns()
    >>> with turns.mine():
    ...     turns.awaited
    False
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[_Ticket] = deque()  # the first has its turn

    @property
    def awaited(self) -> bool:
        """Whether the next in line asks the one whose turn it is to make way."""
        with self._changed:
            return len(self._line) > 1 and self._line[1].hurries

    @contextmanager
    def mine(self, hurries: bool = False) -> Iterator[None]:
        """Wait for one's turn, and have it; the one before need not finish where one `hurries`.

        An interrupted wait leaves the line.
        """
        ticket = _Ticket(hurries)
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
