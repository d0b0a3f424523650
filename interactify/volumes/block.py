"""Geometry of parts of a volume: boxes of voxels, and the windows in which a network sees a volume that is too large.

Windows lie as those of MONAI's `sliding_window_inference` do: of one size, overlapping by a share of their sides, the
last one flush with the volume's end; a volume smaller than a window is padded evenly on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.inspection.image_sizes import multiple_of
from interactify.inspection.spec import RESOLUTION, ModelSpec

Size = tuple[int, int, int]
"""(D, H, W): slices, rows, columns."""

Voxels = NDArray[np.int64]
"""(n, 3) whole voxels, x, y, z."""

OVERLAP: Final = 0.25  # of a window's sides, by which windows overlap at least
SIGMA: Final = 0.125  # of a window's sides: the standard deviation of its weights
LEAST_WEIGHT: Final = 1e-3


@dataclass(frozen=True)
class Block:
    """A box of voxels: its first slice, row and column, and how many there are of each.

    >>> Block((4, 0, 0), (2, 8, 8)).slices
    (slice(4, 6, None), slice(0, 8, None), slice(0, 8, None))
    """

    start: Size
    size: Size

    @property
    def end(self) -> Size:
        """The first slice, row and column beyond it."""
        (z, y, x), (d, h, w) = self.start, self.size
        return z + d, y + h, x + w

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """To index an array (D, H, W)."""
        z, y, x = (slice(first, last) for first, last in zip(self.start, self.end, strict=True))
        return z, y, x

    def common(self, other: Block) -> Block | None:
        """What lies in both; None where nothing does."""
        start = tuple(map(max, self.start, other.start))
        end = tuple(map(min, self.end, other.end))
        size = tuple(last - first for first, last in zip(start, end, strict=True))
        return Block(_three(start), _three(size)) if min(size) > 0 else None

    def within(self, other: Block) -> tuple[slice, slice, slice]:
        """To index an array of another block, which this one lies in."""
        moved = Block(_three([a - b for a, b in zip(self.start, other.start, strict=True)]), self.size)
        return moved.slices

    def contains(self, voxels: Voxels) -> NDArray[np.bool_]:
        """(n,) bool."""
        first, last = np.array(self.start[::-1]), np.array(self.end[::-1])
        return np.asarray(((voxels >= first) & (voxels < last)).all(1), bool)

    @property
    def voxels(self) -> int:
        """How many there are."""
        d, h, w = self.size
        return d * h * w


def whole(size: Sequence[int]) -> Block:
    """The block that is a whole volume (D, H, W)."""
    return Block((0, 0, 0), _three(size))


@dataclass(frozen=True)
class Grid:
    """How a network sees a volume: in windows of one size.

    Attributes:
        size: (D, H, W) of the volume.
        window: (d, h, w) of the windows.
    """

    size: Size
    window: Size

    @classmethod
    def of(cls, spec: ModelSpec, size: Size) -> Grid:
        """For a network: the whole volume where it is no larger than `spec.resolution`, in multiples of its divisor."""
        if spec.exact is not None:
            return cls(size, _three(spec.exact))
        step = spec.divisor
        longest = multiple_of(spec.resolution or RESOLUTION, step)
        least = multiple_of(spec.smallest, step)
        return cls(size, _three([max(least, min(longest, multiple_of(side, step))) for side in size]))

    @property
    def padding(self) -> Size:
        """How many slices, rows and columns are added before the first."""
        return _three([max(0, own - side) // 2 for own, side in zip(self.window, self.size, strict=True)])

    @property
    def is_whole(self) -> bool:
        """Whether one window shows the whole volume."""
        return all(own >= side for own, side in zip(self.window, self.size, strict=True))

    def windows(self, overlap: float = OVERLAP) -> list[Block]:
        """All windows, in the order of their slices, rows and columns; beyond the volume where that is padded."""
        firsts = []
        for side, own, before in zip(self.size, self.window, self.padding, strict=True):
            end = max(side, own)
            step = own if own == end else max(1, int(own * (1 - overlap)))
            firsts.append([min(first, end - own) - before for first in range(0, max(1, end - own + step), step)])
        return [Block(_three(first), self.window) for first in product(*firsts)]

    def around(self, voxels: Voxels) -> Block:
        """The window whose middle is nearest to that of the voxels, as far as the volume allows."""
        middle = (voxels.min(0) + voxels.max(0))[::-1] / 2
        firsts = []
        for centre, side, own, before in zip(middle.tolist(), self.size, self.window, self.padding, strict=True):
            last = max(side, own) - own
            firsts.append(min(max(round(centre - (own - 1) / 2), 0), last) if last else -before)
        return Block(_three(firsts), self.window)


def window_weights(window: Size) -> Tensor:
    """(d, h, w) float32: the weights of a window's voxels where windows overlap, a Gaussian, as MONAI's.

    >>> weights = window_weights((8, 8, 8))
    >>> bool(weights.argmax() == 219), round(float(weights.min()), 6)
    (True, 0.001)
    """
    weights = torch.ones((), dtype=torch.float32, device="cpu")
    for side in window:
        along = torch.arange(side, dtype=torch.float32, device="cpu") - (side - 1) / 2
        weights = weights[..., None] * torch.exp(along.square() / (-2 * (SIGMA * side) ** 2))
    return weights.clamp(min=max(float(weights.min()), LEAST_WEIGHT))


def _three(sides: Sequence[int]) -> Size:
    z, y, x = sides
    return int(z), int(y), int(x)
