"""A session on one photo: interactions in, masks out, with undo and several objects.

The state is a history of snapshots of all objects, each a tuple of steps (`refinement/history.py`). A new interaction
adds a step; removing or moving one refines the steps after it again; undo returns to the snapshot before. Nothing is
changed in place, so a change that fails leaves the session as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactify.errors import InteractionError, warn_renamed, warn_user, with_type, within_memory
from interactify.interactions.click import Click, Interaction, is_list
from interactify.pictures.picture import PictureLike
from interactify.pictures.value_range import ValueRange
from interactify.refinement.choices import USUAL, Choice, checked_choice
from interactify.refinement.history import Group, History, Snapshot, Step, Steps, Track, checked_click, edited
from interactify.refinement.refiner import Refiner
from interactify.refinement.result import Result
from interactify.refinement.tiled_refiner import open_refiner
from interactify.refinement.wrapped import Wrapped
from interactify.session.class_map import class_map
from interactify.session.closing import UntilClosed
from interactify.session.control import Control
from interactify.session.label_map import label_map
from interactify.session.session_file import save_session
from interactify.session.session_log import log_of


class Session:
    """Interactions with one photo and their results. Made by `Interactive.session`.

    Interactions belong to the active object; a session begins with one object, and `add_object` adds more. Methods may
    be called from several threads: changes are made in the order of the calls, and a running refinement ends early for
    the next one (see `add`). `close`, or a `with` block, gives back its memory at once.

    >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
    >>> result = session.click(x=40, y=30)
    >>> result.mask.shape, result.satisfied, session.undo().clicks
    ((60, 80), True, ())
    """

    refiner = UntilClosed[Refiner]()
    history = UntilClosed[History]()

    def __init__(
        self,
        net: Wrapped,
        photo: PictureLike,
        target: int | str | None = None,
        *,
        tile: int | bool | None = None,
        value_range: ValueRange | None = None,
        ready: bool = True,
    ) -> None:
        """With `ready`, the pass that the first click begins with is run now, so that the click is faster."""
        self.net = net  # it follows its model; this session runs it as it is now
        net = net.now()
        self.target = net.target if target is None else net.network.target(target)
        with torch.inference_mode(False), within_memory():  # tensors of a caller's inference mode allow no gradients
            self.refiner = open_refiner(net, net.picture(photo, value_range), tile)
            self.refiner.initial_step(self.target)
            if ready:
                self.refiner.passes.ready(self.refiner.first_crop.passes)
        if note := self.refiner.picture.dim_note():
            warn_user(note)
        self.control = Control()
        self.history = History(Snapshot.initial(self.target))

    # ---- the active object -------------------------------------------------------------------------------------------

    @property
    def result(self) -> Result:
        """The current result; before the first interaction, the network's own prediction."""
        return self._result_of(self.track)

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All interactions with the active object, in their order."""
        return self.track.interactions

    @property
    def track(self) -> Track:
        """The active object."""
        return self.history.now.track

    @property
    def steps(self) -> Steps:
        """The steps of the active object."""
        return self.track.steps

    @property
    def initial_step(self) -> Step:
        """The state of the active object before its first interaction."""
        return self.refiner.initial_step(self.track.target)

    @property
    def first(self) -> Step:
        """The old name of `initial_step`."""
        warn_renamed("Session.first", "Session.initial_step")
        return self.initial_step

    @property
    def wrapped(self) -> Wrapped:
        """The network as it was when the session was opened, which all of its results come from."""
        return self.refiner.net

    @property
    def photo(self) -> NDArray[np.uint8]:
        """The photo for drawing, (H, W, 3) uint8."""
        return self.refiner.picture.uint8()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.refiner.size

    def click(self, x: float, y: float, positive: bool = True, label: int | str | None = None) -> Result:
        """Click on a pixel of the object (`positive`) or on one that is not, and refine until the click is satisfied.

        Args:
            x: pixels to the right, 0 at the centre of the leftmost pixels; rounded to the nearest pixel.
            y: pixels down, 0 at the centre of the topmost pixels.
            positive: False for a pixel that does not belong to the object.
            label: a class of the network, index or name: the click is about this class instead of the object.

        Returns:
            The new result. `result.satisfied` is False where the network can't be brought to agree.

        Raises:
            InteractionError: a point outside the photo, or not a number.
            OptionError: a class that the network does not have.
            NonFiniteError: the network returned NaN or infinity.
            NotEnoughMemoryError: the network needs more memory than there is.
            ModelChangedError: the network was changed after the session was opened. A new session follows it.
            After any of them the session is as it was.
        """
        return self.add([Click(x, y, positive, label)])

    def add(self, interactions: Sequence[Interaction]) -> Result:
        """Add several interactions at once, as one step, and refine until all of them are satisfied.

        Where another thread adds more while this is refined, the refinement ends after its current evaluation: this
        call returns the mask of the first evaluation with the status "superseded", its interactions stay, and they are
        refined together with the newer ones.

        Args:
            interactions: clicks, scribbles, boxes, … in photo pixels, in their order; none leaves everything as it is.

        Returns, raises: as `click`; where one interaction is refused, none is added.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> result = session.add([interactify.Click(40, 30), interactify.Scribble([(2, 5), (60, 5)], positive=False)])
        >>> result.satisfied, len(session.interactions), session.undo().interactions
        (True, 2, ())
        """
        if not is_list(interactions):
            raise InteractionError(f"Expected a list of interactions, [Click(…), …], got {with_type(interactions)}.")
        added = tuple(self.checked(each) for each in interactions)
        if not added:
            return self.result
        with self.control.turn(supersede=True):
            return self._refine(self.steps, [(added, USUAL)])

    def remove(self, index: int) -> Result:
        """Remove any interaction, and refine those after it again: as if it had never been made.

        Args:
            index: its index in `interactions`; negative ones count from the end.

        Returns:
            The new result. `undo` brings the interaction back.

        Raises:
            InteractionError: there is no such interaction.
            NonFiniteError, NotEnoughMemoryError: as `click`. The session is as it was.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> _ = session.click(5, 5, positive=False), session.click(40, 30)
        >>> session.remove(0).clicks, len(session.undo().clicks)
        ((Click(x=40, y=30, positive=True),), 2)
        """
        with self.control.turn(supersede=True):
            return self._refine(*edited(self.steps, index, ()))

    def move(self, index: int, x: float, y: float) -> Result:
        """Move any click, and refine the interactions after it again: as if it had been made there.

        Args:
            index: its index in `interactions`; negative ones count from the end.
            x, y: in photo pixels, as for `click`.

        Returns, raises: as `remove` and `click`; where the new point is refused, nothing is moved.
        """
        with self.control.turn(supersede=True):
            position, click = checked_click(index, self.interactions)
            return self._refine(*edited(self.steps, position, (self.checked(replace(click, x=x, y=y)),)))

    def checked(self, interaction: Interaction) -> Interaction:
        """The interaction in whole pixels, with its class as an index. Raises as `click`."""
        return self.wrapped.network.checked(interaction, self.size)

    def choose(self, choice: str) -> Result:
        """Go on from one of `result.alternatives`, "narrow", "usual" or "wide": how far the newest interactions mean.

        The choice belongs to them: `undo` takes both back. What the mask shows then stays, except in the pieces that
        later interactions contradict. Raises OptionError for another word, and for a photo in tiles, of which no whole
        mask is held; and InteractionError where the active object has no interactions.
        """
        chosen = checked_choice(choice, whole=not self.refiner.tile)
        with self.control.turn(), torch.inference_mode(False), within_memory():
            self.history = self.history.chosen(chosen)
            return self.result

    def _refine(self, steps: Steps, groups: Sequence[tuple[Group, Choice]]) -> Result:
        """Refine groups of interactions after earlier steps of the active object, one step for each group."""
        refined = self.control.refined(self.refiner, steps, groups, self.track.target)
        self.history = self.history.changed(self.history.now.with_steps(refined))
        return self.result

    # ---- while a refinement runs, from other threads -----------------------------------------------------------------

    def preview(self) -> Result:
        """The result of the latest evaluation of the running refinement; the current result where none is running."""
        latest = self.control.latest
        return self.result if latest is None else latest.result(self.refiner)

    def cancel(self) -> None:
        """End the running refinement after its current evaluation: its call returns the best result, "cancelled"."""
        self.control.cancel()

    def make_way(self) -> None:
        """End the running refinement as for a newer interaction, and wait; for those who queue changes themselves."""
        with self.control.turn(supersede=True):
            pass

    def close(self) -> None:
        """Give back the memory: the photo, the history, and all that is kept for the next click.

        A running refinement is ended first. Results stay readable; using the session again raises ClosedSessionError.

        >>> with interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8)) as session:
        ...     result = session.click(x=40, y=30)
        >>> session, session.closed, result.mask.shape
        (Session(closed), True, (60, 80))
        """
        with self.control.turn(supersede=True):
            del self.refiner, self.history

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return "refiner" not in self.__dict__

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Session:  # what is in it is replaced and never changed, so a copy may share it
        copied = object.__new__(Session)
        copied.__dict__.update(self.__dict__)
        return copied

    # ---- undo, files -------------------------------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self.history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self.history.undone)

    def undo(self) -> Result:
        """Undo the last change, of whichever object, if there is one. Returns the result that is current then."""
        with self.control.turn(supersede=True):
            self.history = self.history.undo()
            return self.result

    def redo(self) -> Result:
        """Redo the change that was undone last, if there is one. Returns the result that is current then."""
        with self.control.turn():
            self.history = self.history.redo()
            return self.result

    def reset(self) -> Result:
        """Remove all interactions with the active object. Returns the network's own prediction."""
        with self.control.turn(supersede=True):
            if self.steps:
                self.history = self.history.changed(self.history.now.with_steps(()))
            return self.result

    def restart(self) -> Result:
        """Forget everything, with the history and all objects. Returns the network's own prediction."""
        with self.control.turn(supersede=True):
            self.history = History(Snapshot.initial(self.target))
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file, from which `interactify.load_session` continues; returns its path.

        The file holds interactions, the numbers of the latest steps, and digests of network and photo. An undo beyond
        those steps refines them again. It is replaced as a whole: an interrupted save leaves the old file.

        Raises OptionError where the file can't be written, and ModelChangedError as `click`.
        """
        return save_session(path, self.history, self.refiner, self.wrapped, self.target)

    def log(self) -> str:
        """The interactions of all objects as lines of JSON: one for photo and objects, then one for each interaction.

        `interactify.replay` (a command, too) computes the masks again. What was undone is not in the log.
        """
        return log_of(self.history, self.refiner)

    def restore(self, history: History) -> None:
        """Take over a stored history; only for a new session."""
        if len(self.history.snapshots) > 1:
            raise InteractionError("Expected a session without changes to restore a history in. Try a new session.")
        self.history = history

    # ---- objects -----------------------------------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of all objects, in the order in which they were added."""
        return self.history.now.names

    @property
    def active(self) -> str:
        """The name of the active object."""
        return self.track.name

    def add_object(self, name: str | None = None, target: int | str | None = None) -> str:
        """Add an object, which becomes the active one; returns its name.

        Args:
            name: "object 2" and so on by default.
            target: the class of a positive click, as for `Interactive.session`; by default the session's.

        Raises:
            InteractionError: an invalid name, or one that another object has.
            OptionError: a target that is not one of the network's classes.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> session.add_object("cat"), session.objects, session.click(60, 40).satisfied
        ('cat', ('object 1', 'cat'), True)
        >>> session.switch("object 1").interactions, int(session.label_map()[40, 60])
        ((), 2)
        """
        index = self.target if target is None else self.wrapped.network.target(target)
        with self.control.turn():
            snapshot = self.history.now.with_object(name, index)
            with torch.inference_mode(False):
                self.refiner.initial_step(index)
            self.history = self.history.changed(snapshot)
            return snapshot.track.name

    def switch(self, name: str) -> Result:
        """Make another object the active one; returns its result. There is nothing to undo.

        Raises:
            InteractionError: there is no such object.
        """
        with self.control.turn():
            self.history = self.history.with_active(self.history.now.index_of(name))
            return self.result

    def rename(self, old: str, new: str) -> None:
        """Give an object another name. Raises InteractionError for an unknown object and an invalid or taken name."""
        with self.control.turn():
            index = self.history.now.index_of(old)
            if not isinstance(new, str) or new != old:
                self.history = self.history.changed(self.history.now.renamed(index, new))

    def delete(self, name: str) -> Result:
        """Remove an object with all its interactions; `undo` brings it back.

        The last object is replaced by a new "object 1". Returns the result of the object that is active then.

        Raises:
            InteractionError: there is no such object.
        """
        with self.control.turn():
            now = self.history.now
            self.history = self.history.changed(now.without(now.index_of(name)) or Snapshot.initial(self.target))
            return self.result

    def result_of(self, name: str) -> Result:
        """The current result of an object. Raises InteractionError where there is none of that name."""
        return self._result_of(self._object(name))

    def interactions_of(self, name: str) -> tuple[Interaction, ...]:
        """All interactions with an object. Raises InteractionError where there is none of that name."""
        return self._object(name).interactions

    def category(self, name: str | None = None, otherwise: str = "object") -> str:
        """What an object is called in files: the name of its class, where it is known.

        `name` is the active object's by default; `otherwise` is for networks without names of classes, and until the
        object's class is decided.
        """
        names, track = self.wrapped.spec.class_names, self.track if name is None else self._object(name)
        target = track.steps[-1].targets[0] if track.steps else track.target  # the first click may have decided it
        return names[target] if names and target is not None else otherwise

    def label_map(self) -> NDArray[np.int32]:
        """All objects in one map, (H, W) int32: 0 for none, k for the k-th of `objects`.

        An object is in it from its first interaction on. Where several overlap, the one with the nearest positive point
        has the pixel, up to a hundredth of the photo's longer side away; elsewhere the one with the highest log-odds,
        and of two with the same the earlier.
        """
        return label_map(self.history.now.tracks, self.size)

    def class_map(self) -> NDArray[np.int64]:
        """The most likely class of every pixel, (H, W), after the interactions with the active object.

        For networks of several classes, whose clicks name them (`click(x, y, label="road")`). Raises OptionError where
        the network knows one class only.
        """
        with self.control.turn():  # it runs the network, as a refinement does
            self.wrapped.check_unchanged()
            return class_map(self.refiner, self.track)

    def _object(self, name: str) -> Track:
        snapshot = self.history.now
        return snapshot.tracks[snapshot.index_of(name)]

    def _result_of(self, track: Track) -> Result:
        return (track.steps[-1] if track.steps else self.refiner.initial_step(track.target)).result

    def __repr__(self) -> str:
        if self.closed:
            return "Session(closed)"
        height, width = self.size
        objects = f"{len(self.objects)} objects, " if len(self.objects) > 1 else ""
        counts = f"{len(self.interactions)} interactions, {len(self.history.undone)} undone"
        return f"Session({width}x{height} pixels, {objects}{counts})"
