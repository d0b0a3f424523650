"""What undo and redo move through: snapshots of all objects, each object a tuple of steps. None is changed in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import InteractionError, with_type
from interactify.interactions.click import Click, Interaction
from interactify.pictures.window import Window
from interactify.refinement.choices import Choice
from interactify.refinement.layers import Layer, NetworkLayer, initial_mask_of
from interactify.refinement.problem import Crop
from interactify.refinement.result import Result
from interactify.refinement.timeline import Timeline

FIRST_OBJECT: Final = "object 1"  # the name of the object that every session begins with
MAX_NAME_LENGTH: Final = 200  # characters

Group = tuple[Interaction, ...]
"""Interactions that are refined together, as one step."""


InitialMap = NDArray[np.bool_] | NDArray[np.int16]
"""(H, W): an initial mask; or a label map, with -1 where the class is not known."""


@dataclass(frozen=True, eq=False)
class Step:
    """The state of an object after one refinement: all its interactions so far, the variables' values, the result.

    `log_odds` (1, T, h', w') are the displayed log-odds of each of the `targets`, classes of which the first is the
    object's own. `initial_map` is the mask or label map that the object began with, with later changes merged in; None
    where it began without one. `steadiness` is the IoU of the mask with the one before it; 0 where they were not
    compared.
    """

    interactions: tuple[Interaction, ...]
    crop: Crop
    values: Tensor
    result: Result
    log_odds: Tensor
    targets: tuple[int | None, ...]
    initial_map: InitialMap | None = None
    steadiness: float = 0.0

    @property
    def window(self) -> Window:
        """The part of the photo that the network saw."""
        return self.crop.window

    @property
    def status(self) -> str:
        """Why its refinement ended."""
        return self.result.status

    @property
    def seconds(self) -> float:
        """The wall time of its refinement."""
        return self.result.seconds

    @property
    def evaluations(self) -> int:
        """How often its refinement ran the network."""
        return self.result.evaluations

    @property
    def choice(self) -> Choice:
        """Which of its result's alternatives it is."""
        return self.result.choice

    @property
    def assume_centre(self) -> bool:
        """Whether the deepest pixel of its region was taken for the object."""
        return self.result.constraints.assume_centre

    @property
    def known(self) -> tuple[Tensor | None, Tensor | None]:
        """Values and log-odds; None where they would have to be computed first."""
        return self.values, self.log_odds

    @property
    def later_result(self) -> Result | Callable[[], Result]:
        """Its result for one that follows: a function where it would have to be computed first."""
        return self.result

    def displayed_in(self, crop: Crop) -> Tensor:
        """(h', w') the displayed probability of the object in a crop."""
        result = self.result
        same_grid = crop is self.crop and result.displayed is result.layer
        return (torch.sigmoid(result.logits) if same_grid else crop.read(result.displayed, torch.sigmoid))[0, 0]

    def layer_around(self, window: Window) -> Layer | None:
        """The network's layer outside of a window, as it was when the window was opened."""
        layer = self.result.layer
        return layer.outside if isinstance(layer, NetworkLayer) and window == layer.window else layer

    def chosen(self, choice: Choice) -> Step:
        """This step with one of its result's alternatives."""
        if choice == self.choice:
            return self
        result: Result = getattr(self.result.alternatives, choice)
        labels = self.initial_map is not None and self.initial_map.dtype != bool
        initial_map = self.initial_map if labels else initial_mask_of(result.displayed)
        log_odds = torch.cat([result.logits, self.log_odds[:, 1:]], 1)
        unchanged = self.interactions, self.crop, self.values
        return Step(*unchanged, result, log_odds, self.targets, initial_map, self.steadiness)


Steps = tuple[Step, ...]
"""The steps of one object from its first interaction on, each computed from the one before."""


@dataclass(frozen=True, eq=False)
class Track:
    """One object: its name, the class of a positive click (None: the class under the first click), and its steps."""

    name: str
    target: int | None
    steps: Steps = ()

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All interactions of the object, in their order."""
        return self.steps[-1].interactions if self.steps else ()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All objects at one time, and the index of the active one."""

    tracks: tuple[Track, ...]
    active: int = 0

    @classmethod
    def initial(cls, target: int | None) -> Snapshot:
        """One object without interactions, of a class."""
        return cls((Track(FIRST_OBJECT, target),))

    @property
    def track(self) -> Track:
        """The active object."""
        return self.tracks[self.active]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all objects, in the order in which they were added."""
        return tuple(track.name for track in self.tracks)

    def index_of(self, name: Any) -> int:
        """The index of the object with a name. Raises InteractionError where there is none."""
        index = next((i for i, track in enumerate(self.tracks) if isinstance(name, str) and track.name == name), None)
        if index is None:
            known = ", ".join(repr(track.name) for track in self.tracks[:10])
            raise InteractionError(f"Expected the name of an object, one of {known}; got {with_type(name)}.")
        return index

    def with_steps(self, steps: Steps) -> Snapshot:
        """The active object with other steps."""
        return self._with_track(self.active, replace(self.track, steps=steps))

    def with_object(self, name: str | None, target: int | None) -> Snapshot:
        """A new object, which becomes the active one; by default its name is the first free one of "object N".

        Raises InteractionError for an invalid name.
        """
        if name is None:
            count = len(self.tracks) + 1
            name = next(f"object {k}" for k in range(count, 2 * count + 1) if f"object {k}" not in self.names)
        check_name(name, self.names)
        return Snapshot((*self.tracks, Track(name, target)), len(self.tracks))

    def renamed(self, index: int, name: str) -> Snapshot:
        """One object with another name. Raises InteractionError for an invalid name."""
        check_name(name, self.names)
        return self._with_track(index, replace(self.tracks[index], name=name))

    def without(self, index: int) -> Snapshot | None:
        """All objects but one; None where there is no other."""
        if len(self.tracks) == 1:
            return None
        tracks = (*self.tracks[:index], *self.tracks[index + 1 :])
        active = self.active - (index < self.active)
        return Snapshot(tracks, min(active, len(tracks) - 1))

    def is_newest(self, step: Step) -> bool:
        """Whether a step is the newest one of an object."""
        return any(track.steps and track.steps[-1] is step for track in self.tracks)

    def with_choice(self, step: Step, chosen: Step) -> Snapshot:
        """With another step in the place of one."""
        tracks = (
            replace(track, steps=(*track.steps[:-1], chosen)) if track.steps and track.steps[-1] is step else track
            for track in self.tracks
        )
        return replace(self, tracks=tuple(tracks))

    def _with_track(self, index: int, track: Track) -> Snapshot:
        return replace(self, tracks=(*self.tracks[:index], track, *self.tracks[index + 1 :]))


@dataclass(frozen=True, eq=False)
class History(Timeline[Snapshot]):
    """The current snapshot of all objects, and those that undo and redo lead to."""

    def with_active(self, index: int) -> History:
        """Another object is active; this is no change that undo takes back."""
        return replace(self, now=replace(self.now, active=index))

    def chosen(self, choice: Choice) -> History:
        """With another alternative in the place of the active object's newest step, in the past too where it is there.

        So undo takes the interactions back with their choice. Snapshots from before a later change of the object stay.
        What was undone came after another mask, and is dropped.
        Raises InteractionError where the object has no interactions.
        """
        steps = self.now.track.steps
        if not steps:
            raise InteractionError(
                f"Expected interactions with {self.now.track.name!r} to choose for, got none. Try a click."
            )
        chosen = steps[-1].chosen(choice)
        if chosen is steps[-1]:
            return self
        since = len(self.past)  # the snapshots from here on have the step as it is now
        while since and self.past[since - 1].is_newest(steps[-1]):
            since -= 1
        past = (each.with_choice(steps[-1], chosen) for each in self.past[since:])
        return History(self.now.with_choice(steps[-1], chosen), (*self.past[:since], *past))

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All snapshots in the order of time."""
        return (*self.past, self.now, *reversed(self.undone))


def groups_of(steps: Steps) -> list[Group]:
    """The interactions that each step added."""
    counts = [0, *(len(step.interactions) for step in steps)]
    return [step.interactions[before:] for before, step in zip(counts, steps, strict=False)]


def edited(steps: Steps, index: int, replacement: Sequence[Interaction]) -> tuple[Steps, list[tuple[Group, Choice]]]:
    """Replace one interaction: returns the steps before it, and the groups to be refined again, with their choices.

    Raises InteractionError where there is no such index.
    """
    index = checked_index(index, len(steps[-1].interactions) if steps else 0)
    groups = groups_of(steps)
    first = next(i for i, step in enumerate(steps) if index < len(step.interactions))
    inside = index - (len(steps[first].interactions) - len(groups[first]))
    changed = (*groups[first][:inside], *replacement, *groups[first][inside + 1 :])
    again = zip((changed, *groups[first + 1 :]), steps[first:], strict=True)
    return steps[:first], [(group, step.choice) for group, step in again if group]


def checked_index(index: Any, count: int) -> int:
    """The index of one of `count` interactions, from 0 on; negative ones count from the end.

    Raises InteractionError for anything else.
    """
    # NumPy calls a span of time an integer.
    whole = isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.timedelta64))
    if not whole or not -count <= index < count:
        expected = f"an index from 0 to {count - 1}" if count else "no index: there are none"
        raise InteractionError(f"Expected {expected} of the session's interactions, got {with_type(index)}.")
    return int(index) % count


def checked_click(index: Any, interactions: Sequence[Interaction]) -> tuple[int, Click]:
    """The index of a click, from 0 on, and the click. Raises InteractionError for anything else."""
    position = checked_index(index, len(interactions))
    click = interactions[position]
    if not isinstance(click, Click):
        raise InteractionError(
            f"Expected the index of a click to move, got {index!r}, which is a {type(click).__name__}. Try to remove "
            "it and add another one."
        )
    return position, click


def check_name(name: Any, taken: Sequence[str]) -> None:
    """Raise InteractionError for an invalid name of a new object, and for one of those that are `taken`."""
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InteractionError(
            f"Expected an object's name of 1 to {MAX_NAME_LENGTH} characters, got {with_type(name)}."
        )
    if name in taken:
        raise InteractionError(f"Expected a new name, got {name!r}, which another object has. Try another name.")
