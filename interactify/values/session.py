"""A session on one photo under a network of values: interactions in, maps of numbers out, with undo."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactify import brs
from interactify.errors import InteractionError, with_type, within_memory
from interactify.interactions.click import is_list
from interactify.optim.status import Status
from interactify.pictures.picture import Picture
from interactify.refinement.timeline import Timeline
from interactify.refinement.wrapped import Wrapped
from interactify.session.closing import UntilClosed
from interactify.session.control import Turns
from interactify.values.interactions import HigherValue, SameValue, ValueClick, ValueInteraction
from interactify.values.refiner import Group, ValueRefiner, ValueStep
from interactify.values.result import ValueResult
from interactify.values.session_file import save_values


class ValueSession:
    """Interactions with one photo, and the map of numbers that follows them. Made by `ValueNetwork.session`.

    Methods may be called from several threads: changes are made in the order of the calls, and a running refinement
    ends early for the next one, which answers both.

    >>> net = interactify.wrap_values(nn.Conv2d(3, 1, 1), mean=0.5, std=0.5)
    >>> session = net.session(np.zeros((48, 64, 3), np.uint8))
    >>> result = session.click(x=40, y=30, value=2.0)
    >>> result.values.shape, result.satisfied, session.undo().interactions
    ((48, 64), True, ())
    """

    refiner = UntilClosed[ValueRefiner]()
    history = UntilClosed[Timeline[ValueStep]]()

    def __init__(self, net: Wrapped, picture: Picture, tolerance: float | None, alignment: str) -> None:
        with torch.inference_mode(False), within_memory():  # tensors of a caller's inference mode allow no gradients
            self.refiner = ValueRefiner(net, picture, tolerance, alignment)
            self.refiner.passes.ready(self.refiner.suffix)
        self.history = Timeline(self.refiner.first)
        self._turns = Turns()
        self._cancelled = threading.Event()
        self._latest: tuple[ValueStep, ValueResult] | None = None

    @property
    def result(self) -> ValueResult:
        """The current result; before the first interaction, the network's own map."""
        step, latest = self.history.now, self._latest
        if latest is None or latest[0] is not step:
            with torch.inference_mode(False), within_memory():
                latest = self._latest = step, self.refiner.result(step)
        return latest[1]

    @property
    def interactions(self) -> tuple[ValueInteraction, ...]:
        """All interactions, in their order."""
        return self.history.now.interactions

    @property
    def photo(self) -> NDArray[np.uint8]:
        """The photo for drawing, (H, W, 3) uint8."""
        return self.refiner.picture.uint8()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.refiner.size

    def click(self, x: float, y: float, value: float) -> ValueResult:
        """Say what the value of a pixel is, and refine until it is that, within the tolerance.

        Args:
            x: pixels to the right, 0 at the centre of the leftmost pixels; rounded to the nearest pixel.
            y: pixels down, 0 at the centre of the topmost pixels.
            value: in the network's units; in your own where the session has an alignment.

        Returns:
            The new result. `result.satisfied` is False where the network can't be brought to agree.

        Raises:
            InteractionError: a point outside the photo, or something that is not a number.
            NonFiniteError: the network returned NaN or infinity.
            NotEnoughMemoryError: the network needs more memory than there is.
            ModelChangedError: the network was changed after the session was opened.
            After any of them the session is as it was.
        """
        return self.add([ValueClick(x, y, value)])

    def same(self, x: float, y: float, as_x: float, as_y: float) -> ValueResult:
        """Say that two pixels have the same value. Returns, raises: as `click`; also for one pixel given twice."""
        return self.add([SameValue(x, y, as_x, as_y)])

    def higher(self, x: float, y: float, than_x: float, than_y: float) -> ValueResult:
        """Say that the first pixel has a higher value than the second one, by a tolerance at least.

        In a map of depth the first one is farther, in one of disparity it is nearer. Returns, raises: as `same`.
        """
        return self.add([HigherValue(x, y, than_x, than_y)])

    def add(self, interactions: Sequence[ValueInteraction]) -> ValueResult:
        """Add several interactions at once, as one step, and refine until all of them are satisfied.

        Args:
            interactions: `ValueClick`, `ValueScribble`, `SameValue`, `HigherValue`; none leaves everything as it is.

        Returns, raises: as `click`; where one interaction is refused, none is added.
        """
        if not is_list(interactions):
            raise InteractionError(f"Expected a list of value interactions, got {with_type(interactions)}.")
        added = tuple(self._checked(each) for each in interactions)
        if not added:
            return self.result
        with self._turns.acquire(urgent=True):
            return self._refine(self.history.now, [added])

    def remove(self, index: int) -> ValueResult:
        """Remove any interaction, and refine those after it again: as if it had never been made.

        Args:
            index: its index in `interactions`; negative ones count from the end.

        Returns, raises: as `click`; InteractionError where there is no such interaction. `undo` brings it back.
        """
        with self._turns.acquire(urgent=True):
            count = len(self.interactions)
            if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not -count <= index < count:
                raise InteractionError(
                    f"Expected the index of one of {count} interactions, got {with_type(index)}. Try one of "
                    "session.interactions."
                )
            position = int(index) % count
            kept, step = [], self.history.now
            while len(step.interactions) > position:  # the steps after it, and its own
                assert step.before is not None
                first = len(step.before.interactions)
                kept.append(tuple(each for i, each in enumerate(step.groups[-1], first) if i != position))
                step = step.before
            return self._refine(step, [group for group in reversed(kept) if group])

    def _checked(self, interaction: ValueInteraction) -> ValueInteraction:
        if not isinstance(interaction, ValueInteraction):
            raise InteractionError(
                f"Expected a value interaction, got {type(interaction).__name__}. Try ValueClick(x, y, value)."
            )
        return interaction.within(self.size)

    def _refine(self, step: ValueStep, groups: Sequence[Group]) -> ValueResult:
        """One more step for each group of interactions, as one change."""
        self._cancelled.clear()
        ended = brs.stopping(self.refiner.net.max_seconds, self._cancelled.is_set)
        with torch.inference_mode(False), within_memory():
            for group in groups:
                step = self.refiner.refine(
                    step, group, lambda: Status.SUPERSEDED if self._turns.should_yield else ended()
                )
            latest = step, self.refiner.result(step)
        self.history, self._latest = self.history.changed(step), latest
        return latest[1]

    def cancel(self) -> None:
        """End the running refinement after its current evaluation: its call returns the best result, "cancelled"."""
        self._cancelled.set()

    def close(self) -> None:
        """Give back the memory. Results stay readable; using the session again raises ClosedSessionError."""
        with self._turns.acquire(urgent=True):
            del self.refiner, self.history
            self._latest = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return "refiner" not in self.__dict__

    def __enter__(self) -> ValueSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self.history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self.history.undone)

    def undo(self) -> ValueResult:
        """Undo the last change, if there is one. Returns the result that is current then."""
        with self._turns.acquire(urgent=True):
            self.history = self.history.undo()
            return self.result

    def redo(self) -> ValueResult:
        """Redo the change that was undone last, if there is one. Returns the result that is current then."""
        with self._turns.acquire():
            self.history = self.history.redo()
            return self.result

    def reset(self) -> ValueResult:
        """Remove all interactions. Returns the network's own map; `undo` brings them back."""
        with self._turns.acquire(urgent=True):
            if self.interactions:
                self.history = self.history.changed(self.refiner.first)
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file, from which `ValueNetwork.load_session` continues; returns its path.

        Raises OptionError where the file can't be written, and ModelChangedError as `click`.
        """
        return save_values(path, self.refiner, self.history)

    def __repr__(self) -> str:
        if self.closed:
            return "ValueSession(closed)"
        return f"ValueSession({self.size[0]}×{self.size[1]}, {len(self.interactions)} interactions)"
