"""Masks of volumes as files: NIfTI, TIFF and .npy as label volumes, and COCO's run lengths of each slice."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError, extra, with_type
from interactify.export.coco import CocoPhoto, write_coco
from interactify.export.files import write_whole


def save_masks(
    path: str | Path,
    masks: Sequence[NDArray[np.bool_]],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    affine: NDArray[np.float64] | None = None,
    names: Sequence[str] = (),
) -> Path:
    """Write one or several objects of a volume as one file; the ending of its name says of which kind.

    Args:
        path: .nii, .nii.gz, .tif or .npy, label volumes: 0 is background, 1 the first object, 2 the second, …; where
            objects overlap, the later one. Or .json: COCO's, with an image for each slice ("NAME_0012" for slice 12)
            and the run lengths of each object there; objects may overlap.
        masks: (D, H, W) bool each, of one size, at least one: `result.mask`.
        spacing: of slices, rows and columns: `volume.spacing`.
        affine: (4, 4), from voxels (x, y, z) to millimetres, for NIfTI: `volume.affine`; by default of the spacing.
        names: the objects' names, for .json; by default "object 1", ….

    Returns:
        The file's path.

    Raises:
        OptionError: another ending, masks that are none or of several sizes, more than 65535 objects, a folder that
            can't be written to, or a package that is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_masks(Path(folder, "labels.npy"), [np.ones((1, 1, 3), bool), np.eye(3, dtype=bool)[None, :1]])
    ...     np.load(path).tolist()
    [[[2, 1, 1]]]
    """
    try:
        path = Path(path)
    except Exception as cause:  # any object may come as a path
        raise OptionError(f"Expected a path to write to, got {with_type(path)}. Try a file's name as text.") from cause
    own = [np.asarray(mask) for mask in masks]
    if not own or any(mask.ndim != 3 or mask.dtype != bool or mask.shape != own[0].shape for mask in own):
        raise OptionError(
            "Expected masks (D, H, W) bool of one size, at least one, got "
            f"{', '.join(f'{mask.dtype} {mask.shape}' for mask in own[:5]) or 'none'}. Try [result.mask, …]."
        )
    if names and len(names) != len(own):
        raise OptionError(f"Expected a name for each of {len(own)} objects, got {len(names)}. Try names=() for none.")
    name = path.name.lower()
    if name.endswith(".json"):
        return write_coco(
            path, _slices(path, own), names or [f"object {k + 1}" for k in range(len(own))], outline="rle"
        )
    if name.endswith((".nii", ".nii.gz")):
        content = _nifti(_labels(own), spacing, affine)
        return write_whole(path, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    buffer = io.BytesIO()
    if name.endswith((".tif", ".tiff")):
        z, y, x = spacing
        about = {"axes": "ZYX", "spacing": z, "unit": "mm"}
        tifffile = _package("tifffile", path)
        tifffile.imwrite(buffer, _labels(own), imagej=True, resolution=(1 / x, 1 / y), metadata=about)
    elif name.endswith(".npy"):
        np.save(buffer, _labels(own))
    else:
        raise OptionError(f"Expected a name that ends in .nii, .nii.gz, .tif, .npy or .json, got {path.name!r}.")
    return write_whole(path, buffer.getvalue())


def _labels(masks: Sequence[NDArray[np.bool_]]) -> NDArray[Any]:
    """(D, H, W) uint8, or uint16 where there are more than 255 objects."""
    if len(masks) > 65535:
        raise OptionError(f"Expected at most 65535 objects, got {len(masks)}. Try several files.")
    labels = np.zeros(masks[0].shape, np.uint8 if len(masks) < 256 else np.uint16)
    for label, mask in enumerate(masks, 1):
        labels[mask] = label
    return labels


def _slices(path: Path, masks: Sequence[NDArray[np.bool_]]) -> list[CocoPhoto]:
    """The slices as COCO's images, each with those objects that it shows."""
    photos = []
    for z in range(len(masks[0])):
        shown = [k for k, mask in enumerate(masks) if mask[z].any()]
        photos.append(
            CocoPhoto(f"{path.stem}_{z:04}", [masks[k][z] for k in shown], [k + 1 for k in shown], masks[0].shape[1:])
        )
    return photos


def _nifti(labels: NDArray[Any], spacing: Sequence[float], affine: NDArray[np.float64] | None) -> bytes:
    nibabel = _package("nibabel", Path("labels.nii"))
    z, y, x = spacing
    image = nibabel.Nifti1Image(labels.T, np.diag([x, y, z, 1.0]) if affine is None else affine)
    content: bytes = image.to_bytes()
    return content


def _package(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ImportError as cause:
        raise OptionError(
            f"Expected {name} to write {path.name}, which is not installed. Try {extra('volumes')}, or .npy."
        ) from cause
