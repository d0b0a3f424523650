"""Which paths are volumes: known from their names, and of a folder from how its files begin."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interactify.app.pictures import natural_order, pictures_in

ENDINGS: Final = (".nii", ".nii.gz", ".npy", ".dcm", ".ima")  # files that are volumes and nothing else
STACKS: Final = (".tif", ".tiff")  # photos or volumes
LOOKED_AT: Final = 8  # files of a folder, to tell whether it is a DICOM series


def is_volume(path: Path, stacks: bool = False) -> bool:
    """Whether a path is a volume: by its ending, or as a folder of DICOM files; with `stacks` TIFF files too.

    >>> is_volume(Path("scan.nii.gz")), is_volume(Path("photo.jpg")), is_volume(Path("cells.tif"), stacks=True)
    (True, False, True)
    """
    name = path.name.lower()
    if name.endswith(".zarr"):
        return True
    if path.is_dir():
        return _is_series(path)
    return name.endswith(ENDINGS + STACKS if stacks else ENDINGS)


def surely_volumes(given: Path) -> bool:
    """Whether a path is a volume, or a folder of volumes and no pictures; TIFF files are pictures here."""
    return is_volume(given) or (given.is_dir() and not pictures_in(given) and bool(volumes_in(given)))


def volumes_in(folder: Path, stacks: bool = False) -> list[Path]:
    """The volumes directly in a folder, by name; links that lead out of it are left out."""
    inside = folder.resolve()
    found = [each for each in folder.iterdir() if not each.name.startswith(".") and is_volume(each, stacks)]
    return sorted((each for each in found if each.resolve().parent == inside), key=natural_order)


def _is_series(folder: Path) -> bool:
    """Whether DICOM files lie directly in a folder."""
    files = sorted(each for each in folder.iterdir() if not each.name.startswith(".") and each.is_file())[:LOOKED_AT]
    return any(each.name.lower().endswith((".dcm", ".ima")) or _begins_as_dicom(each) for each in files)


def _begins_as_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
