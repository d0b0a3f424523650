"""Regions as Label Studio's front end serialises them, for a photo of the fixture's size."""

from __future__ import annotations

from typing import Any

import numpy as np

from interactify.tools.label_studio_rle import encoded

CONFIG = """
<View>
  <Image name="photo" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="photo"><Label value="Fruit"/><Label value="Leaf" background="green"/></BrushLabels>
  <KeyPointLabels name="point" toName="photo" smart="true"><Label value="Fruit"/><Label value="Leaf"/></KeyPointLabels>
  <RectangleLabels name="box" toName="photo" smart="true"><Label value="Fruit"/><Label value="Leaf"/></RectangleLabels>
</View>
"""
SIZE = (72, 100)  # H, W of the fixture `photo`


def region(kind: str, label: str = "Fruit", *, positive: bool | None = True, **value: Any) -> dict[str, Any]:
    """A region as the front end serialises it for a smart tool."""
    said: dict[str, Any] = {
        "id": "aB3_x", "type": kind, "from_name": "point", "to_name": "photo", "origin": "manual",
        "original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0,
        "value": {**value, kind: [label]},
    }  # fmt: skip
    return said if positive is None else {**said, "is_positive": positive}


def keypoint(x: float, y: float, label: str = "Fruit", positive: bool | None = True) -> dict[str, Any]:
    return region("keypointlabels", label, positive=positive, x=x, y=y, width=0.3, labels=[label])


def box(x: float, y: float, width: float, height: float, label: str = "Fruit", **more: Any) -> dict[str, Any]:
    return region("rectanglelabels", label, x=x, y=y, width=width, height=height, **more)


def stroke(*rows_and_columns: slice, label: str = "Fruit", positive: bool | None = None) -> dict[str, Any]:
    mask = np.zeros(SIZE, bool)
    mask[rows_and_columns] = True
    return region("brushlabels", label, positive=positive, format="rle", rle=encoded(mask))
