"""Files of volumes: NIfTI, DICOM series, TIFF stacks, Zarr and .npy, with spacing and affine, read in parts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from interactify.errors import PhotoError, extra, reason_of, with_type
from interactify.volumes.dicom import read_dicom
from interactify.volumes.volume import Volume

VolumePath: TypeAlias = "str | Path | Sequence[str | Path]"

KINDS: Final = "a .nii, .nii.gz, .tif, .npy or .zarr, a DICOM file, or a folder of them"
_OTHERS: Final = "QIZT"  # tifffile's letters for pages that nothing more, or not much, is known of


def is_path(volume: Any) -> bool:
    """Whether something is a path, or a list of paths, and not a volume itself."""
    if isinstance(volume, (list, tuple)):
        return bool(volume) and all(isinstance(each, (str, Path)) for each in volume)
    return isinstance(volume, (str, Path))


def read_volume(path: VolumePath) -> Volume:
    """Open a volume's file; parts of it are read when they are needed, where the format allows that.

    Args:
        path: NIfTI (.nii, read in parts; .nii.gz, read whole), a TIFF stack (.tif), .npy (mapped into memory) or a
            Zarr array (.zarr, read in parts); a folder or a list of files that are one DICOM series, or one such file.

    Returns:
        A `Volume`: slices, rows and columns as the file has them. `affine` leads from its voxels (x, y, z) to
        millimetres to the right, to the front and up (RAS), as NIfTI has it, also for DICOM.

    Raises:
        PhotoError: the file is missing, damaged, of another kind or not one volume, or a package is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "scan.npy"), np.zeros((4, 5, 6), np.int16))
    ...     read_volume(Path(folder, "scan.npy"))
    Volume(4×5×6 voxels, 1 channels, int16, spacing (1.0, 1.0, 1.0))
    """
    if not is_path(path):
        raise PhotoError(f"Expected the path of a volume, {KINDS}, got {with_type(path)}.")
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(each) for each in path]
    for each in paths:
        if not each.exists():
            raise PhotoError(f"Expected the path of a volume, got {each}, which does not exist. Try another path.")
    first, name = paths[0], paths[0].name.lower()
    if len(paths) > 1:
        return _opened("pydicom", first, lambda pydicom: read_dicom(paths, pydicom))
    if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return _opened("nibabel", first, lambda nibabel: _nifti(first, nibabel))
    if name.endswith((".tif", ".tiff")):
        return _opened("tifffile", first, lambda tifffile: _tiff(first, tifffile))
    if name.endswith(".zarr"):
        return _opened("zarr", first, lambda zarr: _zarr(first, zarr))
    if name.endswith(".npy"):
        return _opened("numpy", first, lambda numpy: Volume(numpy.load(first, mmap_mode="r", allow_pickle=False)))
    if first.is_dir() or name.endswith((".dcm", ".ima")) or _is_dicom(first):
        return _opened("pydicom", first, lambda pydicom: read_dicom(paths, pydicom))
    raise PhotoError(f"Expected {KINDS}, got {first}. Try an array: Volume(array, spacing=…).")


def _opened(package: str, path: Path, read: Any) -> Volume:
    try:
        module = import_module(package)
    except ImportError as cause:
        raise PhotoError(
            f"Expected {package} to read {path}, which is not installed. Try {extra('volumes')}."
        ) from cause
    try:
        volume: Volume = read(module)
    except PhotoError:
        raise
    except Exception as cause:  # of damaged files each package raises what it likes
        raise PhotoError(
            f"Expected a readable volume, got {path} ({reason_of(cause)}). It may be damaged: try to copy it again."
        ) from cause
    return volume


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


class NiftiArray:
    """A NIfTI file's voxels as (D, H, W), or (C, D, H, W), read in parts: the file has them as (x, y, z), or (…, C)."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self.shape: tuple[int, ...] = tuple(proxy.shape[::-1])
        scaled = (proxy.slope, proxy.inter) != (1.0, 0.0)
        self.dtype = np.dtype(np.float32) if scaled else proxy.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        given = index if isinstance(index, tuple) else (index,)
        every = (*given, *[slice(None)] * (len(self.shape) - len(given)))
        return np.asarray(self._proxy[every[::-1]]).T.astype(self.dtype, copy=False)


def _nifti(path: Path, nibabel: Any) -> Volume:
    image = nibabel.load(path)
    if len(image.shape) not in (3, 4):
        raise PhotoError(f"Expected a volume of 3 sides, or 4 with channels, got {path} of shape {image.shape}.")
    array: Any = NiftiArray(image.dataobj)
    if path.name.lower().endswith(".gz"):  # each part of a compressed file costs reading all before it
        array = array[:]
    if len(array.shape) == 4 and array.shape[0] == 1:
        array = array[0]
    zooms = [float(each) or 1.0 for each in image.header.get_zooms()[:3]]
    return Volume(array, (zooms[2], zooms[1], zooms[0]), image.affine)


def _tiff(path: Path, tifffile: Any) -> Volume:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes, shape = series.axes, series.shape
        about = file.imagej_metadata or {}
        resolution = {name: file.pages[0].tags.get(f"{name}Resolution") for name in "XY"}
        spacing = [float(about.get("spacing", 1.0))]
        for name in "YX":
            tag = resolution[name]
            per_unit = tag.value[0] / tag.value[1] if tag is not None and about and tag.value[1] else 1.0
            spacing.append(1 / per_unit if per_unit > 0 else 1.0)
        mapped = series.dataoffset is not None and not series.keyframe.is_tiled
        array = None if mapped else series.asarray()
    if array is None:
        array = tifffile.memmap(path, mode="r")
        shape = array.shape if len(array.shape) != len(axes) else shape
    names = "".join(name for name, side in zip(axes, shape, strict=True) if side > 1 or name in "YX")
    array = array.reshape([side for name, side in zip(axes, shape, strict=True) if side > 1 or name in "YX"])
    depth = next((name for name in ("Z", *_OTHERS) if name in names), None)
    channels = "".join(name for name in names if name not in ("Y", "X", depth))
    if depth is None and channels in ("C", "S"):  # pages that the writer took for channels
        depth, channels = channels, ""
    if depth is None or len(channels) > 1:
        raise PhotoError(
            f"Expected a stack of slices in {path}, got axes {axes} of shape {tuple(shape)}. Try one part."
        )
    order = [names.index(name) for name in (*channels, depth, "Y", "X")]
    return Volume(array.transpose(order), (spacing[0], spacing[1], spacing[2]))


def _zarr(path: Path, zarr: Any) -> Volume:
    found = zarr.open(str(path), mode="r")
    spacing = (1.0, 1.0, 1.0)
    if not hasattr(found, "shape"):  # a group
        attributes = dict(found.attrs)
        scales = attributes.get("ome", attributes).get("multiscales")
        if scales:
            finest = scales[0]["datasets"][0]
            scale = next(
                (each["scale"] for each in finest.get("coordinateTransformations", ()) if "scale" in each), None
            )
            spacing = tuple(map(float, scale[-3:])) if scale and len(scale) >= 3 else spacing  # type: ignore[assignment]
            found = found[finest["path"]]
        else:
            arrays = [each for _, each in found.arrays()]
            if len(arrays) != 1:
                raise PhotoError(
                    f"Expected one array in {path}, got a group of {len(arrays)}. Try {path}/NAME of one of them, as "
                    "zarr.open gives it."
                )
            found = arrays[0]
    if len(found.shape) == 5 and found.shape[0] == 1:  # OME's axes: time, channel, z, y, x
        found = _First(found)
    return Volume(found, spacing)


class _First:
    """The first of an array's outermost side, read in parts."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, tuple(array.shape[1:]), array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._array[(0, *index) if isinstance(index, tuple) else (0, index)])
