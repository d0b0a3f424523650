"""Several objects in one photo: added, named, returned to and deleted, and a label map of them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import InteractionError, shown
from interactify.interactions import Interaction
from interactify.regions import strewn
from interactify.result import Result
from interactify.said import OWN
from interactify.scene import Scene
from interactify.timeline import Board, Timeline, Track
from interactify.under_way import UnderWay
from interactify.window import Window, whole

if TYPE_CHECKING:
    from interactify.wrap import Interactive

NEAR = 0.01  # of the photo's longer side: how far what was said of one object holds against another
CERTAIN = 1000.0  # log-odds: no network is more certain than a person
LONGEST = 200  # characters of an object's name


class Objects:
    """The objects of a session. One of them is spoken of: what is said is said of it."""

    net: Interactive
    target: int | None
    scene: Scene
    timeline: Timeline
    under_way: UnderWay

    @property
    def objects(self) -> tuple[str, ...]:
        """Their names, in the order in which they were added."""
        return tuple(track.name for track in self.timeline.now.tracks)

    @property
    def active(self) -> str:
        """The name of the one that is spoken of."""
        return self.timeline.now.track.name

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self.timeline.past)

    @property
    def can_redo(self) -> bool:
        """Whether a change was taken back that can be made again."""
        return bool(self.timeline.undone)

    def add_object(self, name: str | None = None, target: int | str | None = None) -> str:
        """Begin a new object, which is spoken of from now on; returns its name.

        Args:
            name: "object 2" and so on by default.
            target: the class that a positive click means, as for `Interactive.session`; by default the session's.

        Raises:
            InteractionError: a name that is none, or that another object has.
            OptionError: a target that is none of the network's classes.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> _ = session.click(10, 10)
        >>> session.add_object("cat"), session.objects, session.interactions
        ('cat', ('object 1', 'cat'), ())
        >>> _ = session.click(60, 40)
        >>> _ = session.switch("object 1")
        >>> session.interactions, int(session.label_map()[40, 60])
        ((Click(x=10, y=10, positive=True),), 2)
        """
        meant = self.target if target is None else self.net.network.target(target)
        with self.under_way.turn():
            board = self.timeline.now
            if name is None:
                count = len(board.tracks) + 1
                name = next(f"object {k}" for k in range(count, 2 * count + 1) if board.place(f"object {k}") is None)
            check_name(name, self.objects)
            with torch.inference_mode(False):
                self.scene.begun(meant)
            tracks = (*board.tracks, Track(name, meant))
            self.timeline = self.timeline.then(Board(tracks, len(board.tracks)))
            return name

    def switch(self, name: str) -> Result:
        """Speak of another object from now on; returns its result. It is no change: there is nothing to undo.

        Raises:
            InteractionError: there is no such object.
        """
        with self.under_way.turn():
            board = self.timeline.now
            self.timeline = self.timeline.seen_from(replace(board, active=self._found(board, name)))
            return self.result_of(name)

    def rename(self, old: str, new: str) -> None:
        """Give an object another name.

        Raises:
            InteractionError: there is no such object, or the new name is none, or another one has it.
        """
        with self.under_way.turn():
            board = self.timeline.now
            place = self._found(board, old)
            if not isinstance(new, str) or new != old:
                check_name(new, self.objects)
                tracks = list(board.tracks)
                tracks[place] = replace(tracks[place], name=new)
                self.timeline = self.timeline.then(replace(board, tracks=tuple(tracks)))

    def delete(self, name: str) -> Result:
        """Take an object out, with all that was said of it; `undo` brings it back.

        Of the last one a new "object 1" is left. Returns the result of the object that is spoken of now.

        Raises:
            InteractionError: there is no such object.
        """
        with self.under_way.turn():
            board = self.timeline.now
            place = self._found(board, name)
            left = (*board.tracks[:place], *board.tracks[place + 1 :])
            active = board.active - (place < board.active)
            if not left:
                left = (Track("object 1", self.target),)
            self.timeline = self.timeline.then(Board(left, min(active, len(left) - 1)))
            return self.result_of(self.active)

    def result_of(self, name: str) -> Result:
        """The current result of an object. Raises InteractionError where there is none of that name."""
        track = self._track(name)
        return (track.steps[-1] if track.steps else self.scene.begun(track.target)).result

    def interactions_of(self, name: str) -> tuple[Interaction, ...]:
        """What has been said of an object. Raises InteractionError where there is none of that name."""
        return self._track(name).interactions

    def label_map(self) -> NDArray[np.int32]:
        """All objects in one map, (H, W) int32: 0 for none, k for the k-th of `objects`.

        An object is there once something was said of it. Where several claim a pixel, the one that was said to be
        there has it, or nearest to it, as far as a hundredth of the photo's longer side around; elsewhere the one that
        is most certain of it; of two alike, the earlier.
        """
        labels = np.zeros(self.scene.size, np.int32)
        most = torch.zeros(self.scene.size)
        for k, track in enumerate(self.timeline.now.tracks, 1):
            if track.steps:
                odds = _certain(track.steps[-1].result)
                labels[(odds > most).numpy()] = k
                most = torch.maximum(most, odds)
        return labels

    def class_map(self) -> NDArray[np.int64]:
        """The most likely class of every pixel, (H, W), as what was said of the object that is spoken of left it.

        For networks of several classes, whose clicks name them (`click(x, y, label="road")`).

        Raises:
            OptionError: the network knows one class only.
        """
        from interactify.class_map import class_map

        with self.under_way.turn():  # it runs the network, as a refinement does
            return class_map(self.scene, self.timeline.now.track)

    def _track(self, name: str) -> Track:
        board = self.timeline.now
        return board.tracks[self._found(board, name)]

    @staticmethod
    def _found(board: Board, name: Any) -> int:
        place = board.place(name) if isinstance(name, str) else None
        if place is None:
            known = ", ".join(repr(track.name) for track in board.tracks[:10])
            raise InteractionError(f"Expected the name of an object, one of {known}; got {shown(name)}.")
        return place


def _certain(result: Result) -> Tensor:
    """Log-odds (H, W) of an object, most certain where it was said to be, and almost so around."""
    photo = whole(result.size)
    odds = result.shown.read(photo).float().cpu().clamp(max=CERTAIN)
    told = result.said
    reach = NEAR * max(result.size)
    own = told.required & told.positive & (told.labels == OWN)
    for x, y in told.places[own].tolist():
        spot = Window(y, x, 1, 1).grown(math.ceil(reach), result.size)
        rows, columns = (torch.arange(span.start, span.stop, dtype=torch.float32) for span in spot.slices)
        away = torch.hypot(rows[:, None] - y, columns[None] - x)
        near = odds[spot.slices]
        sure = torch.where((away <= reach) & (near > 0), CERTAIN + 1 - away / (reach + 1), near)
        odds[spot.slices] = torch.maximum(near, sure)
    for stroke in told.strokes:
        covered = strewn(stroke, photo) if stroke.positive else None
        if covered is not None:
            odds[torch.from_numpy(covered) & (odds > 0)] = CERTAIN + 1
    return odds


def check_name(name: Any, taken: Sequence[str]) -> None:
    """Raise InteractionError for what is no name of a new object."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST or not name.isprintable():
        raise InteractionError(f"Expected a name of 1 to {LONGEST} characters for an object, got {shown(name)}.")
    if name in taken:
        raise InteractionError(f"There is an object {name!r} already. Switch to it, or take another name.")
