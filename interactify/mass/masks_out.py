"""A photo's masks as files: those formats that hold several objects have one file a photo, the others one an object."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from interactify import export
from interactify.errors import OptionError
from interactify.export.files import safe_file_name
from interactify.export.formats import FORMATS, MOST_BYTES, Exported
from interactify.mass.places import Place
from interactify.refinement.result import Result

MASKS: Final = "masks"
COCO: Final = "coco.json"


class NamedMask(NamedTuple):
    """An object of a photo: its name, its category, and its result."""

    name: str
    category: str
    result: Result


def write_masks(
    folder: Path,
    photo: str,
    objects: Sequence[NamedMask],
    formats: Sequence[str],
    categories: Sequence[str],
    tolerance: float,
) -> None:
    """Write the masks of a photo into a folder, whose files are named after the photo.

    Args:
        folder: which exists.
        photo: its path from the folder of photos on.
        objects: at least one.
        formats: names out of `FORMATS`.
        categories: the names of all classes of the run: COCO counts them from 1, YOLO from 0.
        tolerance: of outlines, in pixels.

    Raises:
        OptionError: a file can't be written.
    """
    stem = PurePosixPath(photo).stem
    for name in formats:
        ending = FORMATS[name].ending
        if name in _TOGETHER:
            _TOGETHER[name](folder / f"{stem}{ending}", photo, objects, categories, tolerance)
            continue
        for each, suffix in zip(objects, suffixes([o.name for o in objects]), strict=True):
            exported = Exported(each.result, Path(photo), each.category, tolerance)
            FORMATS[name].write(folder / f"{stem}-{suffix}{ending}", exported)


def suffixes(names: Sequence[str]) -> list[str]:
    """What the files of objects are called, after the photo: each once.

    >>> suffixes(["1", "object 1", "a/b", "a-b"])
    ['1', 'object-1', 'a-b-3', 'a-b-4']
    """
    safe = [safe_file_name(name, "object", keep="-_.") for name in names]
    return [f"{each}-{k}" if safe.count(each) > 1 else each for k, each in enumerate(safe, start=1)]


def check_names(photos: Sequence[str], objects: Sequence[Sequence[str]], formats: Sequence[str]) -> None:
    """Raise OptionError where two photos' files would have the same name, or one too long a name."""
    taken: dict[str, str] = {}
    longest = max((len(os.fsencode(FORMATS[name].ending)) for name in formats), default=0)
    for photo, names in zip(photos, objects, strict=True):
        stem = str(PurePosixPath(photo).with_suffix(""))
        if stem in taken:
            raise OptionError(
                f"Expected photos whose names differ without their endings, since masks are named after them; got "
                f"{taken[stem]} and {photo}. Try two folders."
            )
        taken[stem] = photo
        most = max((len(os.fsencode(each)) for each in suffixes(names)), default=8)
        if len(os.fsencode(PurePosixPath(photo).stem)) + 1 + most + longest > MOST_BYTES:
            raise OptionError(
                f"Expected photos whose masks have names of at most {MOST_BYTES} bytes, got {photo[:40]}…. Try "
                "shorter names."
            )


def _labels(path: Path, _photo: str, objects: Sequence[NamedMask], _names: Sequence[str], _tolerance: float) -> Path:
    return export.write_labels(path, export.label_map([each.result.mask for each in objects]))


def _coco(path: Path, photo: str, objects: Sequence[NamedMask], names: Sequence[str], tolerance: float) -> Path:
    masks, size = [each.result.mask for each in objects], objects[0].result.mask.shape
    known = export.CocoPhoto(photo, masks, [names.index(each.category) + 1 for each in objects], size)
    return export.write_coco(path, [known], names, tolerance=tolerance)


def _geojson(path: Path, photo: str, objects: Sequence[NamedMask], _names: Sequence[str], tolerance: float) -> Path:
    properties = [{"photo": photo, "object": each.name, "category": each.category} for each in objects]
    return export.write_geojson(path, [each.result.mask for each in objects], properties, tolerance=tolerance)


def _yolo(path: Path, _photo: str, objects: Sequence[NamedMask], names: Sequence[str], tolerance: float) -> Path:
    numbers = [names.index(each.category) for each in objects]
    return export.write_yolo(path, [each.result.mask for each in objects], numbers, tolerance=tolerance)


_TOGETHER: dict[str, Callable[[Path, str, Sequence[NamedMask], Sequence[str], float], Path]] = {
    "labels": _labels,
    "coco": _coco,
    "geojson": _geojson,
    "yolo": _yolo,
}


def write_whole_coco(out: Place, photos: Sequence[str], categories: Sequence[str]) -> str:
    """Put the photos' COCO files together to one, photo by photo; returns its name.

    Ids are counted anew, in the photos' order. No more than one photo's outlines are in memory.
    """
    with out.filled() as folder:
        unfinished = folder / f".{COCO}.unfinished"
        annotations = folder / f".{COCO}.annotations.unfinished"
        try:
            with unfinished.open("w") as images_file, annotations.open("w") as annotations_file:
                images_file.write('{"images": [')
                count = 0
                for image_id, photo in enumerate(photos, start=1):
                    stored: dict[str, Any] = json.loads(_own_coco(out, photo).read())
                    (image,) = stored["images"]
                    images_file.write(", " * (image_id > 1) + json.dumps({**image, "id": image_id}))
                    for each in stored["annotations"]:
                        count += 1
                        text = json.dumps({**each, "id": count, "image_id": image_id})
                        annotations_file.write(", " * (count > 1) + text)
                named = [{"id": k, "name": name} for k, name in enumerate(categories, start=1)]
                images_file.write(f'], "categories": {json.dumps(named)}, "annotations": [')
            with unfinished.open("a") as file, annotations.open() as rest:
                for piece in iter(lambda: rest.read(2**20), ""):
                    file.write(piece)
                file.write("]}\n")
            os.replace(unfinished, folder / COCO)
        finally:
            unfinished.unlink(missing_ok=True)
            annotations.unlink(missing_ok=True)
    return COCO


def _own_coco(out: Place, photo: str) -> Place:
    return out.at(f"{MASKS}/{PurePosixPath(photo).with_suffix('')}{FORMATS['coco'].ending}")
