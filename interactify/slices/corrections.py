"""What is known of single slices: corrected by the user, or carried there from corrected ones. Immutable."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Interaction

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PackedMask:
    """A mask (h, w), compressed: a history of a volume has thousands of them.

    >>> PackedMask.of(np.eye(3, dtype=bool)).mask.astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """

    size: tuple[int, int]
    data: bytes

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """Of a mask (h, w) bool."""
        height, width = mask.shape
        return cls((height, width), zlib.compress(np.packbits(mask).tobytes(), 1))

    @property
    def mask(self) -> Mask:
        """(h, w) bool, in memory of its own. Raises ValueError or zlib.error where it is none of this size."""
        height, width = self.size
        bits = np.frombuffer(zlib.decompress(self.data), np.uint8)
        if len(bits) != -(-height * width // 8):
            raise ValueError(f"a mask of {len(bits)} bytes for {height} × {width} pixels")
        return np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)


@dataclass(frozen=True, eq=False)
class Answer:
    """Interactions that were refined together as one step of a slice, and how the refinement ended.

    Attributes:
        interactions: in the slice's pixels, checked.
        status: an `interactify.optim.Status`.
        evaluations: how often the network was run.
    """

    interactions: tuple[Interaction, ...]
    status: str
    evaluations: int


@dataclass(frozen=True, eq=False)
class Corrected:
    """A slice that the user has corrected: the network's own prediction there, after its own interactions alone.

    Attributes:
        target: the class that the first answer was asked for; None for the class under the first click.
        answers: in their order.
        mask: after the last of them.
        unsatisfied: the interactions whose label that mask does not have everywhere.
    """

    target: int | None
    answers: tuple[Answer, ...]
    mask: PackedMask
    unsatisfied: tuple[Interaction, ...] = ()


@dataclass(frozen=True, eq=False)
class Carried:
    """A slice whose mask was carried there.

    Attributes:
        mask: the network's, after it was pulled towards the mask of the slice before.
        sources: the corrected slices that it comes from: one, or the two that it lies between.
        agreement: the IoU of the network's mask with the one that it was pulled towards; of two, the lower one.
    """

    mask: PackedMask
    sources: tuple[int, ...]
    agreement: float


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
