"""Volumes' files, whose headers say how large they are before any voxel is read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from interactify.app.volumes.paths import STACKS
from interactify.errors import PhotoError
from interactify.volumes.files import read_volume
from interactify.volumes.volume import Volume

MAX_VOXELS: Final = 2**30  # the network's own map of a volume is kept in memory
MAX_BYTES: Final = 4 * 2**30  # of a file that is read whole


def open_volume_file(path: Path, name: str) -> Volume:
    """A volume's file, once its header has said that it is not too large.

    Raises:
        PhotoError: it is too large, missing, damaged, or of another kind.
    """
    check_size(path, name)
    volume = read_volume(path)
    _check_voxels(volume.array.shape, name)
    return volume


def check_size(path: Path, name: str) -> None:
    """Raise PhotoError for a volume with too many voxels, or with too many bytes to be read at once.

    Of a file that can't be read nothing is said: `read_volume` says why.
    """
    try:
        shape, read_whole = _header(path)
    except Exception:  # a missing package, or a damaged file: each package raises what it likes
        return
    _check_voxels(shape, name)
    if read_whole > MAX_BYTES:
        raise PhotoError(
            f"Expected a volume of at most {MAX_BYTES / 2**30:g} GiB in a file that has to be read whole, got {name} "
            f"with {read_whole / 2**30:.1f}. Try .nii, .npy or .zarr, which are read in parts."
        )


def _check_voxels(shape: Sequence[int], name: str) -> None:
    if prod(shape) > MAX_VOXELS:
        sides = " × ".join(map(str, shape))
        raise PhotoError(
            f"Expected a volume of at most {MAX_VOXELS} voxels, got {name} with {sides}. Try a part of it."
        )


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """A volume's shape, as far as its header has it, and how many bytes it takes where it is read whole."""
    name = path.name.lower()
    if name.endswith(".npy"):
        return np.load(path, mmap_mode="r", allow_pickle=False).shape, 0
    if name.endswith((".nii", ".nii.gz")):
        image: Any = import_module("nibabel").load(path)
        whole = prod(image.shape) * max(4, image.get_data_dtype().itemsize) if name.endswith(".gz") else 0
        return tuple(image.shape), whole
    if name.endswith(STACKS):
        with import_module("tifffile").TiffFile(path) as file:
            series = file.series[0]
            return tuple(series.shape), series.nbytes if series.dataoffset is None else 0
    if name.endswith(".zarr"):
        return (), 0
    files = [each for each in path.iterdir() if each.is_file()] if path.is_dir() else [path]
    return (), sum(each.stat().st_size for each in files)
