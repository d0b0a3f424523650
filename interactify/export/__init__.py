"""Results as files: masks, labels, probabilities, outlines and pictures, each written whole or not at all.

Functions called `write_…` write one file; the others give the same content as arrays, dicts or lines. docs/export.md
shows them together.
"""

from interactify.export.coco import CocoPhoto, coco_annotation, coco_dataset, write_coco
from interactify.export.files import prepare_folder
from interactify.export.geojson import geojson, write_geojson
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
