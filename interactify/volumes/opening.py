"""Volumes of any kind as a `Volume` in the channels that a network reads."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import PhotoError, with_type
from interactify.pictures.value_range import ValueRange
from interactify.volumes.files import VolumePath, is_path, read_volume
from interactify.volumes.volume import Volume

VolumeLike: TypeAlias = "Volume | NDArray[Any] | Tensor | VolumePath"


def open_volume(volume: Any, channels: int, value_range: ValueRange | None = None) -> Volume:
    """Open a volume for a network of so many channels.

    Args:
        volume: as of `as_volume`.
        channels: C that the network reads.
        value_range: as of `Volume`; by default the volume's own.

    Raises:
        PhotoError: anything else, or another number of channels.
        OptionError: an invalid range.
    """
    opened = as_volume(volume)
    if value_range is not None:
        opened = Volume(opened.array, opened.spacing, opened.affine, value_range)
    if opened.channels != channels:
        last = opened.array.shape[-1] == channels and len(opened.array.shape) == 4
        hint = "np.moveaxis(volume, -1, 0), if its channels come last" if last else f"({channels}, D, H, W)"
        raise PhotoError(
            f"Expected a volume of {channels} channel{'' if channels == 1 else 's'}, as the network reads, got "
            f"{tuple(opened.array.shape)}. Try {hint}."
        )
    return opened


def as_volume(volume: Any) -> Volume:
    """A volume of any number of channels.

    Args:
        volume: a path that `read_volume` takes; a `Volume`; an array (D, H, W) or (C, D, H, W), in memory or on disk;
            or a tensor of that shape, or (1, C, D, H, W).

    Raises:
        PhotoError: anything else.
    """
    if isinstance(volume, Volume):
        return volume
    if is_path(volume):
        return read_volume(volume)
    if isinstance(volume, Tensor):
        own = volume.detach()
        own = own[0] if own.ndim == 5 and len(own) == 1 else own
        return Volume((own.float() if own.dtype == torch.bfloat16 else own).cpu().numpy())
    if not hasattr(volume, "shape"):
        raise PhotoError(
            f"Expected a volume as an array (D, H, W) or (C, D, H, W), got {with_type(volume)}. Try np.asarray, a "
            "path, or Volume(array, spacing=…)."
        )
    return Volume(volume)
