"""Interactions in, masks out: one photo, one person, its objects, and everything that has been said so far.

What holds is a board of objects, each a tuple of steps; a step has all that was said of the object until then, the
variables' values and the result (`timeline.py`). Saying something makes a board with one more step, removing or moving
something earlier one whose later steps are made anew, and undo goes back to the board before. A change that fails
leaves the board that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from interactify.errors import InteractionError, shown
from interactify.interactions import Click, Interaction
from interactify.memory import within_memory
from interactify.objects import Objects
from interactify.picture import PictureLike, open_picture
from interactify.result import Result
from interactify.tiled_scene import opened
from interactify.timeline import Board, Group, Step, Steps, Timeline, Track, edited
from interactify.under_way import UnderWay

if TYPE_CHECKING:
    from interactify.wrap import Interactive


class Session(Objects):
    """What is said of one photo. Made by `Interactive.session`.

    Its methods may be called from several threads: changes are made in the order in which they are asked for, and one
    that is being refined makes way for the next (see `add`).

    >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
    >>> result = session.click(x=40, y=30)
    >>> result.mask.shape, result.satisfied, session.undo().clicks
    ((60, 80), True, ())
    """

    def __init__(
        self,
        net: Interactive,
        photo: PictureLike,
        target: int | str | None = None,
        *,
        tile: int | bool | None = None,
        ready: bool = True,
    ) -> None:
        """With `ready`, the pass that the first click begins with is run too: the click need not wait for it."""
        self.net = net
        self.target = net.target if target is None else net.network.target(target)
        # A caller's inference mode would forbid every gradient to come.
        with torch.inference_mode(False), within_memory():
            self.scene = opened(net, open_picture(photo, net.spec.channels), tile)
            self.scene.begun(self.target)
            if ready:
                self.scene.run.ready(self.scene.home.suffix)
        self.under_way = UnderWay()
        self.timeline = self._beginning

    def restart(self) -> Result:
        """Forget everything, the past and all objects too. Returns the network's own prediction."""
        with self.under_way.turn(newer=True):
            self.timeline = self._beginning
            return self.result

    @property
    def _beginning(self) -> Timeline:
        return Timeline(Board((Track("object 1", self.target),)))

    @property
    def first(self) -> Step:
        """Before anything was said of the object that is spoken of."""
        return self.scene.begun(self.track.target)

    @property
    def track(self) -> Track:
        """The object that is spoken of."""
        return self.timeline.now.track

    @property
    def result(self) -> Result:
        """The current result; before the first interaction, the network's own prediction."""
        return self._last.result

    @property
    def steps(self) -> Steps:
        """The steps that lead to the current result."""
        return self.track.steps

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """What has been said of the object that is spoken of, in that order."""
        return self.track.interactions

    @property
    def photo(self) -> NDArray[np.uint8]:
        """The photo as it is seen here, (H, W, 3) uint8, for drawing."""
        return self.scene.picture.uint8()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.scene.size

    def click(self, x: float, y: float, positive: bool = True, label: int | str | None = None) -> Result:
        """Say that a pixel belongs to the object (`positive`) or does not, and refine until it is so.

        Args:
            x: pixels to the right, 0 at the left border's centre; rounded to the nearest pixel.
            y: pixels down, 0 at the top.
            positive: False for "not this".
            label: a class of the network, index or name, for "this pixel is of that class" (or is not).

        Returns:
            The new result. Look at `result.satisfied`: where the network can't be brought to agree, it is False.

        Raises:
            InteractionError: outside the photo, or not a number. The session is as it was.
            OptionError: a class that the network hasn't. The session is as it was.
            NonFiniteError: the network returned NaN or infinity. The session is as it was.
            NotEnoughMemoryError: the network asked for more memory than there is. The session is as it was.
        """
        return self.add([Click(x, y, positive, label)])

    def add(self, interactions: Sequence[Interaction]) -> Result:
        """Say several things at once, and refine until all of them are so: one step, which one undo takes back.

        Where another thread says more while this is refined, this ends after the evaluation that is running: it returns
        with the first one's mask and the status "superseded", what it said stays said, and is answered together with
        what is newer.

        Args:
            interactions: clicks, scribbles, boxes, … in photo pixels, in the order they were meant; none leaves
                everything as it is.

        Returns, raises: as `click`; where one of them is refused, none is taken.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> result = session.add([interactify.Click(40, 30), interactify.Scribble([(2, 5), (60, 5)], positive=False)])
        >>> result.satisfied, len(session.interactions), session.undo().interactions
        (True, 2, ())
        """
        if not isinstance(interactions, (list, tuple)):
            raise InteractionError(f"Expected a list of interactions, [Click(…), …], got {shown(interactions)}.")
        added = tuple(self.checked(each) for each in interactions)
        if not added:
            return self.result
        with self.under_way.turn(newer=True):
            return self._replayed(self.steps, [added])

    def remove(self, index: int) -> Result:
        """Take back anything said earlier, and answer what came after it anew: as if it had never been said.

        Args:
            index: its place in `interactions`; negative ones count from the end.

        Returns:
            The new result. `undo` brings the interaction back.

        Raises:
            InteractionError: there is no such interaction.
            NonFiniteError, NotEnoughMemoryError: as `click`. The session is as it was.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> alone = session.click(40, 30)
        >>> _ = session.undo(), session.click(5, 5, positive=False), session.click(40, 30)
        >>> result = session.remove(0)
        >>> result.clicks == alone.clicks, bool((result.mask == alone.mask).all()), len(session.undo().clicks)
        (True, True, 2)
        """
        with self.under_way.turn(newer=True):
            return self._replayed(*edited(self.steps, self._place(index), ()))

    def move(self, index: int, x: float, y: float) -> Result:
        """Put an earlier click elsewhere, and answer what came after it anew: as if it had been made there.

        Args:
            index: its place in `interactions`; negative ones count from the end.
            x, y: in photo pixels, as for `click`.

        Returns, raises: as `remove` and `click`; where the new place is refused, nothing is moved.
        """
        with self.under_way.turn(newer=True):
            place = self._place(index)
            click = self.interactions[place]
            if not isinstance(click, Click):
                raise InteractionError(
                    f"Expected the index of a click to move, {index!r} is a {type(click).__name__}. Remove it, and add "
                    "it anew."
                )
            return self._replayed(*edited(self.steps, place, (self.checked(replace(click, x=x, y=y)),)))

    def _place(self, index: int) -> int:
        count = len(self.interactions)
        # To NumPy a span of time is an integer.
        whole = isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.timedelta64))
        if not whole or not -count <= index < count:
            there = f"an index from 0 to {count - 1}" if count else "no index: there are none"
            raise InteractionError(f"Expected {there} of the session's interactions, got {shown(index)}.")
        return int(index) % count

    def checked(self, interaction: Interaction) -> Interaction:
        """The interaction as it is taken here: in whole pixels, classes as indices. Raises as `click`."""
        return self.net.network.checked(interaction, self.size)

    def _replayed(self, begun: Steps, groups: Sequence[Group]) -> Result:
        """Go to where these groups of interactions lead to from earlier steps of the object that is spoken of."""
        track = self.track
        said = begun[-1].interactions if begun else ()
        ends = self.under_way.begins(self.net.max_seconds)
        with torch.inference_mode(False), within_memory():
            for group in groups:
                said = (*said, *group)
                seen = self.under_way.watching(begun, track.target)
                begun = (*begun, self.scene.answered(begun, said, track.target, ends, seen))
        self.timeline = self.timeline.then(self.timeline.now.changed(replace(track, steps=begun)))
        return self.result

    def preview(self) -> Result:
        """From another thread: what the evaluation that ran last gives, while something is being refined.

        The first is the forward pass. Where nothing is being refined it is the current result.
        """
        return self.under_way.preview(self.scene) or self.result

    def cancel(self) -> None:
        """From another thread: let what is being refined end after the evaluation that is running.

        It comes back with the best so far, its status "cancelled". Where nothing is being refined, nothing happens.
        """
        self.under_way.cancel()

    def make_way(self) -> None:
        """From another thread: let what is being refined end as it does for newer interactions, before they are said.

        For those who queue changes themselves. Returns when it has ended; where nothing is being refined, at once.
        """
        with self.under_way.turn(newer=True):
            pass

    def undo(self) -> Result:
        """Take the last change back, of whichever object it was; nothing happens where there is none.

        Returns the result that holds now.
        """
        with self.under_way.turn(newer=True):
            self.timeline = self.timeline.back()
            return self.result

    def redo(self) -> Result:
        """Make the change last undone again, from memory; nothing happens where there is none."""
        with self.under_way.turn():
            self.timeline = self.timeline.on()
            return self.result

    def reset(self) -> Result:
        """Take back all that was said of the object that is spoken of; `undo` brings it back.

        Returns the network's own prediction.
        """
        with self.under_way.turn(newer=True):
            if self.steps:
                self.timeline = self.timeline.then(self.timeline.now.changed(replace(self.track, steps=())))
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file that `interactify.load_session` goes on from; returns its path.

        The file holds what was said, the variables, the view and fingerprints of network and photo, but neither of the
        two themselves. It is replaced as a whole: an interrupted save leaves the old file.

        Raises:
            OptionError: where the file can't be written.
        """
        from interactify.session_file import save_session  # the file format reads sessions, and is read by few

        return save_session(self, path)

    def log(self) -> str:
        """What holds of all objects, as lines of JSON: one for the photo and the objects, then one an interaction.

        `interactify.replay`, and `interactify replay` on the command line, make the masks from it again. What was
        undone is not in it.
        """
        from interactify.session_log import log_of

        return log_of(self)

    def __repr__(self) -> str:
        height, width = self.size
        objects = f"{len(self.objects)} objects, " if len(self.objects) > 1 else ""
        return (
            f"Session({width}x{height} pixels, {objects}{len(self.interactions)} interactions, "
            f"{len(self.timeline.undone)} undone)"
        )

    @property
    def _last(self) -> Step:
        return self.steps[-1] if self.steps else self.first

    def restore(self, timeline: Timeline) -> None:
        """Put a saved history into a session that has none yet."""
        if len(self.timeline.boards) > 1:
            raise InteractionError("A session is restored into a new one only; this one has interactions already.")
        self.timeline = timeline
