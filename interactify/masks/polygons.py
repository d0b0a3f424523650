"""Mask to polygons with holes, simplified on request, and joined into single rings."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interactify.errors import OptionError
from interactify.masks.arrays import Mask, checked_mask
from interactify.masks.contours import rings, signed_area

Points = NDArray[np.float64]


class Polygon(NamedTuple):
    """One component of a mask: its outline, and those of its holes.

    Points are (N, 2) float64, x to the right and y down in pixels, with (0, 0) at the upper left *corner* of the
    photo's first pixel, as COCO counts: a click at pixel (x, y) means its centre, (x + 0.5, y + 0.5).
    A ring's first point is not repeated at its end.

    Attributes:
        outer: the outline, clockwise on the screen (a positive area, y pointing down).
        holes: a ring for each hole, counterclockwise.
    """

    outer: Points
    holes: tuple[Points, ...] = ()


def polygons(mask: Mask, tolerance: float = 0.0) -> list[Polygon]:
    """Outline a mask, one polygon for each component.

    Outlines run along the pixels' edges and are exact: `filled` gives the mask back, to the pixel. Components are
    connected by their pixels' sides; two that touch by a corner share a point. Polygons are valid by the
    rules of the Open Geospatial Consortium: no ring crosses or touches itself, holes touch at single points only.

    Args:
        mask: (H, W) bool. An empty mask has no polygons.
        tolerance: in pixels. Above 0, outlines are simplified (Douglas and Peucker 1973): points are removed while
            those removed stay within this distance of the new outline; 1 removes the pixels' stairs. Holes that
            collapse are filled; components that would collapse keep their exact outline. Simplified rings may cross
            where they run close to each other, so polygons are no longer exact, and may be invalid.

    Returns:
        In the order of their components' first pixels, row by row.

    Raises:
        OptionError: `mask` is something else, or `tolerance` is negative or not finite.

    >>> mask = np.ones((3, 4), bool)
    >>> mask[1, 1] = False
    >>> (polygon,) = polygons(mask)
    >>> polygon.outer.tolist(), [hole.tolist() for hole in polygon.holes]
    ([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]], [[[2.0, 1.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0]]])
    """
    mask = checked_mask(mask)
    try:
        tolerance = float(tolerance)
    except (ValueError, TypeError) as cause:
        raise OptionError(f"Expected a tolerance in pixels, got {tolerance!r}.") from cause
    if not 0 <= tolerance < math.inf:
        raise OptionError(f"Expected a tolerance of 0 pixels or more, got {tolerance}.")
    outers: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for ring in rings(mask):
        points = exact = ring.points.astype(np.float64)
        if tolerance:
            points = _simplified(exact, tolerance)
            if signed_area(points) * (-1 if ring.hole else 1) <= 0:  # it has collapsed
                if ring.hole:
                    continue
                points = exact
        if ring.hole:
            holes.setdefault(ring.component, []).append(points)
        else:
            outers[ring.component] = points
    return [Polygon(outer, tuple(holes.get(component, ()))) for component, outer in outers.items()]


def single_ring(polygon: Polygon) -> Points:
    """Join a polygon's holes to its outline by bridges of no width, for formats without holes.

    Each bridge runs horizontally from a hole's leftmost point to the next ring on its left and back, so that the
    even-odd and the non-zero rule fill the same pixels.

    Args:
        polygon: as `polygons` returns it.

    Returns:
        (N, 2) float64: one ring through all points; those at a bridge's ends occur twice.

    >>> square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    >>> hole = np.array([[1.0, 1], [1, 2], [2, 2], [2, 1]])
    >>> single_ring(Polygon(square, (hole,))).astype(int).tolist()
    [[0, 0], [4, 0], [4, 4], [0, 4], [0, 1], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1], [0, 1]]
    """
    joined = polygon.outer
    # From left to right: the ring that a bridge reaches on the left, outline or hole, is joined already.
    entries = [min(range(len(hole)), key=lambda index: tuple(hole[index])) for hole in polygon.holes]
    for hole, entry in sorted(zip(polygon.holes, entries, strict=True), key=lambda pair: tuple(pair[0][pair[1]])):
        before, landing = _to_the_left(joined, hole[entry])
        around = np.concatenate((hole[entry:], hole[: entry + 1]))
        bridged = np.concatenate((joined[: before + 1], [landing], around, [landing], joined[before + 1 :]))
        joined = bridged[(bridged != np.roll(bridged, 1, axis=0)).any(axis=1)]
    return joined


def _simplified(ring: Points, tolerance: float) -> Points:
    """Remove points that lie within `tolerance` of the outline without them."""
    # A ring has no ends to start from: its first point, and the one farthest from it, stay.
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate((ring, ring[:1]))
    keep = np.zeros(len(closed), bool)
    keep[[0, far, -1]] = True
    waiting = [(0, far), (far, len(ring))]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        away = _distance_to_segment(closed[first + 1 : last], closed[first], closed[last])
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            waiting += [(first, middle), (middle, last)]
    return ring[keep[:-1]]


def _distance_to_segment(points: Points, start: Points, end: Points) -> Points:
    along = end - start
    length = float((along**2).sum())
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.hypot(*(points - start - share[:, None] * along).T)


def _to_the_left(ring: Points, point: Points) -> tuple[int, Points]:
    """Where a horizontal line to the left of a point first reaches a ring: the edge's number, and the point on it."""
    x, y = point
    start, end = ring, np.roll(ring, -1, axis=0)
    reached = np.flatnonzero((np.minimum(start[:, 1], end[:, 1]) <= y) & (y <= np.maximum(start[:, 1], end[:, 1])))
    (x1, y1), (x2, y2) = start[reached].T, end[reached].T
    rise = y2 - y1
    share = np.divide(y - y1, rise, out=np.where(x1 > x2, 0.0, 1.0), where=rise != 0)  # 0 or 1: right end
    crossing = x1 + share * (x2 - x1)
    left = np.flatnonzero(crossing <= x)
    if not len(left):  # a simplified hole can reach outside its outline: any point will do, take the nearest
        nearest = int(((ring - point) ** 2).sum(axis=1).argmin())
        return nearest, ring[nearest]
    best = left[crossing[left].argmax()]
    return int(reached[best]), np.array([crossing[best], y])
