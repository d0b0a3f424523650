"""A session on a volume under a network of images: interactions with slices in, a mask of the volume out.

The state is a result, and the results that were before it and that were undone. Nothing is changed in place, so a
change that fails leaves the session as it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from interactify import brs
from interactify.errors import InteractionError, ModelError, OptionError, with_type, within_memory
from interactify.interactions.click import Interaction, is_list
from interactify.interactions.in_space import VoxelClick
from interactify.optim.status import Status
from interactify.pictures.value_range import ValueRange
from interactify.refinement.history import checked_click, checked_index
from interactify.refinement.problem import Stop
from interactify.refinement.timeline import Timeline
from interactify.refinement.wrapped import Wrapped
from interactify.session.closing import UntilClosed
from interactify.session.control import Turns
from interactify.slices.carrying import Stopped, carried_in, gaps_of
from interactify.slices.planes import Planes
from interactify.slices.refiner import SliceRefiner
from interactify.slices.result import InSlice, SlicesResult
from interactify.slices.session_file import save_slices
from interactify.volumes.opening import as_volume
from interactify.volumes.volume import Volume

REACH: Final = 10  # slices that a correction is carried at most, to each side

Groups = dict[int, list[Interaction]]
"""Interactions by the number of their slice."""


class SliceSession:
    """Interactions with the slices of one volume and their results. Made by `Interactive.slices`.

    Each slice is a photo. What is corrected in one is carried to its neighbours, as far as the network agrees and up to
    the next slice with interactions of its own. Methods may be called from several threads: changes are made in the
    order of the calls.

    >>> net = interactify.wrap(interactify.zoo.load(), resolution=96)
    >>> session = net.slices(np.zeros((5, 48, 64), np.uint8))
    >>> result = session.click(x=40, y=30, z=2)
    >>> result.mask.shape, result.corrected, result.satisfied, session.undo().corrected
    ((5, 48, 64), (2,), True, ())
    """

    refiner = UntilClosed[SliceRefiner]()

    def __init__(
        self,
        net: Wrapped,
        volume: Any,
        *,
        axis: int = 0,
        reach: int = REACH,
        target: int | str | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        if net.spec.sides == 3:
            raise ModelError(
                "Expected a network of images to see a volume slice by slice, got one of volumes. Try "
                "net.session(volume)."
            )
        if isinstance(reach, bool) or not isinstance(reach, (int, np.integer)) or reach < 0:
            raise OptionError(f"Expected reach as a whole number of slices, 0 or more, got {with_type(reach)}. Try 10.")
        self.net = net  # it follows its model; this session runs it as it is now
        net = net.now()
        self.reach = int(reach)
        self.target = net.target if target is None else net.network.target(target)
        opened = as_volume(volume)  # its photos say later whether the network reads that many channels
        self.refiner = SliceRefiner(net, Planes(opened, axis), value_range or opened.value_range)
        self.refiner.own(self.refiner.planes.count // 2, self.target)  # raises where slices are no photos for it
        self._turns = Turns()
        self._cancelled = threading.Event()
        self._history: Timeline[SlicesResult] = Timeline(SlicesResult(self.refiner, self.target))

    @property
    def result(self) -> SlicesResult:
        """The current result; before the first interaction, the network's own prediction."""
        return self._history.now

    @property
    def interactions(self) -> tuple[InSlice, ...]:
        """All interactions, in their order, each with the number of its slice."""
        return self.result.interactions

    @property
    def volume(self) -> Volume:
        """The volume, with its spacing and affine."""
        return self.refiner.planes.volume

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of the volume."""
        return self.volume.size

    @property
    def axis(self) -> int:
        """The axis of (D, H, W) that slices are counted along."""
        return self.refiner.planes.axis

    def click(self, x: float, y: float, z: float, positive: bool = True, *, carry: bool = True) -> SlicesResult:
        """Click on a voxel of the object (`positive`) or on one that is not, and refine its slice.

        Args:
            x: voxels to the right, along a row; rounded to the nearest voxel.
            y: voxels down.
            z: slices, from the array's first.
            positive: False for a voxel that does not belong to the object.
            carry: False to leave the neighbours as they are until `carry` is called.

        Returns:
            The new result, after the correction was carried to the neighbours.

        Raises:
            InteractionError: a point outside the volume, or not a number.
            PhotoError: the slice, or one that it is carried to, can't be read.
            NonFiniteError: the network returned NaN or infinity.
            NotEnoughMemoryError: the network needs more memory than there is.
            ModelChangedError: the network was changed after the session was opened.
            After any of them the session is as it was.
        """
        return self.add([VoxelClick(x, y, positive, z=z)], carry=carry)

    def add(self, interactions: Sequence[Interaction], at: int | None = None, *, carry: bool = True) -> SlicesResult:
        """Add several interactions at once, as one step, and refine their slices.

        Args:
            interactions: `VoxelClick`s, which know their slice; and with `at` anything that a photo takes: clicks,
                scribbles, boxes, lassos, strokes and masks, in the slice's pixels. None leaves everything as it is.
            at: the number of the slice, along the session's axis.
            carry: as for `click`.

        Returns, raises: as `click`; where one interaction is refused, none is added.

        >>> net = interactify.wrap(interactify.zoo.load(), resolution=96)
        >>> session = net.slices(np.zeros((5, 48, 64), np.uint8))
        >>> result = session.add([interactify.Scribble([(10, 20), (40, 20)])], at=3)
        >>> result.origin(3), len(session.interactions)
        ('corrected', 1)
        """
        groups = self._checked(interactions, at)
        if not groups:
            return self.result
        with self._turn():
            started = time.perf_counter()
            now = self.result
            result = replace(now, evaluations=0, before=now)
            for index, added in groups.items():
                result = self._answered(result, index, tuple(added))
            if carry and result.status != Status.CANCELLED:
                result = self._carried(result)
            now.release_arrays()
            self._history = self._history.changed(replace(result, seconds=time.perf_counter() - started))
            return self.result

    def carry(self) -> SlicesResult:
        """Carry the corrections that are not carried yet, which belongs to the change that they came with.

        After `carry=False`, and where carrying was cancelled. Returns, raises: as `click`.
        """
        with self._turn():
            if self.result.waiting:
                self._history = replace(self._history, now=self._carried(self.result))
            return self.result

    def remove(self, index: int) -> SlicesResult:
        """Remove any interaction, refine its slice again as if it had never been made, and carry what is left.

        Args:
            index: its index in `interactions`; negative ones count from the end.

        Returns, raises: as `click`; InteractionError where there is no such interaction. `undo` brings it back.
        """
        return self._edited(checked_index(index, len(self.interactions)), ())

    def move(self, index: int, x: float, y: float, z: float) -> SlicesResult:
        """Move a click within its slice, and refine the slice again as if it had been made there.

        Args:
            index: its index in `interactions`; negative ones count from the end.
            x, y, z: in voxels, as for `click`.

        Returns, raises: as `click`; InteractionError where it is no click, or another slice is meant.
        """
        position, click = checked_click(index, [each.interaction for each in self.interactions])
        moved = VoxelClick(x, y, click.positive, z=z).within(self.size)
        place, own = self.refiner.planes.place(moved)
        if place != self.interactions[position].slice:
            raise InteractionError(
                f"Expected a point in slice {self.interactions[position].slice}, where the click is, got one in slice "
                f"{place}. Try remove({position}), and another click."
            )
        return self._edited(position, (replace(click, x=own.x, y=own.y),))

    def cancel(self) -> None:
        """End the running change after its current evaluation: its call returns what was reached.

        The best mask of the slice stays, as for a photo. What is not carried yet waits for `carry`, or the next change.
        """
        self._cancelled.set()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._history.undone)

    def undo(self) -> SlicesResult:
        """Undo the last change with all that was carried, if there is one. Returns the result that is current then."""
        with self._turn():
            self._history = self._history.undo()
            return self.result

    def redo(self) -> SlicesResult:
        """Redo the change that was undone last, if there is one. Returns the result that is current then."""
        with self._turn():
            self._history = self._history.redo()
            return self.result

    def reset(self) -> SlicesResult:
        """Remove all interactions, which `undo` brings back. Returns the network's own prediction."""
        with self._turn():
            if self.result.slices:
                self._history = self._history.changed(SlicesResult(self.refiner, self.target, before=self.result))
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file, from which `interactify.load_slices` continues; returns its path.

        The file holds interactions and masks, with all that undo and redo lead to, and digests of network and volume.
        It is replaced as a whole: an interrupted save leaves the old file.

        Raises OptionError where the file can't be written, and ModelChangedError as `click`.
        """
        with self._turn():
            return save_slices(path, self._history, self.refiner, self.target, self.reach)

    def restore(self, history: Timeline[SlicesResult]) -> None:
        """Take over a stored history; only for a new session."""
        if self.can_undo or self.can_redo:
            raise InteractionError("Expected a session without changes to restore a history in. Try a new session.")
        self._history = history

    def close(self) -> None:
        """Give back the memory. Masks that were read stay; using the session again raises ClosedSessionError."""
        self.cancel()
        with self._turn():
            now = self.result
            del self.refiner
            self._history = Timeline(replace(now, before=None))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return "refiner" not in self.__dict__

    def __enter__(self) -> SliceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, interactions: object, at: int | None) -> Groups:
        """Interactions by slice, in the slices' pixels. Raises InteractionError."""
        if not is_list(interactions):
            raise InteractionError(
                f"Expected a list of interactions, [VoxelClick(…), …], got {with_type(interactions)}."
            )
        refiner, groups = self.refiner, Groups()
        stated = None if at is None else refiner.planes.checked(at)
        for each in interactions:
            own: Interaction
            if isinstance(each, VoxelClick):
                index, own = refiner.planes.place(each.within(self.size))
                if stated not in (None, index):
                    raise InteractionError(f"Expected clicks in slice {stated}, got {each!r}. Try without at=….")
            elif stated is None:
                raise InteractionError(
                    f"Expected the slice of {with_type(each)}, got none. Try add([…], at=12), or VoxelClick(x, y, z=…)."
                )
            else:
                index, own = stated, refiner.net.network.checked(each, refiner.planes.size)
            groups.setdefault(index, []).append(own)
        return groups

    def _answered(self, result: SlicesResult, index: int, added: tuple[Interaction, ...]) -> SlicesResult:
        """After more interactions with one slice; its neighbours are as they were."""
        known = result.slices.get(index)
        state, step = self.refiner.answered(index, known, added, result.target, self._stop(limited=True))
        return result.with_correction(
            index,
            state,
            len(added),
            target=step.targets[0],
            evaluations=result.evaluations + step.result.evaluations,
            status=step.result.status,
        )

    def _edited(self, position: int, replacement: tuple[Interaction, ...]) -> SlicesResult:
        """With other interactions in the place of one: its slice is refined again, and what is left carried."""
        with self._turn():
            started = time.perf_counter()
            now = self.result
            index = now.order[position]
            inside = now.order[:position].count(index)
            groups = []
            for answer in now.slices[index].answers:
                own = answer.interactions
                if 0 <= inside < len(own):
                    own = (*own[:inside], *replacement, *own[inside + 1 :])
                inside -= len(answer.interactions)
                groups.append(own)
            result = now.without_correction(index, self.target)
            for own in filter(None, groups):
                result = self._answered(result, index, own)
            dropped = position if not replacement else -1
            order = tuple(each for k, each in enumerate(now.order) if k != dropped)
            result = replace(result, order=order)
            if result.status != Status.CANCELLED:
                result = self._carried(result)
            self._history = self._history.changed(replace(result, seconds=time.perf_counter() - started))
            return self.result

    def _carried(self, result: SlicesResult) -> SlicesResult:
        """With the corrections that wait carried; those that were cancelled still wait."""
        carried, evaluations = dict(result.carried), result.evaluations
        for gap in gaps_of(result.slices, self.refiner.planes.count):
            if not gap.touches(result.waiting):
                continue
            inputs = self.refiner, result.slices, result.target, self.reach, self._stop()
            try:
                found, runs = carried_in(gap, *inputs)
            except Stopped:
                return replace(result, carried=carried, evaluations=evaluations)
            carried = {index: each for index, each in carried.items() if index not in gap.slices} | found
            evaluations += runs
        return replace(result, carried=carried, evaluations=evaluations, waiting=frozenset())

    def _stop(self, limited: bool = False) -> Stop:
        """What ends a refinement early: `cancel`, and the limit of a click's time where it is one."""
        return brs.stopping(self.refiner.net.max_seconds if limited else None, self._cancelled.is_set)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until earlier changes are made, and make one."""
        with self._turns.acquire(), torch.inference_mode(False), within_memory():
            self._cancelled.clear()
            yield

    def __repr__(self) -> str:
        if self.closed:
            return "SliceSession(closed)"
        size = "×".join(map(str, self.size))
        counts = f"{len(self.result.order)} interactions, {len(self._history.undone)} undone"
        return f"SliceSession({size} voxels, slices along axis {self.axis}, {counts})"
