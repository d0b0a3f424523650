"""Prompts in CVAT's XML, "CVAT for images": boxes, points as clicks, polygons and masks as earlier masks."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from interactify.errors import InteractionError, text_of
from interactify.mass.prompts.photo_prompts import Parts, PhotoPrompts, Shape

OUTSIDE = ("negative", "background")  # a checkbox of points in CVAT that says: these are not the object


def cvat_prompts(text: str) -> list[PhotoPrompts]:
    """The prompts of CVAT's annotations.xml. Shapes of one group are one object.

    Points with an attribute "negative" or "background" that is true are clicks beside the object.

    Raises:
        InteractionError: no such XML, or a shape that can't be read.
    """
    try:
        root = ET.fromstring(text)
    except ET.ParseError as cause:
        raise InteractionError(f"Expected CVAT's XML, got something else: {cause}.") from cause
    if root.tag != "annotations" or root.find("track") is not None:
        raise InteractionError(
            f"Expected <annotations> of images, got <{root.tag}>{' of a video' if root.tag == 'annotations' else ''}. "
            'Try CVAT\'s export named "CVAT for images 1.1".'
        )
    found = []
    for image in root.iter("image"):
        parts = Parts()
        for element in image:
            try:
                group = element.get("group_id", "0")
                for shape in _shapes(element):
                    parts.add(shape, element.get("label"), None if group == "0" else f"group-{group}")
            except (TypeError, ValueError, KeyError) as cause:
                raise InteractionError(f"In <{element.tag}> of {image.get('name')}: {cause!r}") from cause
        size = image.get("height"), image.get("width")
        if objects := parts.objects():
            stated = None if None in size else (int(str(size[0])), int(str(size[1])))
            found.append(PhotoPrompts(image.attrib["name"], objects, stated))
    return found


def _shapes(element: ET.Element) -> list[Shape]:
    given = element.attrib
    if element.tag == "box":
        if float(given.get("rotation", 0)):
            raise ValueError(f"Expected an upright box, got one rotated by {given['rotation']} degrees.")
        return [{"kind": "corners", "sides": [float(given[side]) for side in ("xtl", "ytl", "xbr", "ybr")]}]
    if element.tag == "points":
        attributes = {each.get("name", "").lower(): (each.text or "").lower() for each in element.iter("attribute")}
        positive = not any(attributes.get(name) == "true" for name in OUTSIDE)
        return [{"kind": "point", "x": x, "y": y, "positive": positive} for x, y in _points(given["points"])]
    if element.tag == "polygon":
        return [{"kind": "outline", "polygons": [[number for point in _points(given["points"]) for number in point]]}]
    if element.tag == "mask":
        frame = {name: int(given[name]) for name in ("left", "top", "width", "height")}
        return [{"kind": "runs", **frame, "counts": [int(run) for run in given["rle"].split(",")]}]
    if element.tag == "polyline":
        points = [[max(x - 0.5, 0), max(y - 0.5, 0)] for x, y in _points(given["points"])]
        return [{"kind": "scribble", "points": points}]
    if element.tag in ("ellipse", "cuboid", "skeleton"):
        raise ValueError(f"Expected boxes, points, polygons or masks, got <{element.tag}>.")
    return []  # a tag of the whole image


def _points(text: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in text.split(";")]
    if not all(len(pair) == 2 for pair in pairs):
        raise ValueError(f"Expected points as x,y;x,y, got {text_of(text)}.")
    return [(float(x), float(y)) for x, y in pairs]
