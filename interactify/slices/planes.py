"""A volume as a row of slices along one of its axes: where a voxel lies in its slice, and each slice as a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, OptionError, with_type
from interactify.interactions.click import Click
from interactify.interactions.in_space import VoxelClick
from interactify.volumes.volume import Volume


@dataclass(frozen=True, eq=False)
class Planes:
    """The slices of a volume.

    Attributes:
        volume: of which only the slices that are needed are read.
        axis: of (D, H, W), that the slices are counted along.

    Raises: OptionError for another axis.

    >>> planes = Planes(Volume(np.zeros((4, 5, 6))), axis=1)
    >>> planes.count, planes.size, planes.place(VoxelClick(3, 2, z=1))
    (5, (4, 6), (2, Click(x=3, y=1, positive=True)))
    """

    volume: Volume
    axis: int = 0

    def __post_init__(self) -> None:
        whole = isinstance(self.axis, (int, np.integer)) and not isinstance(self.axis, bool)
        if not whole or self.axis not in (0, 1, 2):
            raise OptionError(
                f"Expected axis 0, 1 or 2, of slices, rows or columns, got {with_type(self.axis)}. Try axis=0."
            )

    @property
    def count(self) -> int:
        """How many slices there are."""
        return self.volume.size[self.axis]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of a slice: the other two axes in their order."""
        rows, columns = (side for axis, side in enumerate(self.volume.size) if axis != self.axis)
        return rows, columns

    def photo(self, index: int) -> NDArray[Any]:
        """A slice as an array (h, w), or (h, w, C) where the volume has several channels, in memory of its own."""
        array = self.volume.array
        part: list[slice] = [slice(None)] * 3
        part[self.axis] = slice(index, index + 1)
        if len(array.shape) == 3:
            return np.array(array[tuple(part)]).squeeze(self.axis)
        own = np.array(array[slice(None), part[0], part[1], part[2]]).squeeze(self.axis + 1)
        return own[0] if len(own) == 1 else np.moveaxis(own, 0, -1)

    def place(self, click: VoxelClick) -> tuple[int, Click]:
        """The slice that a checked click lies in, and the click in that slice's pixels."""
        place = [int(click.z), int(click.y), int(click.x)]
        index = place.pop(self.axis)
        return index, Click(place[1], place[0], click.positive)

    def voxel(self, index: int, click: Click) -> VoxelClick:
        """The inverse of `place`."""
        place = [int(click.y), int(click.x)]
        place.insert(self.axis, index)
        return VoxelClick(place[2], place[1], click.positive, z=place[0])

    def checked(self, index: Any) -> int:
        """The number of a slice, from 0 on. Raises InteractionError where there is none of that number."""
        whole = isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.timedelta64))
        if not whole or not 0 <= index < self.count:
            raise InteractionError(
                f"Expected a slice from 0 to {self.count - 1}, got {with_type(index)}. Try add([…], at=0)."
            )
        return int(index)
