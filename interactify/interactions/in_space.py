"""Clicks in a volume, and points of all interactions with one: as in a photo, with a z.

x to the right, y down, z through the slices, in voxels, whose centres are at whole numbers; checked against a volume's
(D, H, W). Scribbles, boxes, lassos and masks are in `voxel_gestures.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from interactify.errors import InteractionError, text_of
from interactify.interactions.click import Click, Interaction
from interactify.interactions.validation import number, polarity, rounded


class VoxelInteraction(Interaction):
    """One interaction with a volume; its `within` takes (D, H, W)."""

    @abstractmethod
    def within(self, size: Sequence[int]) -> VoxelInteraction:
        """The same interaction, checked, in whole voxels; `size` is (D, H, W). Raises InteractionError."""


@dataclass(frozen=True, repr=False)
class VoxelClick(Click, VoxelInteraction):
    """One click in a volume: a voxel that belongs to the object (`positive`), or does not.

    >>> VoxelClick(12, 8, z=30)
    VoxelClick(x=12, y=8, z=30, positive=True)
    """

    z: float = field(kw_only=True)

    def __repr__(self) -> str:
        return f"VoxelClick(x={self.x!r}, y={self.y!r}, z={self.z!r}, positive={self.positive!r})"

    def within(self, size: Sequence[int]) -> VoxelClick:
        """The click checked against a volume (D, H, W), in whole voxels. Raises InteractionError."""
        if self.label is not None:
            raise InteractionError(
                f"Expected a click in a volume to be about the object, got label={self.label!r}. Try another session "
                "with target=…, the class."
            )
        x, y, z = voxel_at(self.x, self.y, self.z, size)
        return VoxelClick(x, y, polarity(self.positive), z=z)

    def to_json(self) -> dict[str, Any]:
        """Return the click as a dict for `json.dumps`.

        Raises InteractionError where a coordinate is not a finite number or positive is not a bool.

        >>> VoxelClick(3, 4, False, z=5).to_json()
        {'kind': 'voxel_click', 'x': 3, 'y': 4, 'z': 5, 'positive': False}
        """
        place = {name: number(name, getattr(self, name)) for name in ("x", "y", "z")}
        return {"kind": "voxel_click", **place, "positive": polarity(self.positive)}


def voxel_at(x: Any, y: Any, z: Any, size: Sequence[int], what: str = "click") -> tuple[int, int, int]:
    """The voxel that contains a point, x, y, z; `size` is (D, H, W). Raises InteractionError.

    Halves are rounded up, as for the pixels of a photo.
    """
    check_in_volume(size, what)
    place = {name: rounded(number(name, value, f"a {what}'s")) for name, value in (("x", x), ("y", y), ("z", z))}
    sides = dict(zip("zyx", size, strict=True))
    if any(not 0 <= place[name] < sides[name] for name in "xyz"):
        swapped = 0 <= place["z"] < sides["x"] and 0 <= place["x"] < sides["z"] and 0 <= place["y"] < sides["y"]
        hint = " Are x and z swapped? z counts the slices, the array's first side." if swapped else ""
        ranges = ", ".join(f"{name} from 0 to {sides[name] - 1}" for name in "xyz")
        given = ", ".join(f"{name}={text_of(value)}" for name, value in (("x", x), ("y", y), ("z", z)))
        raise InteractionError(
            f"Expected a {what} with {ranges}, since the volume is {' × '.join(map(str, size))} (slices, rows, "
            f"columns); got {given}, outside the volume.{hint}"
        )
    return place["x"], place["y"], place["z"]


def check_in_volume(size: Sequence[int], what: str = "click") -> None:
    """Raise InteractionError for an interaction with a volume where there is a photo, of (H, W)."""
    if len(size) != 3:
        raise InteractionError(
            f"Expected a {what} in a photo, x and y alone, got one in a volume, with z. Try Click(x=…, y=…)."
        )
