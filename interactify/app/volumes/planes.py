"""How a volume is cut and drawn: upright where its file says how it lies, in the proportions of its spacing.

A slice is drawn as radiologists see it: the head or the front at the top, and the patient's right side at the left. It
is only turned over, never resampled: where voxels are longer in one direction, their rows or columns are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, OptionError
from interactify.volumes.volume import Affine, Volume

NAMES: Final = {"S": "Axial", "A": "Coronal", "R": "Sagittal"}  # by what the slices are counted along
PLAIN: Final = ("Slices", "Rows", "Columns")  # where nothing is known of how the volume lies
MOST_REPEATED: Final = 16  # times that a row or column is repeated at most

Voxel = tuple[int, int, int]
"""z, y, x: as arrays are indexed."""


@dataclass(frozen=True)
class Plane:
    """One way to cut a volume into slices.

    Attributes:
        name: what it is called.
        size: (D, H, W) of the volume.
        axis: of D, H, W, that the slices are counted along.
        down, right: the axes that run down and to the right of the picture.
        flips: whether these are drawn backwards.
        steps: how many pixels of the picture a voxel takes, down and to the right; the smaller one is 1.

    >>> plane = Plane("Coronal", (4, 6, 5), 1, 0, 2, (True, False), (2.0, 1.0))
    >>> plane.picture_size, plane.voxel(3, 7, 1), plane.drawn(np.arange(20).reshape(4, 5)).tolist()[0]
    ((8, 5), (0, 1, 3), [15, 16, 17, 18, 19])
    """

    name: str
    size: tuple[int, int, int]
    axis: int
    down: int
    right: int
    flips: tuple[bool, bool]
    steps: tuple[float, float]

    @property
    def count(self) -> int:
        """How many slices there are."""
        return self.size[self.axis]

    @property
    def picture_size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        sides = (self.size[self.down], self.size[self.right])
        height, width = (max(1, round(side * step)) for side, step in zip(sides, self.steps, strict=True))
        return height, width

    def drawn(self, values: NDArray[Any]) -> NDArray[Any]:
        """The picture of a slice's values (h, w) or (h, w, C), whose sides are the two other axes in their order."""
        upright = values if self.down < self.right else values.swapaxes(0, 1)
        rows, columns = self._places()
        return upright[rows[:, None], columns[None]]

    def voxel(self, x: float, y: float, index: int) -> Voxel:
        """The voxel at a pixel of the picture of a slice. Raises InteractionError for one beside the picture."""
        height, width = self.picture_size
        if not (0 <= x < width and 0 <= y < height):
            raise InteractionError(
                f"Expected a point in the slice's picture of {width} by {height} pixels, got x={x:g}, y={y:g}. Try one "
                "inside."
            )
        rows, columns = self._places()
        voxel = [index, index, index]
        voxel[self.down], voxel[self.right] = int(rows[int(y)]), int(columns[int(x)])
        return voxel[0], voxel[1], voxel[2]

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Of each row and each column of the picture, the volume's."""
        found = []
        for axis, flip, step, side in zip(
            (self.down, self.right), self.flips, self.steps, self.picture_size, strict=True
        ):
            count = self.size[axis]
            place = np.minimum((np.arange(side) + 0.5) / step, count - 1).astype(np.intp)
            found.append(count - 1 - place if flip else place)
        return found[0], found[1]

    def to_json(self) -> dict[str, Any]:
        """What the page needs to know of it."""
        height, width = self.picture_size
        return {
            **{"name": self.name, "axis": self.axis, "count": self.count, "width": width, "height": height},
            **{"down": self.down, "right": self.right, "flips": self.flips, "steps": self.steps, "size": self.size},
        }


@dataclass(frozen=True)
class Cut:
    """One slice: how the volume is cut, and the slice's number."""

    plane: Plane
    index: int


def planes_of(volume: Volume) -> tuple[Plane, ...]:
    """The three ways to cut a volume, the usual first one first.

    >>> [plane.name for plane in planes_of(Volume(np.zeros((4, 5, 6)), affine=np.eye(4)))]
    ['Axial', 'Coronal', 'Sagittal']
    """
    if volume.affine is None:
        ways = [
            (PLAIN[0], 0, 1, 2, (False, False)),
            (PLAIN[1], 1, 0, 2, (False, False)),
            (PLAIN[2], 2, 0, 1, (False, False)),
        ]
    else:
        along, forward = _directions(volume.affine)
        ways = []
        for slices, down, right in (("S", "A", "R"), ("A", "S", "R"), ("R", "S", "A")):
            flips = forward[along[down]], forward[along[right]]  # up, front and right are at the top and at the left
            ways.append((NAMES[slices], along[slices], along[down], along[right], flips))
    return tuple(
        Plane(name, volume.size, axis, down, right, flips, _steps(volume.spacing[down], volume.spacing[right]))
        for name, axis, down, right, flips in ways
    )


def read_cut(text: str | None, planes: Sequence[Plane]) -> Cut:
    """Read the slice that a page names, "axis,index"; the middle one of the first plane where it names none.

    Raises:
        OptionError: the text is something else, or there is no such slice.

    >>> read_cut("2,3", planes_of(Volume(np.zeros((4, 5, 6))))).plane.name
    'Columns'
    """
    if text is None:
        return Cut(planes[0], planes[0].count // 2)
    words = text.split(",")
    if len(words) == 2 and all(word.isascii() and word.isdigit() and len(word) < 8 for word in words):
        plane = next((each for each in planes if each.axis == int(words[0])), None)
        if plane is not None and int(words[1]) < plane.count:
            return Cut(plane, int(words[1]))
    known = ", ".join(f"{plane.axis},0 to {plane.axis},{plane.count - 1}" for plane in planes)
    raise OptionError(f"Expected a slice as axis,index from {known}, got {text[:80]!r}.")


def _directions(affine: Affine) -> tuple[dict[str, int], dict[int, bool]]:
    """Which axis of (D, H, W) runs to the right (R), to the front (A) and up (S) most; and whether it runs forward."""
    columns = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    cosines = columns[:, ::-1]  # the affine counts x, y, z; arrays z, y, x
    best = max(
        permutations(range(3)), key=lambda axes: sum(abs(cosines[world, axis]) for world, axis in enumerate(axes))
    )
    along = dict(zip("RAS", best, strict=True))
    return along, {axis: bool(cosines[world, axis] >= 0) for world, axis in enumerate(best)}


def _steps(down: float, right: float) -> tuple[float, float]:
    least = min(down, right)
    return min(MOST_REPEATED, down / least), min(MOST_REPEATED, right / least)
