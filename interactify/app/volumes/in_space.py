"""A session under a network of volumes on the page: every slice, in each of the three directions, shows its mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from interactify.app.volumes.open_volume import BY_TIME, OpenVolume, Run, points_on
from interactify.app.volumes.planes import Cut, Plane
from interactify.errors import InteractionError
from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Box, Lasso, Scribble
from interactify.interactions.in_space import VoxelClick, VoxelInteraction
from interactify.interactions.voxel_gestures import (
    VoxelBox,
    VoxelLasso,
    VoxelScribble,
    voxel_interaction_from_json,
    voxel_interactions,
)
from interactify.volumes.block import Block
from interactify.volumes.result import VolumeResult
from interactify.volumes.session import VolumeSession
from interactify.web.actions import MAX_INTERACTIONS


class VolumeInSpace(OpenVolume[VolumeSession]):
    """A `VolumeSession`."""

    kinds: ClassVar = ("click", "scribble", "box", "lasso")
    knows_probability: ClassVar = True

    @property
    def planes(self) -> tuple[Plane, ...]:
        return self.shown.planes

    @property
    def version(self) -> object:
        return self.session.steps

    def is_repeatable(self, added: bool) -> bool:
        return not BY_TIME & {step.result.status for step in self.session.steps[-1 if added else 0 :]}

    def mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        return _mask_of(self.session.result, cut)

    def initial_mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        return _mask_of(self.session.refiner.initial_step(self.session.target).result, cut)

    def uncertainty_of(self, cut: Cut) -> NDArray[np.float32]:
        result = self.session.result
        probability = result.probability_in(_block_of(result, cut)).squeeze(cut.plane.axis)
        return cut.plane.drawn(1 - np.abs(2 * probability - 1))

    def preview_of(self, cut: Cut) -> NDArray[np.bool_] | None:
        return None

    def interactions(self) -> list[dict[str, Any]]:
        unsatisfied = self.session.result.unsatisfied
        found: list[dict[str, Any]] = []
        for step in self.session.steps:
            for each in step.interactions[len(found) :]:
                fails = any(other is each or other == each for other in unsatisfied)
                found.append(
                    {
                        **_shape(each),
                        "positive": getattr(each, "positive", True),
                        "ms": step.result.seconds * 1000,
                        "state": "unsatisfied" if fails else "satisfied",
                        "reason": "The network can't be brought to agree." if fails else "",
                    }
                )
        return found

    def _drawn(self, interactions: Sequence[Interaction], cut: Cut) -> dict[str, Any]:
        voxels = voxel_interactions([_in_space(each, cut) for each in interactions], self.session.size)
        return {"interactions": [each.to_json() for each in voxels]}

    def _adding(self, content: Mapping[str, Any]) -> Run:
        given = content.get("interactions")
        if not isinstance(given, list) or len(given) > MAX_INTERACTIONS:
            raise InteractionError(
                f"Expected a list of at most {MAX_INTERACTIONS} interactions, got {type(given).__name__}."
            )
        interactions = [voxel_interaction_from_json(each) for each in given]
        return lambda opened: opened.session.add(interactions)


def _mask_of(result: VolumeResult, cut: Cut) -> NDArray[np.bool_]:
    return cut.plane.drawn(result.mask_in(_block_of(result, cut)).squeeze(cut.plane.axis))


def _block_of(result: VolumeResult, cut: Cut) -> Block:
    start, size = [0, 0, 0], list(result.size)
    start[cut.plane.axis], size[cut.plane.axis] = cut.index, 1
    return Block((start[0], start[1], start[2]), (size[0], size[1], size[2]))


def _in_space(each: Interaction, cut: Cut) -> VoxelInteraction:
    """What was drawn on a slice's picture, in voxels."""
    of_rows = cut.plane.axis == 0
    if isinstance(each, Click):
        ((x, y, z),) = points_on(cut, [(each.x, each.y)])
        return VoxelClick(x, y, each.positive, z=z)
    if isinstance(each, Scribble):
        points = points_on(cut, each.points)
        if not of_rows:  # a wide stroke in space would reach into the slices beside
            return VoxelScribble(points, each.positive, 1.0, each.weight)
        return VoxelScribble([(x, y) for x, y, _ in points], each.positive, each.width, each.weight, z=cut.index)
    if not isinstance(each, (Box, Lasso)):
        raise InteractionError(f"Expected a click, scribble, box or lasso, got {type(each).__name__}.")
    if not of_rows:
        raise InteractionError(
            f"Expected boxes and lassos on slices along the volume's first axis, got one on {cut.plane.name.lower()} "
            "slices. Try another plane, or clicks and scribbles."
        )
    if isinstance(each, Lasso):
        return VoxelLasso([(x, y) for x, y, _ in points_on(cut, each.points)], z=cut.index)
    ends = points_on(cut, [(each.left, each.top), (each.right, each.bottom)])
    left, right = sorted((ends[0][0], ends[-1][0]))
    top, bottom = sorted((ends[0][1], ends[-1][1]))
    return VoxelBox(left, top, right, bottom, z=cut.index)


def _shape(each: Interaction) -> dict[str, Any]:
    """An interaction's kind, and its points in the volume."""
    if isinstance(each, VoxelClick):
        return {"kind": "click", "points": [(each.x, each.y, each.z)]}
    if isinstance(each, VoxelScribble):
        points = each.points if each.z is None else [(x, y, each.z) for x, y in each.points]
        return {"kind": "scribble", "points": points, "width": each.width}
    if isinstance(each, VoxelBox):
        first, last = each.slices
        return {"kind": "box", "points": [(each.left, each.top, first), (each.right, each.bottom, last)]}
    if isinstance(each, VoxelLasso):
        return {"kind": "lasso", "points": [(x, y, each.z) for x, y in each.points]}
    return {"kind": "mask", "points": []}
