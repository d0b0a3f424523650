"""Interactions with a volume beyond the click: scribbles, boxes, lassos and initial masks, on a slice or in space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from interactify.errors import InteractionError, OptionError, with_type
from interactify.interactions.click import check_keys, is_list
from interactify.interactions.gestures import (
    Box,
    Lasso,
    Mask,
    Points,
    Scribble,
    above_zero,
    checked_mask,
    pairs,
    written,
)
from interactify.interactions.in_space import VoxelClick, VoxelInteraction, check_in_volume, voxel_at
from interactify.interactions.validation import number, polarity
from interactify.masks.run_lengths import mask_of_rle, run_lengths


@dataclass(frozen=True)
class VoxelScribble(VoxelInteraction):
    """A stroke whose voxels all belong to the object (`positive`), or do not. It counts as `weight` clicks.

    Args:
        points: of a polyline, in voxels, at least one: (x, y) with z=…, on a slice; or (x, y, z), in space.
        positive: False for voxels that are not the object.
        width: of the stroke, in voxels.
        weight: in clicks, above 0.
        z: the slice; None for a line in space.

    >>> VoxelScribble([(1, 2), (6, 3)], z=4).within((8, 10, 12)).points
    ((1, 2), (6, 3))
    """

    points: Sequence[tuple[float, ...]]
    positive: bool = True
    width: float = 1.0
    weight: float = 1.0
    z: float | None = field(default=None, kw_only=True)

    @property
    def on_slice(self) -> Scribble:
        """The same stroke as one in the picture that the slice is."""
        return Scribble(self.points, self.positive, self.width, self.weight)  # type: ignore[arg-type]

    def within(self, size: Sequence[int]) -> VoxelScribble:
        """The scribble checked against a volume (D, H, W), in whole voxels. Raises InteractionError."""
        check_in_volume(size, "scribble")
        what = "a scribble's"
        width, weight = above_zero("width", self.width, what), above_zero("weight", self.weight, what)
        positive = polarity(self.positive, what)
        if self.z is not None:
            points, z = _on_slice(self.points, self.z, size, "scribble", 1)
            return VoxelScribble(points, positive, width, weight, z=z)
        places = pairs(self.points, "scribble", 1, ("x", "y", "z"))
        return VoxelScribble(
            tuple(voxel_at(x, y, z, size, "scribble's point") for x, y, z in places), positive, width, weight
        )

    def to_json(self) -> dict[str, Any]:
        what = "a scribble's"
        axes = ("x", "y", "z") if self.z is None else ("x", "y")
        entry = {
            "kind": "voxel_scribble",
            "points": written(self.points, "scribble", axes),
            "positive": polarity(self.positive, what),
            "width": number("width", self.width, what),
            "weight": number("weight", self.weight, what),
        }
        return entry if self.z is None else {**entry, "z": number("z", self.z, what)}


@dataclass(frozen=True)
class VoxelBox(VoxelInteraction):
    """A box that the object does not leave; or, negative, one that it does not enter.

    On a slice it speaks of this slice alone: the object's voxels there are inside, and all others of the slice are
    background. In space, the whole object is inside.

    Args:
        left, top, right, bottom: voxels, inclusive.
        z: a slice; or the first and the last slice, (first, last), for a box in space.
        positive: False where no voxel of the object is inside; those outside are open.

    >>> VoxelBox(2, 3, 6, 7, z=(1, 5)).within((8, 10, 12)).slices
    (1, 5)
    """

    left: float
    top: float
    right: float
    bottom: float
    z: float | tuple[float, float] = field(kw_only=True)
    positive: bool = True

    @property
    def on_slice(self) -> Box:
        """The same box as one in the picture that a slice is."""
        return Box(self.left, self.top, self.right, self.bottom)

    @property
    def scope(self) -> int | None:
        """The slice that it speaks of; None for the whole volume."""
        return None if isinstance(self.z, tuple) else int(self.z)

    @property
    def slices(self) -> tuple[int, int]:
        """Its first and last slice."""
        first, last = self.z if isinstance(self.z, tuple) else (self.z, self.z)
        return int(first), int(last)

    def within(self, size: Sequence[int]) -> VoxelBox:
        """The box checked against a volume (D, H, W), in whole voxels. Raises InteractionError."""
        check_in_volume(size, "box")
        ends = tuple(self.z) if is_list(self.z) else (self.z, self.z)
        if len(ends) != 2:
            raise InteractionError(f"Expected a box's z to be a slice, or (first, last), got {with_type(self.z)}.")
        left, top, first = voxel_at(self.left, self.top, ends[0], size, "box's corner")
        right, bottom, last = voxel_at(self.right, self.bottom, ends[1], size, "box's corner")
        if right < left or bottom < top or last < first:
            raise InteractionError(
                f"Expected left, top, right, bottom and z=(first, last); got {self}, with an end before its start."
            )
        z = (first, last) if is_list(self.z) else first
        return VoxelBox(left, top, right, bottom, z=z, positive=polarity(self.positive, "a box's"))

    def to_json(self) -> dict[str, Any]:
        sides = {name: number(name, getattr(self, name), "a box's") for name in ("left", "top", "right", "bottom")}
        z = [number("z", each, "a box's") for each in self.z] if isinstance(self.z, tuple) else number("z", self.z)
        return {"kind": "voxel_box", **sides, "z": z, "positive": polarity(self.positive, "a box's")}


@dataclass(frozen=True)
class VoxelLasso(VoxelInteraction):
    """A closed outline on a slice that the object does not leave there; or, negative, that it does not enter.

    Args:
        points: (x, y) of the outline's corners, in voxels, at least three; the last is joined to the first.
        z: the slice, of which alone it speaks.
        positive: False where no voxel of the object is inside.
    """

    points: Sequence[tuple[float, float]]
    z: float = field(kw_only=True)
    positive: bool = True

    @property
    def on_slice(self) -> Lasso:
        """The same lasso as one in the picture that the slice is."""
        return Lasso(self.points)

    @property
    def scope(self) -> int:
        """The slice that it speaks of."""
        return int(self.z)

    @property
    def slices(self) -> tuple[int, int]:
        """Its first and last slice."""
        return int(self.z), int(self.z)

    def within(self, size: Sequence[int]) -> VoxelLasso:
        """The lasso checked against a volume (D, H, W), in whole voxels. Raises InteractionError."""
        check_in_volume(size, "lasso")
        points, z = _on_slice(self.points, self.z, size, "lasso", 3)
        return VoxelLasso(points, z=z, positive=polarity(self.positive, "a lasso's"))

    def to_json(self) -> dict[str, Any]:
        positive = polarity(self.positive, "a lasso's")
        z = number("z", self.z, "a lasso's")
        return {"kind": "voxel_lasso", "points": written(self.points, "lasso"), "z": z, "positive": positive}


@dataclass(frozen=True, eq=False)
class VoxelMask(Mask, VoxelInteraction):
    """An initial mask of a volume to refine: it is the result, and later clicks change those pieces they contradict.

    Args:
        mask: (D, H, W) bool, of the volume's size; or an array of only 0 and 1, or only 0 and 255.
    """

    def within(self, size: Sequence[int]) -> VoxelMask:
        """The mask checked against a volume (D, H, W). Raises InteractionError."""
        check_in_volume(size, "mask")
        return VoxelMask(checked_mask(self.mask, tuple(size), "volume"))

    def to_json(self) -> dict[str, Any]:
        mask = np.asarray(self.mask)
        if mask.ndim != 3:
            raise InteractionError(f"Expected a mask of a volume, (D, H, W), got {with_type(self.mask)}.")
        rle = run_lengths(mask.reshape(-1, mask.shape[-1]))
        return {"kind": "voxel_mask", "depth": mask.shape[0], "rle": rle}


def voxel_interactions(interactions: object, size: Sequence[int]) -> tuple[VoxelInteraction, ...]:
    """Interactions checked against a volume (D, H, W), in whole voxels. Raises InteractionError for anything else.

    >>> voxel_interactions([VoxelClick(1.6, 2, z=3)], (4, 5, 6))
    (VoxelClick(x=2, y=2, z=3, positive=True),)
    """
    if not is_list(interactions):
        raise InteractionError(f"Expected a list of interactions, [VoxelClick(…), …], got {with_type(interactions)}.")
    for each in interactions:
        if not isinstance(each, VoxelInteraction):
            raise InteractionError(
                f"Expected an interaction with a volume, got {with_type(each)}. Try VoxelClick(x=…, y=…, z=…)."
            )
    return tuple(each.within(size) for each in interactions)


def voxel_interaction_from_json(entry: Mapping[str, Any]) -> VoxelInteraction:
    """The interaction that its `to_json` wrote; not checked against any volume. Raises InteractionError.

    >>> voxel_interaction_from_json({"kind": "voxel_box", "left": 3, "top": 4, "right": 20, "bottom": 30, "z": [1, 2]})
    VoxelBox(left=3, top=4, right=20, bottom=30, z=(1, 2), positive=True)
    """
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InteractionError(
            f"Expected an interaction of one of the kinds {', '.join(_KINDS)}; got {with_type(kind)}."
        )
    needed, allowed, make = _KINDS[kind]
    check_keys(entry, needed, ("kind", *allowed), f"Expected a {kind} with {', '.join(needed)}")
    return make(**{key: value for key, value in entry.items() if key != "kind"})


def _box_of(z: Any, **sides: Any) -> VoxelBox:
    return VoxelBox(**sides, z=tuple(z) if isinstance(z, list) else z)


def _mask_of(depth: Any, rle: Any) -> VoxelMask:
    try:
        rows = mask_of_rle(rle)
        return VoxelMask(rows.reshape(int(depth), -1, rows.shape[1]))
    except (OptionError, MemoryError, TypeError, ValueError) as cause:
        raise InteractionError(f"Expected a mask as run lengths of all slices below each other: {cause}") from cause


_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., VoxelInteraction]]] = {
    "voxel_click": (("x", "y", "z"), ("positive",), VoxelClick),
    "voxel_scribble": (("points",), ("positive", "width", "weight", "z"), VoxelScribble),
    "voxel_box": (("left", "top", "right", "bottom", "z"), ("positive",), _box_of),
    "voxel_lasso": (("points", "z"), ("positive",), VoxelLasso),
    "voxel_mask": (("depth", "rle"), (), _mask_of),
}


def _on_slice(points: Any, z: Any, size: Sequence[int], what: str, least: int) -> tuple[Points, int]:
    """Points (x, y) of a slice, and the slice, in whole voxels."""
    places = [voxel_at(x, y, z, size, f"{what}'s point") for x, y in pairs(points, what, least)]
    return tuple((x, y) for x, y, _ in places), places[0][2]
