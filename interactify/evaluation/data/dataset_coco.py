"""COCO's annotations: a JSON file of images and objects, outlined by polygons or run lengths."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from interactify.errors import OptionError, warn_user
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset, Truth, truth_of, visible
from interactify.masks.arrays import checked_size
from interactify.masks.fill import check_polygons, mask_of_polygons
from interactify.masks.run_lengths import check_run_lengths, mask_of_run_lengths

SHOWN: Final = 3  # of invalid outlines, in the warning


def coco(root: str | Path) -> Dataset:
    """Every object of a JSON file in COCO's format: polygons, or run lengths as numbers or as COCO's compressed text.

    Args:
        root: the JSON file; or the folder that has one, in itself or in `annotations/`. The photos are beside it or
            above it, in `images/`, or in a folder named like the file's ending (`annotations/instances_val2017.json`
            and `val2017/`).

    Returns:
        Photos with objects, each named by its annotation's id. Crowds (`iscrowd`) are left out.

    Warns:
        InteractifyWarning: outlines are invalid, as a polygon of two points is. They are left out, and named.

    Raises:
        OptionError: there is no such file, or several; it has another format; a photo is missing; or no outline is
            valid.
    """
    file = _annotations(Path(root))
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in stored["images"]}
        objects: dict[Any, list[dict[str, Any]]] = {}
        for annotation in stored["annotations"]:
            if not annotation.get("iscrowd") and annotation["segmentation"]:
                objects.setdefault(annotation["image_id"], []).append(annotation)
        named = [
            (images[key]["file_name"], (int(images[key]["height"]), int(images[key]["width"])), objects[key])
            for key in images
            if key in objects
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise OptionError(
            f"Expected images with id, file_name, height and width, and annotations with image_id and segmentation; "
            f"got {file}, which is not in COCO's format ({type(cause).__name__}: {cause}). Try another file."
        ) from cause
    named = _with_valid_outlines(file, named)
    if not named:
        raise OptionError(f"Expected photos with objects in {file}, got none. Try another file.")
    folders = _photo_folders(file)
    photos = []
    for name, size, outlined in named:
        photo = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if photo is None:
            searched = ", ".join(str(folder) for folder in folders)
            raise OptionError(
                f"Expected the photo {name} of {file} in one of {searched}; got none. Try to move the photos there."
            )
        photos.append(AnnotatedPhoto(str(Path(name).with_suffix("")), photo, partial(_truths, outlined, size, file)))
    return Dataset("coco", tuple(photos))


def _annotations(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted([*visible(root, "*.json"), *visible(root, "annotations/instances_*.json")])
    found = found or visible(root, "annotations/*.json")
    if len(found) != 1:
        which = f"found {len(found)}: {', '.join(p.name for p in found)}" if found else "found none"
        raise OptionError(f"Expected one file of annotations in {root} or its annotations/, {which}. Try its own path.")
    return found[0]


def _photo_folders(file: Path) -> list[Path]:
    subset = file.stem.rpartition("_")[2]
    above = file.parent.parent if file.parent.name == "annotations" else file.parent
    return [outer / inner for outer in dict.fromkeys((file.parent, above)) for inner in (subset, "images", "")]


_Named = list[tuple[str, tuple[int, int], list[dict[str, Any]]]]
"""Of each photo its name, its size (H, W) and its annotations."""


def _with_valid_outlines(file: Path, named: _Named) -> _Named:
    """Those annotations whose outlines can be read; one warning tells which can't. Nothing is drawn for it."""
    total, faults, kept = 0, list[str](), []
    for name, size, outlined in named:
        valid = []
        for number, annotation in enumerate(outlined, start=1):
            total += 1
            try:
                _check_outline(annotation["segmentation"], size)
                valid.append(annotation)
            except OptionError as fault:
                faults.append(f"annotation {_key(annotation, number)} of {name}: {fault}")
        if valid:
            kept.append((name, size, valid))
    if faults:
        more = f" And {len(faults) - SHOWN} more." if len(faults) > SHOWN else ""
        warn_user(
            f"Left out {len(faults)} of {total} objects in {file}, whose outlines are invalid. "
            f"{' '.join(faults[:SHOWN])}{more}"
        )
    return kept


def _check_outline(outline: Any, size: tuple[int, int]) -> None:
    """Raise OptionError for an outline that can't be drawn in a photo (H, W)."""
    if isinstance(outline, dict):
        stated = outline.get("size", size)
        if checked_size(stated) != size:
            raise OptionError(f"Expected run lengths of the photo's size {size} (H, W), got {stated}.")
        check_run_lengths(outline.get("counts"), size)
    else:
        check_polygons(outline)


def _key(annotation: dict[str, Any], number: int) -> str:
    return str(annotation.get("id", number))


def _truths(annotations: list[dict[str, Any]], size: tuple[int, int], file: Path) -> dict[str, Truth]:
    truths = {}
    for number, annotation in enumerate(annotations, start=1):
        outline, key = annotation["segmentation"], _key(annotation, number)
        try:
            if isinstance(outline, dict):
                mask = mask_of_run_lengths(outline.get("counts"), size)
            else:
                mask = mask_of_polygons(outline, size)
        except OptionError as cause:
            raise OptionError(f"In {file}, annotation {key}: {cause}") from cause
        truths[key] = truth_of(mask)
    return truths
