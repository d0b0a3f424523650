"""Annotations as COCO writes them: a JSON file of images and objects, outlined by polygons or run lengths."""

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
    """Every object of a COCO-style JSON: polygons, run lengths as numbers, or as COCO's compressed text.

    Args:
        root: the JSON file; or the folder that holds one, in itself or in `annotations/`. The photos lie beside it or
            above it, in `images/`, or in a folder called as the file ends (`annotations/instances_val2017.json` and
            `val2017/`).

    Returns:
        Photos with objects, each named by its annotation's id. Crowds (`iscrowd`) are no objects and left out.

    Raises:
        OptionError: there is no such file, or several; it holds something else; a photo is missing; or, on reading, an
            outline is none.
    """
    file = _annotations(Path(root))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in told["images"]}
        objects: dict[Any, list[dict[str, Any]]] = {}
        for annotation in told["annotations"]:
            if not annotation.get("iscrowd") and annotation["segmentation"]:
                objects.setdefault(annotation["image_id"], []).append(annotation)
        named = [
            (images[key]["file_name"], (int(images[key]["height"]), int(images[key]["width"])), objects[key])
            for key in images
            if key in objects
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise OptionError(
            f"{file} is not in COCO's format ({type(cause).__name__}: {cause}): expected images with id, file_name, "
            "height and width, and annotations with image_id and segmentation."
        ) from cause
    if not named:
        raise OptionError(f"{file} has no photo with an object.")
    places = _photo_folders(file)
    photos = []
    for name, size, outlined in named:
        photo = next((place / name for place in places if (place / name).is_file()), None)
        if photo is None:
            looked = ", ".join(str(place) for place in places)
            raise OptionError(f"{file} names the photo {name}, which is not in {looked}.")
        photos.append(AnnotatedPhoto(str(Path(name).with_suffix("")), photo, partial(_truths, outlined, size)))
    return Dataset("coco", tuple(photos))


def _annotations(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted([*root.glob("*.json"), *root.glob("annotations/instances_*.json")])
    found = found or sorted(root.glob("annotations/*.json"))
    if len(found) != 1:
        which = f"found {len(found)}: {', '.join(p.name for p in found)}" if found else "found none"
        raise OptionError(f"Expected one file of annotations in {root} or its annotations/, {which}. Name the file.")
    return found[0]


def _photo_folders(file: Path) -> list[Path]:
    subset = file.stem.rpartition("_")[2]
    above = file.parent.parent if file.parent.name == "annotations" else file.parent
    return [place / inner for place in dict.fromkeys((file.parent, above)) for inner in (subset, "images", "")]


def _truths(annotations: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Truth]:
    truths = {}
    for number, annotation in enumerate(annotations, start=1):
        outline, key = annotation["segmentation"], str(annotation.get("id", number))
        if isinstance(outline, dict):
            mask = mask_of_run_lengths(outline.get("counts"), tuple(outline.get("size", size)))
        else:
            mask = mask_of_polygons(outline, size)
        if mask.shape != size:
            raise OptionError(f"The object {key} has the size {mask.shape}, its photo {size} (H, W).")
        truths[key] = truth_of(mask)
    return truths
