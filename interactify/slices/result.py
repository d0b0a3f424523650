"""What a session over slices shows: the mask of the volume, and of each slice where its mask comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Click, Interaction
from interactify.interactions.in_space import VoxelClick
from interactify.optim.status import Status
from interactify.slices.corrections import Carried, Corrected, Mask
from interactify.slices.refiner import SliceRefiner
from interactify.volumes.writing import save_masks


class InSlice(NamedTuple):
    """An interaction with one slice: its number, and the interaction in the slice's pixels, x to the right, y down."""

    slice: int
    interaction: Interaction


@dataclass(frozen=True, eq=False)
class SlicesResult:
    """A mask of a volume, slice by slice. Immutable; arrays are read-only.

    Attributes:
        refiner: the volume under the network; it computes the network's own masks where they are read.
        target: the object's class; None while it is not decided.
        slices: of each corrected slice what is known of it, by its number.
        carried: of each slice that a mask was carried to.
        order: the corrected slices of all interactions, in the order in which these were given.
        waiting: the corrected slices whose corrections are not carried yet (`SliceSession.carry`).
        evaluations: how often the network was run with gradient, for the interactions and for carrying.
        status: why the last refinement ended, an `interactify.optim.Status`.
        seconds: wall time.
        before: the result before this one; None before the first interaction.
    """

    refiner: SliceRefiner = field(repr=False)
    target: int | None
    slices: Mapping[int, Corrected] = field(default_factory=dict)
    carried: Mapping[int, Carried] = field(default_factory=dict)
    order: tuple[int, ...] = ()
    waiting: frozenset[int] = frozenset()
    evaluations: int = 0
    status: str = Status.PLAIN
    seconds: float = 0.0
    before: SlicesResult | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of the volume."""
        return self.refiner.planes.volume.size

    @property
    def corrected(self) -> tuple[int, ...]:
        """The numbers of the slices that the user has corrected, in their order."""
        return tuple(sorted(self.slices))

    def origin(self, index: int) -> str:
        """Where a slice's mask comes from: "corrected" by the user, "carried" there, or the network's "own".

        Raises InteractionError where there is no such slice.
        """
        index = self.refiner.planes.checked(index)
        return "corrected" if index in self.slices else "carried" if index in self.carried else "own"

    def mask_of(self, index: int) -> Mask:
        """(h, w) bool of one slice. Raises InteractionError where there is no such slice."""
        return _read_only(self._mask_of(self.refiner.planes.checked(index)))

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(D, H, W) bool: where the object is. The network runs once on each slice that it has not seen yet."""
        planes = self.refiner.planes
        mask = np.empty(self.size, bool)
        along = np.moveaxis(mask, planes.axis, 0)
        for index in range(planes.count):
            along[index] = self._mask_of(index)
        return _read_only(mask)

    @cached_property
    def changed(self) -> tuple[int, ...]:
        """The numbers of the slices whose mask differs from that of the result before."""
        before = self.before
        if before is None:
            return ()
        both = {*self.slices, *self.carried, *before.slices, *before.carried}
        if self.target != before.target:
            both = set(range(self.refiner.planes.count))
        return tuple(index for index in sorted(both) if not self._same_mask(before, index))

    @cached_property
    def interactions(self) -> tuple[InSlice, ...]:
        """All interactions of the user, in their order."""
        waiting = {
            index: iter([each for answer in state.answers for each in answer.interactions])
            for index, state in self.slices.items()
        }
        return tuple(InSlice(index, next(waiting[index])) for index in self.order)

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks among them, in voxels of the volume."""
        voxel = self.refiner.planes.voxel
        return tuple(voxel(index, each) for index, each in self.interactions if isinstance(each, Click))

    @property
    def unsatisfied(self) -> tuple[InSlice, ...]:
        """The interactions whose label the mask of their slice does not have everywhere."""
        return tuple(InSlice(index, each) for index, state in sorted(self.slices.items()) for each in state.unsatisfied)

    @property
    def satisfied(self) -> bool:
        """Whether every interaction has its label."""
        return not self.unsatisfied

    def release_arrays(self) -> None:
        """Free the whole mask; it is put together again where it is asked for."""
        self.__dict__.pop("mask", None)

    def _mask_of(self, index: int) -> Mask:
        known = self.slices.get(index) or self.carried.get(index)
        return self.refiner.own(index, self.target) if known is None else known.mask.mask

    def _same_mask(self, other: SlicesResult, index: int) -> bool:
        own, others = (each.slices.get(index) or each.carried.get(index) for each in (self, other))
        same_class = self.target == other.target
        return (own is others and (own is not None or same_class)) or np.array_equal(
            self._mask_of(index), other._mask_of(index)
        )

    def with_correction(self, index: int, state: Corrected, count: int, **changes: Any) -> SlicesResult:
        """With another state of a slice, after `count` more interactions there; it waits to be carried."""
        carried = {other: each for other, each in self.carried.items() if other != index}
        return replace(
            self,
            slices={**self.slices, index: state},
            carried=carried,
            order=(*self.order, *[index] * count),
            waiting=self.waiting | {index},
            **changes,
        )

    def save(self, path: str | Path) -> Path:
        """Write the mask as .nii, .nii.gz, .tif, .npy or .json (COCO, by slices); see `interactify.volumes.save_masks`.

        The volume's spacing and affine come out again. Returns the path; raises OptionError as `save_masks`.
        """
        volume = self.refiner.planes.volume
        return save_masks(path, [self.mask], volume.spacing, volume.affine)

    def without_correction(self, index: int, target: int | None) -> SlicesResult:
        """Without the interactions with a slice, and what was carried from it; `target` is that of no interactions.

        The corrected slices beside it wait to be carried to where it was.
        """
        slices = {other: each for other, each in self.slices.items() if other != index}
        below = max((each for each in slices if each < index), default=None)
        above = min((each for each in slices if each > index), default=None)
        return SlicesResult(
            self.refiner,
            self.target if slices else target,
            slices,
            {other: each for other, each in self.carried.items() if index not in each.sources},
            tuple(each for each in self.order if each != index),
            frozenset({*self.waiting, *(each for each in (below, above) if each is not None)} - {index}),
            before=self,
        )

    def __repr__(self) -> str:
        size, count = "×".join(map(str, self.size)), len(self.order)
        state = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} of {count} interactions unsatisfied"
        return (
            f"SlicesResult({size} voxels, {len(self.slices)} slices corrected, {len(self.carried)} carried, {state}, "
            f"{self.evaluations} evaluations, {self.seconds * 1000:.0f} ms)"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
