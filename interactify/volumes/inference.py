"""nnInteractive's words over a session on a volume, so that code written for its inference session runs.

Isensee et al., "nnInteractive: Redefining 3D Promptable Segmentation", 2025. The axes are those of the array, in its
order: coordinates (a, b, c) are the voxel `image[0, a, b, c]`, and boxes are half-open, [[a1, a2], [b1, b2], [c1, c2]].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from interactify.errors import InteractionError, NoPhotoError, with_type
from interactify.interactions.gestures import checked_mask
from interactify.interactions.in_space import VoxelClick, VoxelInteraction
from interactify.interactions.voxel_gestures import VoxelBox, VoxelLasso, VoxelMask, VoxelScribble
from interactify.masks.polygons import polygons
from interactify.refinement.wrapped import Wrapped
from interactify.volumes.session import VolumeSession

Bounds: TypeAlias = list[list[int]]
"""[[a1, a2], [b1, b2], [c1, c2]], half-open, along the array's axes."""

TOUCHING: Final = 3**0.5 + 1e-6  # the farthest that voxels of one stroke are from the next one
MOST_VOXELS: Final = 20_000  # of a scribble


class InferenceSession:
    """One network and the volume that it is shown, in nnInteractive's words; the mask is written into a target buffer.

    Every `add_…` takes `include_interaction`, False for what does not belong to the object, and `run_prediction`, False
    to wait for the next one; it returns the bounds of the voxels that changed, None where none did. Keywords that set
    nnInteractive's own network are not known.

    >>> net = interactify.wrap(nn.Conv3d(1, 1, 3, padding=1), mean=0, std=1)
    >>> session = InferenceSession(net)
    >>> session.set_image(np.zeros((1, 8, 10, 12), np.float32))
    >>> buffer = np.zeros((8, 10, 12), np.uint8)
    >>> session.set_target_buffer(buffer)
    >>> bounds = session.add_point_interaction((4, 5, 6), include_interaction=True)
    >>> int(buffer[4, 5, 6])
    1
    """

    supported_interactions: Mapping[str, bool] = dict.fromkeys(
        ("points", "bbox2d", "bbox3d", "scribble", "lasso"), True
    )
    supports_initial_label = True
    supports_undo = True
    preferred_scribble_thickness: Sequence[int] = (2, 2, 2)

    def __init__(self, net: Wrapped, target: int | str | None = None) -> None:
        self.net = net
        self.target = target
        self.session: VolumeSession | None = None
        self.target_buffer: NDArray[Any] | Tensor | None = None
        self.original_image_shape: tuple[int, ...] | None = None
        self._waiting: list[VoxelInteraction] = []

    def set_image(self, image: Any, image_properties: Any = None) -> None:
        """Open a volume (C, A, B, C'), in its own values; it needs a target buffer of its own.

        Raises as `Interactive.session`. `image_properties` are not used.
        """
        opened = VolumeSession(self.net, image, self.target)
        if self.session is not None:
            self.session.close()
        self.session, self.target_buffer, self._waiting = opened, None, []
        self.original_image_shape = (opened.volume.channels, *opened.size)

    def set_target_buffer(self, target_buffer: NDArray[Any] | Tensor) -> None:
        """The array or tensor, of the volume's size, that masks are written into: 1 for the object, 0 elsewhere.

        Raises InteractionError for one of another size, and NoPhotoError before `set_image`.
        """
        size = self._opened().size
        if tuple(getattr(target_buffer, "shape", ())) != size:
            raise InteractionError(
                f"Expected a target buffer of the volume's size, {size}, got {with_type(target_buffer)}. Try "
                f"np.zeros({size}, np.uint8)."
            )
        self.target_buffer = target_buffer

    def add_point_interaction(
        self,
        coordinates: Sequence[float],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
    ) -> Bounds | None:
        """A voxel that belongs to the object, or does not. Raises InteractionError for one outside the volume."""
        try:
            z, y, x = coordinates
        except (TypeError, ValueError):
            raise InteractionError(f"Expected three coordinates of a point, got {with_type(coordinates)}.") from None
        return self._add([VoxelClick(x, y, include_interaction, z=z)], run_prediction)

    def add_bbox_interaction(
        self,
        bbox_coords: Sequence[Sequence[int]],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
    ) -> Bounds | None:
        """A half-open box that the object does not leave, or does not enter.

        A box of one voxel's thickness speaks of its plane alone, along whichever axis. Raises InteractionError.
        """
        size = self._opened().size
        bounds = _bounds(bbox_coords, size)
        (z1, z2), (y1, y2), (x1, x2) = bounds
        thin = [axis for axis, (first, end) in enumerate(bounds) if end - first == 1]
        boxes: list[VoxelInteraction]
        if include_interaction and thin and 0 not in thin:
            boxes = _around_in_plane(bounds, thin[0], size)
        else:
            z = z1 if include_interaction and thin else (z1, z2 - 1)
            boxes = [VoxelBox(x1, y1, x2 - 1, y2 - 1, z=z, positive=include_interaction)]
        return self._add(boxes, run_prediction)

    def add_scribble_interaction(
        self,
        scribble_image: NDArray[Any],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
        interaction_bbox: Sequence[Sequence[int]] | None = None,
    ) -> Bounds | None:
        """Strokes, drawn as voxels above 0 into an array of the volume's size, or of `interaction_bbox`'s.

        Raises InteractionError for an array of another size, without a stroke, or with more than 20000 voxels.
        """
        drawn, corner = self._drawn(scribble_image, interaction_bbox)
        voxels = np.argwhere(drawn)[:, ::-1] + corner[::-1]
        if len(voxels) > MOST_VOXELS:
            raise InteractionError(
                f"Expected a scribble of at most {MOST_VOXELS} voxels, got {len(voxels)}. Try a thinner one."
            )
        strokes = _strokes(voxels)
        total = sum(map(len, strokes))
        return self._add(
            [VoxelScribble(line.tolist(), include_interaction, weight=len(line) / total) for line in strokes],
            run_prediction,
        )

    def add_lasso_interaction(
        self,
        lasso_image: NDArray[Any],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
        interaction_bbox: Sequence[Sequence[int]] | None = None,
    ) -> Bounds | None:
        """A closed contour, or a filled shape, on one slice along the array's first axis, drawn as for a scribble.

        Raises InteractionError also for a contour that is not on one such slice, or of several pieces.
        """
        drawn, corner = self._drawn(lasso_image, interaction_bbox)
        slices = np.flatnonzero(drawn.any((1, 2)))
        if len(slices) != 1:
            raise InteractionError(
                f"Expected a lasso on one slice of the array's first axis, got one on {len(slices)} slices. Try "
                "add_scribble_interaction or add_bbox_interaction for other planes."
            )
        z = int(slices[0])
        found = polygons(ndimage.binary_fill_holes(drawn[z]))
        if len(found) != 1:
            raise InteractionError(
                f"Expected one closed contour of a lasso, got {len(found)} pieces. Try a closed one."
            )
        points = centres_along(np.asarray(found[0].outer, float)) + corner[[2, 1]]
        lasso = VoxelLasso(points.tolist(), z=z + int(corner[0]), positive=include_interaction)
        return self._add([lasso], run_prediction)

    def add_initial_seg_interaction(
        self, initial_seg: NDArray[Any], run_prediction: bool = False, override_capability_checks: bool = False
    ) -> Bounds | None:
        """Begin from a mask of the volume's size, without the interactions so far: it is the result.

        Raises InteractionError for a mask of another size, or of other values than 0 and 1.
        """
        mask = VoxelMask(checked_mask(initial_seg, self._opened().size, "volume"))
        self._opened().reset()
        self._waiting = []
        return self._add([mask], True)  # no network is run for a mask

    def predict(self) -> Bounds | None:
        """Refine until all interactions that wait are satisfied, and write the mask into the target buffer."""
        session = self._opened()
        added, self._waiting = self._waiting, []
        return self._written(session.result.mask, session.add(added).mask) if added else None

    _predict = predict  # its clients call it by this name where predictions are run by hand

    def undo(self) -> bool:
        """Undo the last prediction, or reset; whether there was one."""
        session = self._opened()
        done = session.can_undo
        if done:
            self._written(session.result.mask, session.undo().mask)
        return done

    def reset_interactions(self) -> None:
        """Remove all interactions, for the next object, and set the target buffer to 0."""
        self._opened().reset()
        self._waiting = []
        if self.target_buffer is not None:
            self.target_buffer[...] = 0

    def _opened(self) -> VolumeSession:
        if self.session is None:
            raise NoPhotoError("Expected set_image(volume) before anything else. Try that first.")
        return self.session

    def _add(self, interactions: Sequence[VoxelInteraction], run: bool) -> Bounds | None:
        size = self._opened().size
        self._waiting += [each.within(size) for each in interactions]
        return self.predict() if run else None

    def _written(self, before: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Bounds | None:
        """The bounds of what changed, when the mask is in the buffer."""
        if isinstance(self.target_buffer, Tensor):
            self.target_buffer.copy_(self.target_buffer.new_tensor(mask))
        elif self.target_buffer is not None:
            self.target_buffer[...] = mask
        changed = ndimage.find_objects((before != mask).astype(np.uint8))
        return [[part.start, part.stop] for part in changed[0]] if changed else None

    def _drawn(self, image: Any, bounds: Any) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(a, b, c) bool of what is drawn, and where its first voxel is in the volume."""
        size = self._opened().size
        part = [[0, side] for side in size] if bounds is None else _bounds(bounds, size)
        expected = tuple(end - first for first, end in part)
        array = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
        if array.shape != expected or array.dtype.kind not in "biuf" or not (array > 0).any():
            raise InteractionError(
                f"Expected an array {expected} with voxels above 0 where something is drawn, got {array.dtype} of "
                f"shape {array.shape}{'' if array.shape != expected else ' without any'}."
            )
        return array > 0, np.array([first for first, _ in part])


def centres_along(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) centres of the outermost pixels of a shape, from the ring of pixel corners around it, (n, 2).

    >>> centres_along(np.array([[1.0, 1], [4, 1], [4, 3], [1, 3]])).tolist()
    [[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0]]
    """
    ahead = np.roll(ring, -1, 0) - ring
    area = (ring[:, 0] * np.roll(ring[:, 1], -1) - np.roll(ring[:, 0], -1) * ring[:, 1]).sum()
    inward = np.sign(area) * np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.hypot(*ahead.T)[:, None]
    return ring + (inward + np.roll(inward, 1, 0)) / 2 - 0.5


def _strokes(voxels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Voxels (n, 3) in the order in which lines (m, 3) pass through them, from neighbour to neighbour.

    Of a thick stroke, what lies beside a line already is left out.
    """
    left = np.ones(len(voxels), bool)
    lines = []
    while left.any():
        line = [int(np.flatnonzero(left)[0])]
        left[line[0]] = False
        while left.any():
            others = np.flatnonzero(left)
            apart = np.sqrt(((voxels[others] - voxels[line[-1]]) ** 2).sum(1))
            nearest = int(apart.argmin())
            if apart[nearest] > TOUCHING:
                break
            line.append(int(others[nearest]))
            left[line[-1]] = False
        lines.append(voxels[line])
        others = np.flatnonzero(left)
        for at in lines[-1]:
            left[others[np.sqrt(((voxels[others] - at) ** 2).sum(1)) <= TOUCHING]] = False
    return lines


def _bounds(bounds: Any, size: Sequence[int]) -> Bounds:
    """Checked bounds within a volume. Raises InteractionError."""
    try:
        own = [[int(first), int(end)] for first, end in bounds]
    except (TypeError, ValueError):
        own = []
    if len(own) != 3 or any(not 0 <= first < end <= side for (first, end), side in zip(own, size, strict=False)):
        raise InteractionError(
            f"Expected [[a1, a2], [b1, b2], [c1, c2]], half-open, within {tuple(size)}, got {with_type(bounds)}."
        )
    return own


def _around_in_plane(bounds: Bounds, axis: int, size: Sequence[int]) -> list[VoxelInteraction]:
    """What lies around a box in a plane that is no slice: up to eight boxes that the object does not enter."""
    parts = []
    for other, (first, end) in enumerate(bounds):
        parts.append([(first, end)] if other == axis else [(0, first), (first, end), (end, size[other])])
    found: list[VoxelInteraction] = []
    for part in product(*parts):
        (z1, z2), (y1, y2), (x1, x2) = part
        if [list(each) for each in part] != bounds and z1 < z2 and y1 < y2 and x1 < x2:
            found.append(VoxelBox(x1, y1, x2 - 1, y2 - 1, z=(z1, z2 - 1), positive=False))
    return found
