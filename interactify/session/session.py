"""Interactions in, masks out: one photo, one person, its objects, and everything that has been said so far.

What holds is a snapshot of objects, each a tuple of steps; a step has all that was said of the object until then, the
variables' values and the result (`history.py`). Saying something makes a snapshot with one more step, removing or moving
something earlier one whose later steps are made anew, and undo goes back to the snapshot before. A change that fails
leaves the snapshot that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactify import brs
from interactify.errors import InteractionError, shown, within_memory
from interactify.interactions.click import Click, Interaction
from interactify.pictures.picture import PictureLike, open_picture
from interactify.refinement.history import Group, History, Snapshot, Step, Steps, Track, check_name, edited
from interactify.refinement.result import Result
from interactify.refinement.tiled_refiner import open_refiner
from interactify.refinement.wrapped import Wrapped
from interactify.session.class_map import class_map
from interactify.session.control import Control
from interactify.session.label_map import label_map
from interactify.session.session_file import save_session
from interactify.session.session_log import log_of


class Session:
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
        net: Wrapped,
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
            self.refiner = open_refiner(net, open_picture(photo, net.spec.channels), tile)
            self.refiner.initial_step(self.target)
            if ready:
                self.refiner.passes.ready(self.refiner.first_crop.suffix)
        self.control = Control()
        self.history = self._beginning

    def restart(self) -> Result:
        """Forget everything, the past and all objects too. Returns the network's own prediction."""
        with self.control.turn(newer=True):
            self.history = self._beginning
            return self.result

    @property
    def _beginning(self) -> History:
        return History(Snapshot((Track("object 1", self.target),)))

    @property
    def initial_step(self) -> Step:
        """Before anything was said of the object that is spoken of."""
        return self.refiner.initial_step(self.track.target)

    @property
    def track(self) -> Track:
        """The object that is spoken of."""
        return self.history.now.track

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
        return self.refiner.picture.uint8()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.refiner.size

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
        with self.control.turn(newer=True):
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
        with self.control.turn(newer=True):
            return self._replayed(*edited(self.steps, self._place(index), ()))

    def move(self, index: int, x: float, y: float) -> Result:
        """Put an earlier click elsewhere, and answer what came after it anew: as if it had been made there.

        Args:
            index: its place in `interactions`; negative ones count from the end.
            x, y: in photo pixels, as for `click`.

        Returns, raises: as `remove` and `click`; where the new place is refused, nothing is moved.
        """
        with self.control.turn(newer=True):
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
        ends = self.control.stop_condition(self.net.max_seconds)
        with torch.inference_mode(False), within_memory():
            for group in groups:
                said = (*said, *group)
                seen = self.control.observer(begun, track.target)
                begun = (*begun, self.refiner.refine(begun, said, track.target, ends, seen))
        self.history = self.history.then(self.history.now.changed(replace(track, steps=begun)))
        return self.result

    def preview(self) -> Result:
        """From another thread: what the evaluation that ran last gives, while something is being refined.

        The first is the forward pass. Where nothing is being refined it is the current result.
        """
        latest = self.control.latest
        if latest is None:
            return self.result
        steps, target, problem, odds = latest
        with torch.inference_mode(False), torch.no_grad():
            seen = brs.Refinement(problem.start, odds, float("nan"), False, 0, "preview")
            return self.refiner.step_from(steps, problem, seen, target).result

    def cancel(self) -> None:
        """From another thread: let what is being refined end after the evaluation that is running.

        It comes back with the best so far, its status "cancelled". Where nothing is being refined, nothing happens.
        """
        self.control.cancel()

    def make_way(self) -> None:
        """From another thread: let what is being refined end as it does for newer interactions, before they are said.

        For those who queue changes themselves. Returns when it has ended; where nothing is being refined, at once.
        """
        with self.control.turn(newer=True):
            pass

    def undo(self) -> Result:
        """Take the last change back, of whichever object it was; nothing happens where there is none.

        Returns the result that holds now.
        """
        with self.control.turn(newer=True):
            self.history = self.history.back()
            return self.result

    def redo(self) -> Result:
        """Make the change last undone again, from memory; nothing happens where there is none."""
        with self.control.turn():
            self.history = self.history.on()
            return self.result

    def reset(self) -> Result:
        """Take back all that was said of the object that is spoken of; `undo` brings it back.

        Returns the network's own prediction.
        """
        with self.control.turn(newer=True):
            if self.steps:
                self.history = self.history.then(self.history.now.changed(replace(self.track, steps=())))
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file that `interactify.load_session` goes on from; returns its path.

        The file holds what was said, the variables, the view and fingerprints of network and photo, but neither of the
        two themselves. It is replaced as a whole: an interrupted save leaves the old file.

        Raises:
            OptionError: where the file can't be written.
        """
        return save_session(path, self.history, self.refiner, self.net, self.target)

    def log(self) -> str:
        """What holds of all objects, as lines of JSON: one for the photo and the objects, then one an interaction.

        `interactify.replay`, and `interactify replay` on the command line, make the masks from it again. What was
        undone is not in it.
        """
        return log_of(self.history, self.refiner)

    @property
    def objects(self) -> tuple[str, ...]:
        """Their names, in the order in which they were added."""
        return self.history.now.names

    @property
    def active(self) -> str:
        """The name of the one that is spoken of."""
        return self.history.now.track.name

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self.history.past)

    @property
    def can_redo(self) -> bool:
        """Whether a change was taken back that can be made again."""
        return bool(self.history.undone)

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
        with self.control.turn():
            snapshot = self.history.now
            if name is None:
                count = len(snapshot.tracks) + 1
                name = next(f"object {k}" for k in range(count, 2 * count + 1) if f"object {k}" not in snapshot.names)
            check_name(name, self.objects)
            with torch.inference_mode(False):
                self.refiner.initial_step(meant)
            tracks = (*snapshot.tracks, Track(name, meant))
            self.history = self.history.then(Snapshot(tracks, len(snapshot.tracks)))
            return name

    def switch(self, name: str) -> Result:
        """Speak of another object from now on; returns its result. It is no change: there is nothing to undo.

        Raises:
            InteractionError: there is no such object.
        """
        with self.control.turn():
            snapshot = self.history.now
            self.history = self.history.seen_from(replace(snapshot, active=snapshot.place(name)))
            return self.result_of(name)

    def rename(self, old: str, new: str) -> None:
        """Give an object another name.

        Raises:
            InteractionError: there is no such object, or the new name is none, or another one has it.
        """
        with self.control.turn():
            snapshot = self.history.now
            place = snapshot.place(old)
            if not isinstance(new, str) or new != old:
                check_name(new, self.objects)
                tracks = list(snapshot.tracks)
                tracks[place] = replace(tracks[place], name=new)
                self.history = self.history.then(replace(snapshot, tracks=tuple(tracks)))

    def delete(self, name: str) -> Result:
        """Take an object out, with all that was said of it; `undo` brings it back.

        Of the last one a new "object 1" is left. Returns the result of the object that is spoken of now.

        Raises:
            InteractionError: there is no such object.
        """
        with self.control.turn():
            snapshot = self.history.now
            place = snapshot.place(name)
            left = (*snapshot.tracks[:place], *snapshot.tracks[place + 1 :])
            active = snapshot.active - (place < snapshot.active)
            if not left:
                left = (Track("object 1", self.target),)
            self.history = self.history.then(Snapshot(left, min(active, len(left) - 1)))
            return self.result_of(self.active)

    def result_of(self, name: str) -> Result:
        """The current result of an object. Raises InteractionError where there is none of that name."""
        track = self._object(name)
        return (track.steps[-1] if track.steps else self.refiner.initial_step(track.target)).result

    def interactions_of(self, name: str) -> tuple[Interaction, ...]:
        """What has been said of an object. Raises InteractionError where there is none of that name."""
        return self._object(name).interactions

    def label_map(self) -> NDArray[np.int32]:
        """All objects in one map, (H, W) int32: 0 for none, k for the k-th of `objects`.

        An object is there once something was said of it. Where several claim a pixel, the one that was said to be
        there has it, or nearest to it, as far as a hundredth of the photo's longer side around; elsewhere the one that
        is most certain of it; of two alike, the earlier.
        """
        return label_map(self.history.now.tracks, self.refiner.size)

    def class_map(self) -> NDArray[np.int64]:
        """The most likely class of every pixel, (H, W), as what was said of the object that is spoken of left it.

        For networks of several classes, whose clicks name them (`click(x, y, label="road")`).

        Raises:
            OptionError: the network knows one class only.
        """
        with self.control.turn():  # it runs the network, as a refinement does
            return class_map(self.refiner, self.history.now.track)

    def _object(self, name: str) -> Track:
        snapshot = self.history.now
        return snapshot.tracks[snapshot.place(name)]

    def category(self, name: str | None = None, otherwise: str = "object") -> str:
        """What an object is called in files: its class, where the network names it.

        Args:
            name: of the object; the active one by default.
            otherwise: what it is called where the network names no classes, or its class is not known yet.
        """
        names, track = self.net.spec.class_names, self.track if name is None else self._object(name)
        target = track.steps[-1].targets[0] if track.steps else track.target  # the first click may have decided it
        return names[target] if names and target is not None else otherwise

    def __repr__(self) -> str:
        height, width = self.size
        objects = f"{len(self.objects)} objects, " if len(self.objects) > 1 else ""
        return (
            f"Session({width}x{height} pixels, {objects}{len(self.interactions)} interactions, "
            f"{len(self.history.undone)} undone)"
        )

    @property
    def _last(self) -> Step:
        return self.steps[-1] if self.steps else self.initial_step

    def restore(self, history: History) -> None:
        """Put a saved history into a session that has none yet."""
        if len(self.history.snapshots) > 1:
            raise InteractionError("A session is restored into a new one only; this one has interactions already.")
        self.history = history
