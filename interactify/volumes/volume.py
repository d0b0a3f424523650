"""Volumes as they come: arrays in memory or on disk, with the spacing and the affine that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError, PhotoError, with_type
from interactify.pictures.digests import tensors_digest
from interactify.pictures.value_range import ValueRange, checked_value_range, mapped
from interactify.volumes.block import Block, Size, whole

Affine = NDArray[np.float64]
"""(4, 4): from voxels (x, y, z, 1) to the space that the volume's file names."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume that is read in parts, and what its file says of where its voxels are.

    Attributes:
        array: (D, H, W), or (C, D, H, W): of numpy, or anything with `shape`, `dtype` and slicing, such as a memmap or
            a zarr array, of which only the needed parts are read.
        spacing: of slices, rows and columns, in millimetres or whatever the file's unit is.
        affine: as the file has it, for the files that are written; None where it has none.
        value_range: the values that become 0 and 1, clipped, before the network's mean and std; None for the voxels'
            own values.

    Raises:
        PhotoError: an array of another shape, without voxels, or of no real numbers.
        OptionError: an invalid spacing, affine or range.

    >>> Volume(np.zeros((4, 5, 6))).size
    (4, 5, 6)
    """

    array: Any
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    affine: Affine | None = None
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        shape = tuple(getattr(self.array, "shape", ()))
        if len(shape) not in (3, 4) or min(shape) < 1:
            raise PhotoError(
                f"Expected a volume (D, H, W) or (C, D, H, W), got {shape or with_type(self.array)}. Try volume[None] "
                "for a single slice."
            )
        kind = np.dtype(self.array.dtype).kind
        if kind not in "fiub":
            raise PhotoError(f"Expected voxels that are real numbers, got {self.array.dtype}. Try volume.real.")
        object.__setattr__(self, "spacing", _spacing(self.spacing))
        object.__setattr__(self, "affine", _affine(self.affine))
        object.__setattr__(self, "value_range", checked_value_range(self.value_range))

    @property
    def size(self) -> Size:
        """(D, H, W)."""
        d, h, w = self.array.shape[-3:]
        return int(d), int(h), int(w)

    @property
    def channels(self) -> int:
        """C."""
        return 1 if len(self.array.shape) == 3 else int(self.array.shape[0])

    def read(self, block: Block) -> Tensor:
        """The voxels of a block inside the volume, (C, d, h, w) float32 on the CPU, in their own values or the range's.

        Raises PhotoError for NaN and infinity.
        """
        index = block.slices if len(self.array.shape) == 3 else (slice(None), *block.slices)
        part = np.asarray(self.array[index])
        part = part[None] if part.ndim == 3 else part
        own = mapped(part, self.value_range) if self.value_range else part.astype(np.float32)
        if not np.isfinite(own).all():
            raise PhotoError(
                "Expected every voxel to be a finite number, got NaN or infinity. Try np.nan_to_num(volume)."
            )
        return torch.from_numpy(np.ascontiguousarray(own))

    def digest(self) -> str:
        """A digest of voxels, size and range, by which a saved session knows its volume; read slice by slice."""
        slices = (self.read(Block((z, 0, 0), (1, *self.size[1:]))) for z in range(self.size[0]))
        return tensors_digest(slices)

    def __repr__(self) -> str:
        size = "×".join(map(str, self.size))
        return f"Volume({size} voxels, {self.channels} channels, {self.array.dtype}, spacing {self.spacing})"


def read_padded(volume: Volume, block: Block, normalised: Callable[[Tensor], Tensor]) -> Tensor:
    """A block that may reach beyond the volume, (1, C, d, h, w), normalised; 0 beyond the volume, as MONAI pads it.

    `normalised` is what brings (1, C, d, h, w) to the form that the network reads, as `Network.normalised`.
    """
    inside = block.common(whole(volume.size))
    if inside is None:
        raise OptionError(f"Expected a block that lies in the volume {volume.size}, at least in part, got {block}.")
    image = normalised(volume.read(inside)[None])
    before = [i - b for i, b in zip(inside.start, block.start, strict=True)]
    after = [b - i for i, b in zip(inside.end, block.end, strict=True)]
    pads = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(image, pads) if any(pads) else image


def _spacing(spacing: Any) -> tuple[float, float, float]:
    try:
        z, y, x = (float(each) for each in spacing)
        good = all(0 < each < float("inf") for each in (z, y, x))
    except Exception:  # any object may come, and its own code decides what it raises
        good = False
    if not good:
        raise OptionError(
            f"Expected spacing as three numbers above 0, of slices, rows and columns, got {with_type(spacing)}. Try "
            "(1.0, 1.0, 1.0)."
        )
    return z, y, x


def _affine(affine: Any) -> Affine | None:
    if affine is None:
        return None
    try:
        own = np.array(affine, np.float64)
    except (TypeError, ValueError):
        own = np.zeros(0)
    if own.shape != (4, 4) or not np.isfinite(own).all():
        raise OptionError(f"Expected an affine of 4 × 4 finite numbers, got {with_type(affine)}. Try np.eye(4).")
    own.setflags(write=False)
    return own


def points_of(voxels: NDArray[np.int64], block: Block) -> Tensor:
    """Voxels (n, 3) of a volume in a block's own coordinates, (n, 3) float64, x, y, z."""
    first: Sequence[int] = block.start[::-1]
    return torch.from_numpy((voxels - np.array(first)).astype(np.float64))
