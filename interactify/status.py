"""Why a refinement ended, as an enum whose members are plain text to everything that reads or writes text."""

from __future__ import annotations

from enum import Enum


class Status(str, Enum):
    """Why a refinement ended, or why there was none.

    A member equals its text, and is printed, formatted and written to JSON as its text.

    Attributes:
        DONE: the goal is reached: every required point is where the energy wants it; or was right before, at no cost.
        HELD: the goal was reached, but a shorter way, on which every point has its label too, leaves more as it was.
        CONVERGED: no component of the gradient is above the tolerance.
        BUDGET: all evaluations are used up.
        STALLED: no lower value was found along any direction that the solver knows.
        TIME: max_seconds were over.
        CANCELLED: the user cancelled it.
        SUPERSEDED: a newer interaction came; both are refined together.
        PAINTED: only strokes, boxes or a mask changed, so the network was not run.
        PLAIN: the network's own prediction, before any interaction.
        PREVIEW: an intermediate state of a refinement that is still running.

    >>> Status.DONE == "done", f"{Status.DONE}", Status.of("done") is Status.DONE, Status.of("my own reason")
    (True, 'done', True, 'my own reason')
    """

    DONE = "done"
    HELD = "held"
    CONVERGED = "converged"
    BUDGET = "budget"
    STALLED = "stalled"
    TIME = "time"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    PAINTED = "painted"
    PLAIN = "plain"
    PREVIEW = "preview"

    @classmethod
    def of(cls, text: str) -> str:
        """The member with this text; the text itself where a user's own `stop` callable returned another one."""
        return next((status for status in cls if status == text), text)

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return repr(self.value)
