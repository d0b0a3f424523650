"""COCO's annotations: a JSON file of images and objects, outlined by polygons or run lengths."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset, Truth, truth_of
from interactify.masks.fill import mask_of_polygons
from interactify.masks.run_lengths import mask_of_run_lengths


def coco(root: str | Path) -> Dataset:
    """Every object of a JSON file in COCO's format: polygons, or run lengths as numbers or as COCO's compressed text.

    Args:
        root: the JSON file; or the folder that has one, in itself or in `annotations/`. The photos are beside it or
            above it, in `images/`, or in a folder named like the file's ending (`annotations/instances_val2017.json`
            and `val2017/`).

    Returns:
        Photos with objects, each named by its annotation's id. Crowds (`iscrowd`) are left out.

    Raises:
        OptionError: there is no such file, or several; it has another format; a photo is missing; or, when a photo is
            read, an outline is invalid.
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
        photos.append(AnnotatedPhoto(str(Path(name).with_suffix("")), photo, partial(_truths, outlined, size)))
    return Dataset("coco", tuple(photos))


def _annotations(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted([*root.glob("*.json"), *root.glob("annotations/instances_*.json")])
    found = found or sorted(root.glob("annotations/*.json"))
    if len(found) != 1:
        which = f"found {len(found)}: {', '.join(p.name for p in found)}" if found else "found none"
        raise OptionError(f"Expected one file of annotations in {root} or its annotations/, {which}. Try its own path.")
    return found[0]


def _photo_folders(file: Path) -> list[Path]:
    subset = file.stem.rpartition("_")[2]
    above = file.parent.parent if file.parent.name == "annotations" else file.parent
    return [outer / inner for outer in dict.fromkeys((file.parent, above)) for inner in (subset, "images", "")]


def _truths(annotations: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Truth]:
    truths = {}
    for number, annotation in enumerate(annotations, start=1):
        outline, key = annotation["segmentation"], str(annotation.get("id", number))
        if isinstance(outline, dict):
            mask = mask_of_run_lengths(outline.get("counts"), tuple(outline.get("size", size)))
        else:
            mask = mask_of_polygons(outline, size)
        if mask.shape != size:
            raise OptionError(
                f"Expected the object {key} in its photo's size {size} (H, W), got {mask.shape}. Try another file."
            )
        truths[key] = truth_of(mask)
    return truths
