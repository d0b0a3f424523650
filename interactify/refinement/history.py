"""A session's past, present and undone future: snapshots of objects that share their steps, none of which is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import InteractionError, shown
from interactify.interactions.click import Interaction
from interactify.refinement.problem import Crop
from interactify.refinement.result import Result

Group = tuple[Interaction, ...]
"""Interactions that are answered at once, by one step."""


@dataclass(frozen=True, eq=False)
class Step:
    """The state after one answer: all interactions so far, where the variables are, and what they give.

    `odds` (1, T, h', w') are the log-odds that are shown of each of the `targets`, classes of which the first is the
    result's own. `initial_mask` is the mask (H, W) that one began from, as far as it stands; None where one began from none.
    """

    interactions: tuple[Interaction, ...]
    crop: Crop
    values: Tensor
    result: Result
    odds: Tensor
    targets: tuple[int | None, ...]
    initial_mask: NDArray[np.bool_] | None = None


Steps = tuple[Step, ...]
"""All that holds of an object: the steps from the first interaction on, each made from the one before."""


@dataclass(frozen=True, eq=False)
class Track:
    """One object: its name, the class that a positive click means (None: that under the first click), and its steps."""

    name: str
    target: int | None
    steps: Steps = ()

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All that holds now, in the order it was said."""
        return self.steps[-1].interactions if self.steps else ()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All objects at one time, and which of them is spoken of."""

    tracks: tuple[Track, ...]
    active: int = 0

    @property
    def track(self) -> Track:
        """The object that is spoken of."""
        return self.tracks[self.active]

    def changed(self, track: Track) -> Snapshot:
        """The same with another state of that object."""
        return replace(self, tracks=(*self.tracks[: self.active], track, *self.tracks[self.active + 1 :]))

    def place(self, name: Any) -> int:
        """Which object has a name. Raises InteractionError where none has."""
        found = next((i for i, track in enumerate(self.tracks) if track.name == name), None)
        if found is None:
            known = ", ".join(repr(track.name) for track in self.tracks[:10])
            raise InteractionError(f"Expected the name of an object, one of {known}; got {shown(name)}.")
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Of all objects, in the order in which they were added."""
        return tuple(track.name for track in self.tracks)


@dataclass(frozen=True, eq=False)
class History:
    """What holds, what held before each change, and what undo left.

    Attributes:
        now: the snapshot that holds.
        past: what undo goes back to, the latest last.
        undone: what redo goes on to, the next last.
    """

    now: Snapshot
    past: tuple[Snapshot, ...] = field(default=())
    undone: tuple[Snapshot, ...] = field(default=())

    def then(self, snapshot: Snapshot) -> History:
        """A change: what was undone before it is gone."""
        return History(snapshot, (*self.past, self.now))

    def back(self) -> History:
        """Before the last change; the same where there was none."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (*self.undone, self.now))

    def on(self) -> History:
        """After the change that was undone last; the same where there is none."""
        if not self.undone:
            return self
        return History(self.undone[-1], (*self.past, self.now), self.undone[:-1])

    def seen_from(self, snapshot: Snapshot) -> History:
        """The same with another snapshot as the one that holds: no change that undo would take back."""
        return replace(self, now=snapshot)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All of them in time."""
        return (*self.past, self.now, *reversed(self.undone))


def groups_of(steps: Steps) -> list[Group]:
    """The interactions that each step added."""
    counts = [0, *(len(step.interactions) for step in steps)]
    return [step.interactions[before:] for before, step in zip(counts, steps, strict=False)]


def edited(steps: Steps, place: int, instead: Sequence[Interaction]) -> tuple[Steps, list[Group]]:
    """One interaction replaced: the steps that stand, and the groups to be answered after them."""
    groups = groups_of(steps)
    first = next(i for i, step in enumerate(steps) if place < len(step.interactions))
    inside = place - (len(steps[first].interactions) - len(groups[first]))
    changed = (*groups[first][:inside], *instead, *groups[first][inside + 1 :])
    return steps[:first], [group for group in (changed, *groups[first + 1 :]) if group]


LONGEST: Final = 200  # characters of an object's name


def check_name(name: Any, taken: Sequence[str]) -> None:
    """Raise InteractionError for what is no name of a new object."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST or not name.isprintable():
        raise InteractionError(f"Expected a name of 1 to {LONGEST} characters for an object, got {shown(name)}.")
    if name in taken:
        raise InteractionError(f"There is an object {name!r} already. Switch to it, or take another name.")
