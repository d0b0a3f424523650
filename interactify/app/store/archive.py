"""Results as one zip to download: masks, labels and outlines of one photo or of all."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify import export
from interactify.app.sessions import AnySession
from interactify.app.store.journal import SessionFiles
from interactify.app.store.project import Photo
from interactify.app.store.result_files import Annotations, mask_files, object_file_name
from interactify.errors import OptionError
from interactify.export.files import write_json

Masks = dict[str, NDArray[np.bool_]]


class Kind(NamedTuple):
    """A kind of file to download.

    Attributes:
        label: its text in the dialog.
        current_only: whether only the current photo has it, since it needs the open session.
        here_only: whether only sessions whose network runs in this process have it.
    """

    label: str
    current_only: bool = False
    here_only: bool = False


KINDS: Final = {
    "png": Kind("Masks, PNG: 255 in the object"),
    "labels": Kind("Label map, PNG with VOC palette"),
    "coco": Kind("COCO JSON with polygons"),
    "rle": Kind("COCO run lengths (RLE), JSON"),
    "geojson": Kind("GeoJSON, in pixels"),
    "yolo": Kind("YOLO segmentation text"),
    "npy": Kind("Probabilities, NumPy", current_only=True),
    "prob16": Kind("Probabilities, 16-bit PNG", current_only=True),
    "session": Kind("Session, for Python", here_only=True),
    "log": Kind("Log of interactions, JSON lines", current_only=True),
}


def read_kinds(text: str) -> list[str]:
    """Read the names of kinds, separated by commas.

    Raises:
        OptionError: a name is unknown, or there is none.

    >>> read_kinds("png,coco")
    ['png', 'coco']
    """
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in KINDS:
            raise OptionError(f"Expected kinds of files from {', '.join(KINDS)}; got {name!r}.")
    return names


def archive_of(
    kinds: Sequence[str], photos: Sequence[Photo], out: Path, annotations: Annotations, current: AnySession | None
) -> bytes:
    """A zip of the saved files of photos; `current` is the session where it is of one photo, None for all photos."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        tempfile.TemporaryDirectory(prefix="interactify-") as temporary,
    ):
        folder = Path(temporary)
        for photo in photos:
            masks = masks_of(photo, out)
            for kind in kinds:
                write = _WRITERS.get(kind)
                if write is not None and masks:
                    for path in write(folder, photo, masks):
                        archive.write(path, f"{kind}/{path.name}")
                elif kind == "labels" and (path := out / "labels" / f"{photo.key}.png").exists():
                    archive.write(path, f"labels/{path.name}")
                elif kind == "session" and (path := SessionFiles.of(photo.key, out).session).exists():
                    archive.write(path, f"session/{path.name}")
                elif current is not None and KINDS[kind].current_only:
                    for path in _from_session(kind, folder, photo, current):
                        archive.write(path, f"{kind}/{path.name}")
        if "coco" in kinds:
            write_json(folder / "annotations.json", annotations.content([p.id for p in photos]))
            archive.write(folder / "annotations.json", "annotations.json")
    return content.getvalue()


def masks_of(photo: Photo, out: Path) -> Masks:
    """The saved masks (H, W) bool of a photo, by the names of their files."""
    found: Masks = {}
    for path in mask_files(out / "masks" / photo.key):
        with Image.open(path, formats=["PNG"]) as opened:
            found[path.stem] = np.asarray(opened) > 0
    return found


def _png(folder: Path, photo: Photo, masks: Masks) -> list[Path]:
    return [export.write_mask(folder / f"{photo.key}-{name}.png", mask) for name, mask in masks.items()]


def _rle(folder: Path, photo: Photo, masks: Masks) -> list[Path]:
    return [export.write_rle(folder / f"{photo.key}-{name}-rle.json", mask) for name, mask in masks.items()]


def _geojson(folder: Path, photo: Photo, masks: Masks) -> list[Path]:
    properties = [{"name": name} for name in masks]
    return [export.write_geojson(folder / f"{photo.key}.geojson", list(masks.values()), properties)]


def _yolo(folder: Path, photo: Photo, masks: Masks) -> list[Path]:
    return [export.write_yolo(folder / f"{photo.key}.txt", list(masks.values()))]


def _from_session(kind: str, folder: Path, photo: Photo, session: AnySession) -> list[Path]:
    if kind == "log":
        path = folder / f"{photo.key}-log.jsonl"
        path.write_text(session.log())
        return [path]
    write, suffix = {
        "npy": (export.write_probability_npy, "npy"),
        "prob16": (export.write_probability_png, "png"),
    }[kind]
    return [
        write(
            folder / f"{photo.key}-{object_file_name(name)}-probability.{suffix}", session.result_of(name).probability
        )
        for name in session.objects
    ]


_WRITERS: Final[dict[str, Callable[[Path, Photo, Masks], list[Path]]]] = {
    "png": _png,
    "rle": _rle,
    "geojson": _geojson,
    "yolo": _yolo,
}
