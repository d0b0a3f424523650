"""Prompts in Label Studio's JSON: rectangles are boxes, key points clicks, brushes and polygons earlier masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from interactify.errors import InteractionError, text_of
from interactify.interactions.validation import number
from interactify.masks.run_lengths import run_lengths
from interactify.mass.prompts.photo_prompts import Parts, PhotoPrompts, Shape, Size
from interactify.tools.label_studio_regions import rectangle_in
from interactify.tools.label_studio_rle import decoded

UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


def label_studio_prompts(tasks: Sequence[Mapping[str, Any]]) -> list[PhotoPrompts]:
    """The prompts of tasks: those of each task's newest annotation that was not cancelled, else of its prediction.

    Raises:
        InteractionError: a task without a photo, several photos in one, or a region that can't be read.
    """
    found = []
    for task in tasks:
        name = f"task {task.get('id', '?')}"
        if not isinstance(task.get("data"), Mapping):
            raise InteractionError(
                f"Expected {name} with its data, got {text_of(task)}. Try the export named JSON, not JSON-MIN."
            )
        annotations = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
        regions = (annotations or task.get("predictions") or [{}])[-1].get("result") or []
        parts = Parts()
        size: Size | None = None
        for region in regions:
            try:
                if (read := _read(region)) is not None:
                    shape, label, size = read
                    parts.add(shape, label)
            except (TypeError, ValueError, KeyError, IndexError) as cause:
                raise InteractionError(f"In {name}: {cause}") from cause
        if objects := parts.objects():
            found.append(PhotoPrompts(photo_of(task["data"], regions, name), objects, size))
    return found


def photo_of(data: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], name: str) -> str:
    """The photo's name in a task's data: its only address, without what Label Studio adds.

    >>> photo_of({"image": "/data/upload/1/0a1b2c3d-cup.jpg"}, [], "task 1")
    'cup.jpg'
    >>> photo_of({"image": "/data/local-files/?d=photos/sub/cup.jpg"}, [], "task 1")
    'photos/sub/cup.jpg'
    """
    shapes = [text for text in data.values() if isinstance(text, str) and re.search(r"\.\w{2,5}($|\?)", text)]
    named = [str(data[key]) for key in ("image", "img", "photo") if isinstance(data.get(key), str)]
    address = (named or shapes or [""])[0]
    if not address:
        raise InteractionError(f"Expected {name} with the address of a photo in its data, got {text_of(dict(data))}.")
    parts = urlsplit(address)
    if below := parse_qs(parts.query).get("d"):
        return below[0].lstrip("/")
    path = unquote(parts.path)
    if "/upload/" in path:
        return UPLOAD.sub("", PurePosixPath(path).name, count=1)
    return path.lstrip("/")


def _read(region: Mapping[str, Any]) -> tuple[Shape, str | None, Size] | None:
    """A region's shape, its label, and the photo's (H, W); None for what is no shape, such as choices."""
    kind = str(region.get("type", "")).removesuffix("labels")
    if kind not in ("rectangle", "keypoint", "brush", "polygon"):
        if kind in ("ellipse", "vector", "bitmask"):
            raise ValueError(
                f"Expected rectangles, key points, brushes or polygons, got {text_of(region.get('type'))}."
            )
        return None
    if region.get("image_rotation"):
        raise ValueError("Expected regions on an upright photo, got one that is rotated in Label Studio.")
    size = int(region["original_height"]), int(region["original_width"])
    value = region["value"]
    labels = value.get(region["type"]) or value.get("labels") or [None]
    return _shape(kind, region, value, size), labels[0], size


def _shape(kind: str, region: Mapping[str, Any], value: Mapping[str, Any], size: Size) -> Shape:
    height, width = size
    if kind == "rectangle":
        return rectangle_in(value, size).to_json()
    if kind == "keypoint":
        x, y = (float(number(each, value.get(each), "a point's")) / 100 for each in ("x", "y"))
        positive = region.get("is_positive", True) is not False
        return {"kind": "point", "x": x * width, "y": y * height, "positive": positive}
    if kind == "polygon":
        ring = [
            share / 100 * side for point in value["points"] for share, side in zip(point, (width, height), strict=True)
        ]
        return {"kind": "outline", "polygons": [ring]}
    return {"kind": "mask", "rle": run_lengths(decoded(value["rle"], size))}
