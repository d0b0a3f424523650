"""A DICOM series as a volume: its files in the order of their places in space, in the units of the rescale slope."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import PhotoError
from interactify.volumes.volume import Volume

UNEVEN: Final = 0.02  # of the distance of slices: by how much single ones may differ from it
TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and to the back


def read_dicom(paths: Sequence[Path], pydicom: Any) -> Volume:
    """One series from its files, or from the folder that they lie in.

    The slices are sorted by ImagePositionPatient along the normal of ImageOrientationPatient. Raises PhotoError for
    several series, slices that are missing, twice there or of different sizes, and files of several frames.
    """
    files = [each for path in paths for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
    headers = []
    for file in filter(Path.is_file, files):
        try:
            header = pydicom.dcmread(file)
        except pydicom.errors.InvalidDicomError:
            continue
        if "Rows" in header:  # not a DICOMDIR or a report
            headers.append(header)
    where = paths[0]
    if not headers:
        raise PhotoError(
            f"Expected DICOM images in {where}, got none of {len(files)} files. Try the series' own folder."
        )
    series = sorted({str(header.get("SeriesInstanceUID", "")) for header in headers})
    if len(series) > 1:
        raise PhotoError(
            f"Expected one DICOM series in {where}, got {len(series)}. Try the list of the files of one of them."
        )
    for name, expected in (("NumberOfFrames", 1), ("SamplesPerPixel", 1)):
        if any(int(header.get(name, 1) or 1) != expected for header in headers):
            raise PhotoError(
                f"Expected DICOM images of one frame and one channel in {where}, got {name} of more. Try to convert "
                "them to NIfTI, with dcm2niix for instance."
            )
    for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        if any(header.get(name) is None for header in headers):
            raise PhotoError(f"Expected {name} in every DICOM image of {where}, got one without. Try another series.")
    for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
        values = np.array([np.atleast_1d(np.array(header.get(name), float)) for header in headers])
        if not np.allclose(values, values[0], atol=1e-4):
            raise PhotoError(
                f"Expected the same {name} in every DICOM image of {where}, got several. Try the list of the files "
                "that belong together."
            )
    first = headers[0]
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    places = np.array([np.array(header.ImagePositionPatient, float) for header in headers])
    heights = places @ np.cross(along_row, along_column)
    order = np.argsort(heights, kind="stable")
    headers, places, heights = [headers[k] for k in order], places[order], heights[order]
    down, across = (float(each) for each in first.PixelSpacing)
    step = _even_step(heights, where) if len(headers) > 1 else float(first.get("SliceThickness") or 1.0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * across, along_column * down
    if len(headers) > 1:
        affine[:3, 2] = (places[-1] - places[0]) / (len(headers) - 1)
    else:
        affine[:3, 2] = np.cross(along_row, along_column) * step
    affine[:3, 3] = places[0]
    return Volume(_voxels(headers), (step, down, across), TO_RAS @ affine)


def _even_step(heights: NDArray[np.float64], where: Path) -> float:
    """The distance of slices, sorted by height. Raises PhotoError where they are not evenly spaced."""
    steps = np.diff(heights)
    step = float(np.median(steps))
    if steps.min() < 1e-3:
        raise PhotoError(
            f"Expected one DICOM image for each place in {where}, got two at {heights[steps.argmin()]:.2f} mm. Try the "
            "list of the files of one time or echo."
        )
    if np.abs(steps - step).max() > UNEVEN * step:
        worst = int(np.abs(steps - step).argmax())
        raise PhotoError(
            f"Expected a DICOM image every {step:.2f} mm in {where}, got {steps[worst]:.2f} mm between two at "
            f"{heights[worst]:.2f} mm: slices are missing. Try to copy the series again."
        )
    return step


def _voxels(headers: Sequence[Any]) -> NDArray[Any]:
    """(D, H, W) in the units of the rescale slope and intercept: int32 or int16 where all are whole, else float32."""
    scales = [(float(h.get("RescaleSlope", 1) or 1), float(h.get("RescaleIntercept", 0) or 0)) for h in headers]
    size = (len(headers), int(headers[0].Rows), int(headers[0].Columns))
    is_whole = all(slope == round(slope) and shift == round(shift) for slope, shift in scales)
    small = is_whole and all(
        slope == 1 and abs(shift) < 2**14 and int(h.get("BitsStored", 16)) <= 14
        for h, (slope, shift) in zip(headers, scales, strict=True)
    )
    volume = np.empty(size, np.int16 if small else np.int32 if is_whole else np.float32)
    for z, (header, (slope, shift)) in enumerate(zip(headers, scales, strict=True)):
        volume[z] = header.pixel_array.astype(np.float64) * slope + shift
        header._pixel_array = None  # decoded pixels of all slices would take as much memory again
    return volume
