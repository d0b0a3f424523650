"""All of it as one file to take away: masks, labels and outlines of a photo or of all, as a zip."""

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
from interactify.app.store.journal import SessionFiles
from interactify.app.store.project import Photo
from interactify.app.store.saving import Annotations, mask_files, plain
from interactify.errors import OptionError
from interactify.export.files import write_json
from interactify.session.session import Session

Masks = dict[str, NDArray[np.bool_]]


class Kind(NamedTuple):
    """What can be taken away: what a person reads, and whether it is there for a photo at hand alone."""

    says: str
    at_hand: bool = False


KINDS: Final = {
    "png": Kind("Masks, PNG: 255 where the object is"),
    "labels": Kind("Map of labels, PNG with VOC's palette"),
    "coco": Kind("COCO JSON with polygons"),
    "rle": Kind("COCO run lengths, JSON"),
    "geojson": Kind("GeoJSON, in pixels"),
    "yolo": Kind("YOLO segmentation text"),
    "npy": Kind("Probabilities, NumPy", at_hand=True),
    "prob16": Kind("Probabilities, 16-bit PNG", at_hand=True),
    "session": Kind("Session, to go on from in Python"),
    "log": Kind("Log of all interactions, JSON lines", at_hand=True),
}


def kinds_named(text: str) -> list[str]:
    """Read names of kinds with commas between.

    Raises:
        OptionError: one is unknown, or none is there.

    >>> kinds_named("png,coco")
    ['png', 'coco']
    """
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in KINDS:
            raise OptionError(f"Expected kinds of files out of {', '.join(KINDS)}; got {name!r}.")
    return names


def zipped(
    kinds: Sequence[str], photos: Sequence[Photo], out: Path, annotations: Annotations, at_hand: Session | None
) -> bytes:
    """A zip of what is saved of photos; `at_hand` is the session of the one that is asked for, None for all."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        tempfile.TemporaryDirectory(prefix="interactify-") as named,
    ):
        folder = Path(named)
        for photo in photos:
            masks = masks_of(photo, out)
            for kind in kinds:
                make = _MAKERS.get(kind)
                if make is not None and masks:
                    for path in make(folder, photo, masks):
                        archive.write(path, f"{kind}/{path.name}")
                elif kind == "labels" and (path := out / "labels" / f"{photo.key}.png").exists():
                    archive.write(path, f"labels/{path.name}")
                elif kind == "session" and (path := SessionFiles.of(photo.key, out).session).exists():
                    archive.write(path, f"session/{path.name}")
                elif at_hand is not None and KINDS[kind].at_hand:
                    for path in _of_session(kind, folder, photo, at_hand):
                        archive.write(path, f"{kind}/{path.name}")
        if "coco" in kinds:
            write_json(folder / "annotations.json", annotations.content([p.id for p in photos]))
            archive.write(folder / "annotations.json", "annotations.json")
    return content.getvalue()


def masks_of(photo: Photo, out: Path) -> Masks:
    """The masks (H, W) bool that were saved of a photo, by the names of their files."""
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
    its = [{"name": name} for name in masks]
    return [export.write_geojson(folder / f"{photo.key}.geojson", list(masks.values()), its)]


def _yolo(folder: Path, photo: Photo, masks: Masks) -> list[Path]:
    return [export.write_yolo(folder / f"{photo.key}.txt", list(masks.values()))]


def _of_session(kind: str, folder: Path, photo: Photo, session: Session) -> list[Path]:
    if kind == "log":
        path = folder / f"{photo.key}-log.jsonl"
        path.write_text(session.log())
        return [path]
    write, ending = {
        "npy": (export.write_probability_npy, "npy"),
        "prob16": (export.write_probability_png, "png"),
    }[kind]
    return [
        write(folder / f"{photo.key}-{plain(name)}-probability.{ending}", session.result_of(name).probability)
        for name in session.objects
    ]


_MAKERS: Final[dict[str, Callable[[Path, Photo, Masks], list[Path]]]] = {
    "png": _png,
    "rle": _rle,
    "geojson": _geojson,
    "yolo": _yolo,
}
