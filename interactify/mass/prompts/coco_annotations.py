"""Prompts in COCO's format: an annotation is an object, with its box, its keypoints as clicks, and its earlier mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interactify.errors import InteractionError, text_of
from interactify.mass.prompts.photo_prompts import ObjectPrompts, PhotoPrompts, Shape


def coco_prompts(stored: Mapping[str, Any]) -> list[PhotoPrompts]:
    """The prompts of a file of images, annotations and categories. Crowds (`iscrowd`) are left out.

    Raises:
        InteractionError: something in it is not as COCO has it.
    """
    names = {each["id"]: str(each["name"]) for each in stored.get("categories", [])}
    objects: dict[Any, list[ObjectPrompts]] = {}
    for position, annotation in enumerate(stored["annotations"], start=1):
        if annotation.get("iscrowd"):
            continue
        name = str(annotation.get("id", position))
        try:
            shapes = tuple(_shapes(annotation))
        except (TypeError, ValueError, KeyError) as cause:
            raise InteractionError(f"In annotation {name}: {cause}") from cause
        if shapes:
            label = names.get(annotation.get("category_id"))
            objects.setdefault(annotation["image_id"], []).append(ObjectPrompts(name, label, shapes))
    images = {image["id"]: image for image in stored["images"]}
    if unknown := [key for key in objects if key not in images]:
        raise InteractionError(f"Expected annotations of images in the file, got image_id {text_of(unknown[0])}.")
    return [
        PhotoPrompts(str(images[key]["file_name"]), tuple(found), _size(images[key])) for key, found in objects.items()
    ]


def _shapes(annotation: Mapping[str, Any]) -> list[Shape]:
    found: list[Shape] = []
    outline, box, points = annotation.get("segmentation"), annotation.get("bbox"), annotation.get("keypoints") or []
    if isinstance(outline, Mapping):
        found.append({"kind": "mask", "rle": dict(outline)})
    elif outline:
        found.append({"kind": "outline", "polygons": outline})
    if box:
        x, y, width, height = box
        found.append({"kind": "corners", "sides": [x, y, x + width, y + height]})
    if len(points) % 3:
        raise ValueError(f"Expected keypoints as x, y, v for each, got {len(points)} numbers.")
    found += [{"kind": "point", "x": x, "y": y} for x, y, seen in zip(*[iter(points)] * 3, strict=True) if seen]
    return found


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    return (int(image["height"]), int(image["width"])) if {"height", "width"} <= set(image) else None
