"""A session on one volume: interactions in, masks out, with undo.

The state is a tuple of steps and the tuples that were undone. Nothing is changed in place, so a change that fails
leaves the session as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from interactify import brs
from interactify.errors import InteractionError, with_type, within_memory
from interactify.interactions.click import Interaction, is_list
from interactify.interactions.in_space import VoxelClick
from interactify.interactions.voxel_gestures import voxel_interactions
from interactify.pictures.value_range import ValueRange
from interactify.refinement.history import checked_click, checked_index
from interactify.refinement.timeline import Timeline
from interactify.refinement.wrapped import Wrapped
from interactify.session.closing import UntilClosed
from interactify.session.control import Turns
from interactify.volumes.opening import open_volume
from interactify.volumes.refiner import Steps, VolumeRefiner
from interactify.volumes.result import VolumeResult
from interactify.volumes.session_file import save_volume_session
from interactify.volumes.volume import Volume

Group = tuple[Interaction, ...]


class VolumeSession:
    """Interactions with one volume and their results. Made by `Interactive.session` of a network of volumes.

    Methods may be called from several threads: changes are made in the order of the calls.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 1, 1)).eval()
    >>> session = interactify.wrap(model, mean=0, std=1).session(np.zeros((8, 10, 12), np.float32))
    >>> result = session.click(x=6, y=5, z=4)
    >>> result.mask.shape, result.satisfied, session.undo().clicks
    ((8, 10, 12), True, ())
    """

    refiner = UntilClosed[VolumeRefiner]()

    def __init__(
        self,
        net: Wrapped,
        volume: Any,
        target: int | str | None = None,
        *,
        value_range: ValueRange | None = None,
    ) -> None:
        self.net = net  # it follows its model; this session runs it as it is now
        net = net.now()
        self.target = net.target if target is None else net.network.target(target)
        opened = open_volume(volume, net.spec.channels, value_range or _own_range(volume) or net.value_range)
        with torch.inference_mode(False), within_memory():  # tensors of a caller's inference mode allow no gradients
            self.refiner = VolumeRefiner(net, opened)
            self.refiner.initial_step(self.target)
        self._turns = Turns()
        self._cancelled = threading.Event()
        self._history: Timeline[Steps] = Timeline(())

    @property
    def result(self) -> VolumeResult:
        """The current result; before the first interaction, the network's own prediction."""
        return (self.steps[-1] if self.steps else self.refiner.initial_step(self.target)).result

    @property
    def steps(self) -> Steps:
        """The states after each answer so far."""
        return self._history.now

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All interactions, in their order."""
        return self.steps[-1].interactions if self.steps else ()

    @property
    def volume(self) -> Volume:
        """The volume, with its spacing and affine."""
        return self.refiner.volume

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of the volume."""
        return self.refiner.size

    def click(self, x: float, y: float, z: float, positive: bool = True) -> VolumeResult:
        """Click on a voxel of the object (`positive`) or on one that is not, and refine until the click is satisfied.

        Args:
            x: voxels to the right, along a row; rounded to the nearest voxel.
            y: voxels down.
            z: slices, from the array's first.
            positive: False for a voxel that does not belong to the object.

        Returns:
            The new result. `result.satisfied` is False where the network can't be brought to agree.

        Raises:
            InteractionError: a point outside the volume, or not a number.
            NonFiniteError: the network returned NaN or infinity.
            NotEnoughMemoryError: the network needs more memory than there is.
            ModelChangedError: the network was changed after the session was opened.
            After any of them the session is as it was.
        """
        return self.add([VoxelClick(x, y, positive, z=z)])

    def add(self, interactions: Sequence[Interaction]) -> VolumeResult:
        """Add several interactions at once, as one step, and refine until all of them are satisfied.

        Args:
            interactions: `VoxelClick`, `VoxelScribble`, `VoxelBox`, `VoxelLasso`, `VoxelMask`, in voxels, in their
                order; none leaves everything as it is.

        Returns, raises: as `click`; where one interaction is refused, none is added.
        """
        added = voxel_interactions(interactions, self.size)
        if not added:
            return self.result
        with self._turn():
            return self._refine(self.steps, [added])

    def remove(self, index: int) -> VolumeResult:
        """Remove any interaction, and refine those after it again: as if it had never been made.

        Args:
            index: its index in `interactions`; negative ones count from the end.

        Returns, raises: as `click`; InteractionError where there is no such interaction. `undo` brings it back.
        """
        with self._turn():
            return self._refine(*changed_at(self.steps, checked_index(index, len(self.interactions)), ()))

    def move(self, index: int, x: float, y: float, z: float) -> VolumeResult:
        """Move a click, and refine it and those after it again: as if it had been made there.

        Args:
            index: its index in `interactions`; negative ones count from the end.
            x, y, z: in voxels, as for `click`.

        Returns, raises: as `click`; InteractionError where it is no click. `undo` brings it back.
        """
        with self._turn():
            position, click = checked_click(index, self.interactions)
            moved = VoxelClick(x, y, click.positive, z=z).within(self.size)
            return self._refine(*changed_at(self.steps, position, (moved,)))

    def _refine(self, steps: Steps, groups: Sequence[Group]) -> VolumeResult:
        """One more step for each group of interactions, as one change."""
        self._cancelled.clear()
        stop = brs.stopping(self.refiner.net.max_seconds, self._cancelled.is_set)
        with torch.inference_mode(False), within_memory():
            for group in groups:
                known = steps[-1].interactions if steps else ()
                steps = (*steps, self.refiner.refine(steps, (*known, *group), self.target, stop))
        self._history = self._history.changed(steps)
        return self.result

    def cancel(self) -> None:
        """End the running refinement after its current evaluation: its call returns the best result, "cancelled"."""
        self._cancelled.set()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._history.undone)

    def undo(self) -> VolumeResult:
        """Undo the last change, if there is one. Returns the result that is current then."""
        with self._turn():
            self._history = self._history.undo()
            return self.result

    def redo(self) -> VolumeResult:
        """Redo the change that was undone last, if there is one. Returns the result that is current then."""
        with self._turn():
            self._history = self._history.redo()
            return self.result

    def reset(self) -> VolumeResult:
        """Remove all interactions, which `undo` brings back. Returns the network's own prediction."""
        with self._turn():
            if self.steps:
                self._history = self._history.changed(())
            return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file, from which `interactify.load_session` continues; returns its path.

        The file holds interactions, the numbers of all steps, and digests of network and volume, but not the volume.
        Raises OptionError where the file can't be written, and ModelChangedError as `click`.
        """
        return save_volume_session(path, self._history, self.refiner, self.target)

    def restore(self, history: Timeline[Steps]) -> None:
        """Take over a stored history; only for a new session."""
        if self._history.past or self._history.undone:
            raise InteractionError("Expected a session without history to restore one. Try a new session.")
        self._history = history

    def close(self) -> None:
        """Give back the memory. Results stay readable; using the session again raises ClosedSessionError."""
        self.cancel()
        with self._turn():
            del self.refiner
            self._history = Timeline(())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return "refiner" not in self.__dict__

    def __enter__(self) -> VolumeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until earlier changes are made, and make one."""
        with self._turns.acquire():
            yield

    def __repr__(self) -> str:
        if self.closed:
            return "VolumeSession(closed)"
        size = "×".join(map(str, self.size))
        return (
            f"VolumeSession({size} voxels, {len(self.interactions)} interactions, {len(self._history.undone)} undone)"
        )


def refine_volumes(
    net: Wrapped,
    volumes: Any,
    interactions: Any,
    target: int | str | None = None,
    value_range: ValueRange | None = None,
) -> list[VolumeResult]:
    """Refine objects in one volume, or in many, without a session of one's own: see `Interactive.refine`."""
    if not is_list(interactions):
        raise InteractionError(
            f"Expected a list of interactions for each object, [[VoxelClick(…), …], …], got {with_type(interactions)}."
        )
    several = list(volumes) if isinstance(volumes, (list, tuple)) else [volumes] * len(interactions)
    if len(several) != len(interactions):
        raise InteractionError(
            f"Expected one list of interactions for each volume, got {len(several)} volumes and {len(interactions)} "
            "lists. Try one volume alone for several objects in it."
        )
    results, sessions = [], dict[int, VolumeSession]()
    opened = {id(volume): open_volume(volume, net.spec.channels) for volume in several}  # a file is read once
    checked = [  # everything is checked before anything is run
        voxel_interactions(own, opened[id(volume)].size) for volume, own in zip(several, interactions, strict=True)
    ]
    for volume, own in zip(several, checked, strict=True):
        session = sessions.get(id(volume))
        if session is None:
            sessions.clear()
            given = opened[id(volume)]
            session = sessions[id(volume)] = VolumeSession(net, given, target, value_range=value_range)
        results.append(session.add(own))
        session.reset()
    return results


def changed_at(steps: Steps, position: int, replacement: Group) -> tuple[Steps, list[Group]]:
    """The steps before an interaction, and the groups that come again, with others, or none, in its place."""
    first = next(i for i, step in enumerate(steps) if position < len(step.interactions))
    groups, known = [], len(steps[first - 1].interactions) if first else 0
    for step in steps[first:]:
        added = step.interactions[known:]
        if 0 <= (at := position - known) < len(added):
            added = (*added[:at], *replacement, *added[at + 1 :])
        groups.append(added)
        known = len(step.interactions)
    return steps[:first], [group for group in groups if group]


def _own_range(volume: Any) -> ValueRange | None:
    return volume.value_range if isinstance(volume, Volume) else None
