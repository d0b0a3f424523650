"""COCO's JSON: photos, categories and annotations, as pycocotools and most labelling tools read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError
from interactify.export.files import plain_numbers, write_json
from interactify.masks.arrays import Mask, checked_mask, checked_masks, checked_numbers, checked_size
from interactify.masks.polygons import polygons, single_ring
from interactify.masks.run_lengths import run_lengths

OUTLINES = ("polygons", "rle")


class CocoPhoto(NamedTuple):
    """A photo and its objects.

    Attributes:
        file_name: the photo's path, as readers of the JSON file look for it.
        masks: (H, W) bool each. Empty ones are left out.
        categories: for each mask the id of its category; by default 1, the first one.
        size: (H, W), needed only for a photo without masks.
    """

    file_name: str
    masks: Sequence[Mask] | NDArray[np.bool_]
    categories: Sequence[int] | None = None
    size: Sequence[int] | None = None


def coco_annotation(
    mask: Mask,
    *,
    id: int = 1,
    image_id: int = 1,
    category_id: int = 1,
    outline: str = "polygons",
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """One object as an annotation of COCO.

    Args:
        mask: (H, W) bool, not empty.
        id: the annotation's own, from 1 on: pycocotools takes 0 for "no match" in its evaluation.
        image_id: the photo's.
        category_id: the class's.
        outline: "polygons", which every tool reads: one ring for each component, its holes joined to it by bridges of
            no width, since COCO's polygons have no holes; pycocotools turns them into the same mask. "rle", run lengths
            as text: exact in every reader, but some labelling tools accept them for crowds only.
        tolerance: of the polygons' simplification, in pixels (see `polygons`).

    Returns:
        id, image_id, category_id, segmentation, area (pixels of the mask), bbox ([x, y, width, height] in pixels, x
        and y of the upper left corner), and iscrowd, which is 0.

    Raises:
        OptionError: `mask` is not such an array or is empty, `outline` is unknown, or `tolerance` is invalid.

    >>> mask = np.array([[False, True, True], [False, True, True]])
    >>> annotation = coco_annotation(mask)
    >>> annotation["segmentation"], annotation["area"], annotation["bbox"]
    ([[1, 0, 3, 0, 3, 2, 1, 2]], 4, [1, 0, 2, 2])
    """
    mask = checked_mask(mask)
    if not mask.any():
        raise OptionError("Expected a mask with an object in it, got an empty one. Try leaving it out.")
    if outline not in OUTLINES:
        raise OptionError(f"Expected an outline of {' or '.join(OUTLINES)}, got {outline!r}. Try polygons.")
    if outline == "polygons":
        joined = (single_ring(polygon) for polygon in polygons(mask, tolerance))
        segmentation: Any = [plain_numbers(ring.ravel()) for ring in joined]
    else:
        segmentation = run_lengths(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": id,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "area": int(np.count_nonzero(mask)),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "iscrowd": 0,
    }


def coco_dataset(
    photos: Sequence[CocoPhoto],
    categories: Sequence[str] = ("object",),
    *,
    outline: str = "polygons",
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Photos and their objects as one of COCO's data sets.

    Args:
        photos: each with its masks; their ids follow this order, from 1 on.
        categories: the classes' names, whose ids are 1, 2, … in this order.
        outline: "polygons" or "rle", see `coco_annotation`.
        tolerance: of the polygons' simplification, in pixels.

    Returns:
        images, annotations and categories, ready for JSON.

    Raises:
        OptionError: invalid masks or masks of different sizes in a photo, a photo without masks and size, or an
            unknown category.

    >>> dataset = coco_dataset([CocoPhoto("cup.jpg", [np.ones((2, 3), bool)])], ["cup"])
    >>> dataset["images"], dataset["categories"]
    ([{'id': 1, 'file_name': 'cup.jpg', 'width': 3, 'height': 2}], [{'id': 1, 'name': 'cup'}])
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (file_name, given, numbers, given_size) in enumerate(photos, start=1):
        masks = checked_masks(given)
        size = checked_size(given_size) if given_size is not None else masks[0].shape if masks else None
        if size is None or any(mask.shape != size for mask in masks):
            raise OptionError(f"Expected masks of {file_name} in its size (H, W), got {size}. Try CocoPhoto(size=…).")
        images.append({"id": image_id, "file_name": str(file_name), "width": size[1], "height": size[0]})
        for mask, category in zip(masks, checked_numbers(numbers, len(masks), "category", 1), strict=True):
            if not 1 <= category <= len(categories):
                raise OptionError(
                    f"Expected a category from 1 to {len(categories)} in {file_name}, got category {category}. "
                    "Try more names in categories."
                )
            if mask.any():
                annotations.append(
                    coco_annotation(
                        mask,
                        id=len(annotations) + 1,
                        image_id=image_id,
                        category_id=category,
                        outline=outline,
                        tolerance=tolerance,
                    )
                )
    named = [{"id": number, "name": str(name)} for number, name in enumerate(categories, start=1)]
    return {"images": images, "annotations": annotations, "categories": named}


def write_coco(
    path: str | os.PathLike[str],
    photos: Sequence[CocoPhoto],
    categories: Sequence[str] = ("object",),
    *,
    outline: str = "polygons",
    tolerance: float = 0.0,
) -> Path:
    """Write the result of `coco_dataset` as JSON.

    Args:
        path: of the file; an existing one is replaced.
        photos: each with its masks.
        categories: the classes' names, whose ids are 1, 2, ….
        outline: "polygons" or "rle", see `coco_annotation`.
        tolerance: of the polygons' simplification, in pixels.

    Returns:
        The file's path.

    Raises:
        OptionError: as for `coco_dataset`, or the file can't be written.

    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_coco(Path(folder, "set.json"), [CocoPhoto("cup.jpg", [np.ones((2, 3), bool)])])
    ...     json.loads(path.read_text())["annotations"][0]["segmentation"]
    [[0, 0, 3, 0, 3, 2, 0, 2]]
    """
    return write_json(path, coco_dataset(photos, categories, outline=outline, tolerance=tolerance))
