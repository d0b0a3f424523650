"""GeoJSON: objects as features with polygons, in pixels or in the coordinates of a map."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError
from interactify.export.files import plain_numbers, write_json
from interactify.masks.arrays import Mask, checked_masks
from interactify.masks.polygons import Points, polygons

Transform = tuple[float, float, float, float, float, float]
IN_PIXELS: Transform = (1, 0, 0, 0, 1, 0)


def geojson(
    masks: Sequence[Mask] | NDArray[np.bool_],
    properties: Sequence[Mapping[str, Any]] | None = None,
    *,
    transform: Sequence[float] = IN_PIXELS,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Outline objects as a GeoJSON FeatureCollection (RFC 7946).

    Args:
        masks: (H, W) bool, one or several of one size.
        properties: one mapping for each feature; empty by default.
        transform: (a, b, c, d, e, f) maps a point to (a·x + b·y + c, d·x + e·y + f), in the order of rasterio's
            `src.transform`; GDAL's geotransform has the same six as (c, a, b, f, d, e). By default coordinates are
            pixels, (0, 0) at the upper left corner of the first one and y pointing down, which is outside the
            standard: that has longitude and latitude (WGS 84) only. Nothing is reprojected.
        tolerance: of the outlines' simplification, in *pixels* (see `polygons`).

    Returns:
        One feature for each mask: a Polygon where it has one component, a MultiPolygon where it has several, no
        geometry (null) where it is empty. Rings are closed. In the written coordinates, outlines run counterclockwise
        and holes clockwise, as the standard demands, also after a transform that turns or mirrors.

    Raises:
        OptionError: invalid masks, `properties` of another length, or a `transform` that is invalid or not invertible.

    >>> collection = geojson(np.ones((2, 3), bool), [{"name": "cup"}], transform=(0.5, 0, 10, 0, -0.5, 50))
    >>> collection["features"][0]["geometry"]["coordinates"]
    [[[10.0, 50.0], [10.0, 49.0], [11.5, 49.0], [11.5, 50.0], [10.0, 50.0]]]
    """
    found = checked_masks(masks)
    described = [{} for _ in found] if properties is None else [dict(each) for each in properties]
    if len(described) != len(found):
        raise OptionError(
            f"Expected properties for each of {len(found)} masks, got {len(described)}. Try one mapping for each mask."
        )
    matrix, shift, mirrored = _affine(transform)

    def ring(points: Points) -> list[Any]:
        moved = points @ matrix.T + shift
        # The first point stays the first, so that an object starts at the same point in any coordinates.
        ordered = np.concatenate((moved[:1], moved[:0:-1])) if mirrored else moved
        return plain_numbers(np.concatenate((ordered, ordered[:1])))

    features = []
    for mask, own_properties in zip(found, described, strict=True):
        shapes = [[ring(shape.outer), *map(ring, shape.holes)] for shape in polygons(mask, tolerance)]
        geometry: dict[str, Any] | None = None
        if shapes:
            several = len(shapes) > 1
            geometry = {
                "type": "MultiPolygon" if several else "Polygon",
                "coordinates": shapes if several else shapes[0],
            }
        features.append({"type": "Feature", "properties": own_properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def write_geojson(
    path: str | os.PathLike[str],
    masks: Sequence[Mask] | NDArray[np.bool_],
    properties: Sequence[Mapping[str, Any]] | None = None,
    *,
    transform: Sequence[float] = IN_PIXELS,
    tolerance: float = 0.0,
) -> Path:
    """Write the result of `geojson` as a file.

    Args:
        path: of the file; an existing one is replaced.
        masks: (H, W) bool, one or several of one size.
        properties: one mapping for each feature; empty by default.
        transform: (a, b, c, d, e, f), from pixels to a map's coordinates.
        tolerance: of the outlines' simplification, in pixels.

    Returns:
        The file's path.

    Raises:
        OptionError: as for `geojson`, JSON has no form for the `properties`, or the file can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_geojson(Path(folder, "cup.geojson"), np.ones((2, 3), bool)).read_text()[:46]
    '{"type": "FeatureCollection", "features": [{"t'
    """
    return write_json(path, geojson(masks, properties, transform=transform, tolerance=tolerance))


def _affine(transform: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """The matrix (2, 2), the shift (2,), and whether the matrix mirrors."""
    try:
        numbers = tuple(float(value) for value in transform)
        if numbers[6:] == (0, 0, 1):  # rasterio's transform is a matrix (3, 3), whose last row is constant
            numbers = numbers[:6]
        a, b, c, d, e, f = numbers
    except (ValueError, TypeError) as cause:
        raise OptionError(
            f"Expected a transform as six numbers (a, b, c, d, e, f), got {transform!r}. Try rasterio's src.transform."
        ) from cause
    matrix, shift = np.array([[a, b], [d, e]]), np.array([c, f])
    area = a * e - b * d
    if not np.isfinite([*matrix.ravel(), *shift]).all() or not np.isfinite(area) or area == 0:
        raise OptionError(
            f"Expected a finite, invertible transform, got {tuple(transform)!r}. Try rasterio's src.transform."
        )
    return matrix, shift, area < 0
