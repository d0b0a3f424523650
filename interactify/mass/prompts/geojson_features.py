"""Prompts as GeoJSON in pixels: points are clicks, lines scribbles, rectangles boxes, other polygons earlier masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from interactify.errors import InteractionError, text_of
from interactify.mass.prompts.photo_prompts import Parts, PhotoPrompts, Shape, text_label

PHOTO = ("photo", "image", "file_name")
LABEL = ("label", "category", "class")


def geojson_prompts(stored: Mapping[str, Any], name: str) -> list[PhotoPrompts]:
    """The prompts of a collection of features.

    A feature's properties may have "photo" (else the collection's are looked at, and then the file's own name is the
    photo's), "label", "positive" and "object", which says what belongs together.

    Args:
        stored: the file's content.
        name: of the file, without its ending.

    Raises:
        InteractionError: a feature is no feature, or of another geometry.
    """
    common = {key: stored[key] for key in PHOTO if key in stored} | dict(stored.get("properties") or {})
    photos: dict[str, Parts] = {}
    for position, feature in enumerate(stored["features"], start=1):
        if not isinstance(feature, Mapping) or not isinstance(feature.get("geometry"), (Mapping, type(None))):
            raise InteractionError(
                f"Expected a feature with a geometry at position {position}, got {text_of(feature)}."
            )
        own = dict(feature.get("properties") or {})
        photo = _first(own, PHOTO) or _first(common, PHOTO) or name
        parts = photos.setdefault(str(photo), Parts())
        key = text_label(own.get("object"))
        try:
            for shape in _shapes(feature.get("geometry"), own):
                parts.add(shape, text_label(_first(own, LABEL)), key)
        except (TypeError, ValueError, KeyError, IndexError) as cause:
            raise InteractionError(f"In feature {position} of {PurePath(name).name}: {cause}") from cause
    return [PhotoPrompts(photo, parts.objects()) for photo, parts in photos.items()]


def _first(properties: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((properties[key] for key in keys if properties.get(key) is not None), None)


def _shapes(geometry: Mapping[str, Any] | None, properties: Mapping[str, Any]) -> list[Shape]:
    if geometry is None:  # as an empty mask is written
        return []
    kind: str = geometry["type"]
    at: Any = geometry.get("coordinates")
    positive = properties.get("positive", True)
    if kind in ("Point", "MultiPoint"):
        points = [at] if kind == "Point" else at
        return [{"kind": "point", "x": x, "y": y, "positive": positive} for x, y, *_ in points]
    if kind in ("LineString", "MultiLineString"):
        lines = [at] if kind == "LineString" else at
        return [_scribble(line, positive, properties.get("width", 1)) for line in lines]
    if kind == "Polygon" and len(at) == 1 and (corners := _rectangle(at[0])):
        return [{"kind": "corners", "sides": corners}]
    if kind in ("Polygon", "MultiPolygon"):
        polygons = [at] if kind == "Polygon" else at
        rings = [[[x, y] for x, y, *_ in ring] for polygon in polygons for ring in polygon]
        return [{"kind": "outline", "polygons": [_joined(polygon) for polygon in polygons]}] if rings else []
    raise ValueError(f"Expected a Point, LineString or Polygon, one or several, got {text_of(kind)}.")


def _scribble(line: Sequence[Any], positive: Any, width: Any) -> Shape:
    points = [[max(x - 0.5, 0), max(y - 0.5, 0)] for x, y, *_ in line]  # 0 is a border here, a pixel's centre there
    return {"kind": "scribble", "points": points, "positive": positive, "width": width}


def _rectangle(ring: Sequence[Any]) -> list[float] | None:
    """Two opposite corners of an upright rectangle; None where the ring is none."""
    corners = {(x, y) for x, y, *_ in ring}
    xs, ys = {x for x, _ in corners}, {y for _, y in corners}
    upright = all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(ring))
    if len(corners) == 4 and len(ring) == 5 and len(xs) == 2 and len(ys) == 2 and upright:
        return [min(xs), min(ys), max(xs), max(ys)]
    return None


def _joined(polygon: Sequence[Sequence[Any]]) -> list[float]:
    """A polygon and its holes as one ring: there and back by bridges of no width, which fills to the same mask."""
    outer = [[x, y] for x, y, *_ in polygon[0]]
    start = outer[0]
    for hole in polygon[1:]:
        outer += [[x, y] for x, y, *_ in hole] + [list(hole[0][:2]), start]
    return [number for point in outer for number in point]
