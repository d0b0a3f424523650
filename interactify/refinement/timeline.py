"""What undo and redo lead to: the states before the current one, and those that were undone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

State = TypeVar("State")
Own = TypeVar("Own", bound="Timeline[Any]")


@dataclass(frozen=True, eq=False)
class Timeline(Generic[State]):
    """The current state of a session, and those that undo and redo lead to.

    Attributes:
        now: the current one.
        past: those before it, the latest last.
        undone: those that were undone, the next one to redo last.

    >>> two = Timeline("no click").changed("one click").changed("two clicks")
    >>> two.undo().now, two.undo().redo().now, two.undo().changed("another click").redo().now
    ('one click', 'two clicks', 'another click')
    """

    now: State
    past: tuple[State, ...] = ()
    undone: tuple[State, ...] = ()

    def changed(self: Own, state: Any) -> Own:
        """After a change to another state: what was undone before can't be redone any more."""
        return replace(self, now=state, past=(*self.past, self.now), undone=())

    def undo(self: Own) -> Own:
        """Before the last change; the same where there is none."""
        if not self.past:
            return self
        return replace(self, now=self.past[-1], past=self.past[:-1], undone=(*self.undone, self.now))

    def redo(self: Own) -> Own:
        """After the change that was undone last; the same where there is none."""
        if not self.undone:
            return self
        return replace(self, now=self.undone[-1], past=(*self.past, self.now), undone=self.undone[:-1])
