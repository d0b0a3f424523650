"""Results as files: masks, labels, probabilities, outlines and pictures, each written whole or not at all.

Functions called `write_…` write one file; the others give the same content as arrays, dicts or lines. docs/export.md
shows them together. Names are loaded at their first use (PEP 562): the command line's help lists the formats, and does
not wait for NumPy, SciPy and Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers don't follow __getattr__, and see the names here
    from interactify.export.coco import CocoPhoto, coco_annotation, coco_dataset, write_coco
    from interactify.export.files import prepare_folder
    from interactify.export.geojson_file import geojson, write_geojson
    from interactify.export.png import (
        voc_palette,
        write_labels,
        write_mask,
        write_picture,
        write_probability_npy,
        write_probability_png,
    )
    from interactify.export.rle import write_rle
    from interactify.export.yolo import write_yolo, yolo_lines
    from interactify.masks.arrays import label_map
    from interactify.masks.fill import filled
    from interactify.masks.polygons import Polygon, polygons, single_ring
    from interactify.masks.run_lengths import mask_of_rle, run_lengths

_NAMES = {
    "export.coco": ("CocoPhoto", "coco_annotation", "coco_dataset", "write_coco"),
    "export.files": ("prepare_folder",),
    "export.geojson_file": ("geojson", "write_geojson"),
    "export.png": (
        *("voc_palette", "write_labels", "write_mask", "write_picture"),
        *("write_probability_npy", "write_probability_png"),
    ),
    "export.rle": ("write_rle",),
    "export.yolo": ("write_yolo", "yolo_lines"),
    "masks.arrays": ("label_map",),
    "masks.fill": ("filled",),
    "masks.polygons": ("Polygon", "polygons", "single_ring"),
    "masks.run_lengths": ("mask_of_rle", "run_lengths"),
}
# No module may be called as one of these names: importing it would put the module in the name's stead.
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "CocoPhoto",
    "Polygon",
    "coco_annotation",
    "coco_dataset",
    "filled",
    "geojson",
    "label_map",
    "mask_of_rle",
    "polygons",
    "prepare_folder",
    "run_lengths",
    "single_ring",
    "voc_palette",
    "write_coco",
    "write_geojson",
    "write_labels",
    "write_mask",
    "write_picture",
    "write_probability_npy",
    "write_probability_png",
    "write_rle",
    "write_yolo",
    "yolo_lines",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'interactify.export' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"interactify.{_MODULE_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
