"""A session under a network of images on the page: the slices along one axis, each a photo for the network.

A correction is shown in its slice as soon as it is answered there, and then carried to the slices beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from interactify.app.volumes.open_volume import BY_TIME, OpenVolume, Run, points_on
from interactify.app.volumes.planes import Cut, Plane
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.errors import InteractionError, with_type
from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble, interaction_from_json
from interactify.optim.status import Status
from interactify.slices.result import InSlice, SlicesResult
from interactify.slices.session import SliceSession
from interactify.web.actions import MAX_INTERACTIONS


class VolumeInSlices(OpenVolume[SliceSession]):
    """A `SliceSession`, whose slices are those of the usual first plane."""

    kinds: ClassVar = ("click", "scribble", "box", "lasso", "paint")

    def __init__(self, session: SliceSession, shown: ShownVolume) -> None:
        super().__init__(session, shown)
        self._answered: SlicesResult | None = None  # not carried yet, and not shown

    @property
    def planes(self) -> tuple[Plane, ...]:
        return tuple(plane for plane in self.shown.planes if plane.axis == self.session.axis)

    @property
    def version(self) -> object:
        return self.session.result

    def is_repeatable(self, added: bool) -> bool:
        result = self.session.result
        before = [] if added else [answer for state in result.slices.values() for answer in state.answers]
        return not result.waiting and not BY_TIME & {result.status, *(answer.status for answer in before)}

    def mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        return cut.plane.drawn(self.session.result.mask_of(cut.index))

    def initial_mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        return cut.plane.drawn(self.session.refiner.own(cut.index, self.session.target))

    def preview_of(self, cut: Cut) -> NDArray[np.bool_] | None:
        answered, self._answered = self._answered, None
        return None if answered is None else cut.plane.drawn(answered.mask_of(cut.index))

    def interactions(self) -> list[dict[str, Any]]:
        unsatisfied = self.session.result.unsatisfied
        return [
            {
                **self._shape(each),
                "positive": getattr(each.interaction, "positive", True),
                "ms": None,
                "state": "unsatisfied" if each in unsatisfied else "satisfied",
                "reason": "The network can't be brought to agree." if each in unsatisfied else "",
            }
            for each in self.session.interactions
        ]

    def _shape(self, each: InSlice) -> dict[str, Any]:
        """An interaction's kind, and its points in the volume."""
        own = each.interaction
        voxel = self.session.refiner.planes.voxel

        def in_volume(points: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
            found = [voxel(each.slice, Click(x, y)) for x, y in points]
            return [(point.x, point.y, point.z) for point in found]

        if isinstance(own, Click):
            return {"kind": "click", "points": in_volume([(own.x, own.y)])}
        if isinstance(own, Box):
            return {"kind": "box", "points": in_volume([(own.left, own.top), (own.right, own.bottom)])}
        if isinstance(own, (Scribble, Paint)):
            kind = "scribble" if isinstance(own, Scribble) else "paint"
            return {"kind": kind, "points": in_volume(list(own.points)), "width": own.width}
        if isinstance(own, Lasso):
            return {"kind": "lasso", "points": in_volume(list(own.points))}
        return {"kind": "mask", "points": []}

    def _drawn(self, interactions: Sequence[Interaction], cut: Cut) -> dict[str, Any]:
        own = [self._in_slice(each, cut).within(self.session.refiner.planes.size) for each in interactions]
        result = self.session.result
        if result.origin(cut.index) == "carried" and any(isinstance(each, Paint) for each in own):
            own.insert(0, Mask(result.mask_of(cut.index)))  # a stroke changes the mask that is seen there
        return {"at": cut.index, "interactions": [each.to_json() for each in own]}

    def _in_slice(self, each: Interaction, cut: Cut) -> Interaction:
        """What was drawn on a slice's picture, in the slice's own pixels."""
        axes = [axis for axis in (0, 1, 2) if axis != cut.plane.axis]

        def own(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
            voxels = [point[::-1] for point in points_on(cut, points)]
            return [(voxel[axes[1]], voxel[axes[0]]) for voxel in voxels]

        if isinstance(each, Click):
            ((x, y),) = own([(each.x, each.y)])
            return Click(x, y, each.positive)
        if isinstance(each, Scribble):
            return Scribble(own(each.points), each.positive, each.width, each.weight)
        if isinstance(each, Paint):
            return Paint(own(each.points), each.width, each.positive)
        if isinstance(each, Lasso):
            return Lasso(own(each.points))
        if not isinstance(each, Box):
            raise InteractionError(f"Expected a click, scribble, box, lasso or stroke, got {type(each).__name__}.")
        ends = own([(each.left, each.top), (each.right, each.bottom)])
        (left, right), (top, bottom) = (sorted((ends[0][side], ends[-1][side])) for side in (0, 1))
        return Box(left, top, right, bottom)

    def _adding(self, content: Mapping[str, Any]) -> Run:
        given, at = content.get("interactions"), content.get("at")
        if not isinstance(given, list) or len(given) > MAX_INTERACTIONS or not isinstance(at, int):
            raise InteractionError(
                f"Expected a list of at most {MAX_INTERACTIONS} interactions and their slice, got {with_type(content)}."
            )
        interactions = [interaction_from_json(each) for each in given]

        def add(opened: VolumeInSlices) -> None:
            result = opened.session.add(interactions, at, carry=False)
            if result.waiting and result.status != Status.CANCELLED:
                opened._answered = result
                opened.session.carry()

        return add
