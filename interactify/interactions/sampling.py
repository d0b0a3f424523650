"""Where the points lie by which the network is given a scribble, a region or a mask."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.gestures import MAX_POINTS, Box, Lasso, Mask, Scribble
from interactify.interactions.rasterise import bounds, points_inside, points_under
from interactify.pictures.window import Pixels

SCRIBBLE_POINTS: Final = 24  # points of a scribble by which the network is told, at most
SPACING: Final = 1 / 96  # of the photo's longer side: how far they lie apart, at least
OUTSIDE: Final = 0.12  # of a box's sides: how far outside it the points lie that say so
CENTRE_GRID: Final = 1024  # pixels along the longer side of a lasso, at most, among which the deepest is looked for
MASK_GRID: Final = 16  # points of a mask along the longer side of the grid that it is told by


def scribble_points(scribble: Scribble, photo_size: tuple[int, int]) -> Pixels:
    """(n, 2) pixels along a scribble, evenly, from end to end; of a wide one also towards its sides."""
    apart = max(1.0, max(photo_size) * SPACING)
    middle = _evenly(scribble, apart, SCRIBBLE_POINTS)
    count = len(middle)
    places = _nearest(middle)
    aside = 0.35 * scribble.width  # of the stroke's half width, 0.7
    if aside >= apart / 2:
        ahead = np.gradient(middle, axis=0) if count > 1 else np.array([[1.0, 0.0]])
        normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        sides = _nearest(np.concatenate([middle + aside * normal, middle - aside * normal]))
        places = np.concatenate([places, sides[points_under(scribble, sides)]])
    height, width = photo_size
    places = places[(places >= 0).all(1) & (places[:, 0] < width) & (places[:, 1] < height)]
    _, first = np.unique(places, axis=0, return_index=True)
    return places[np.sort(first)]


def traced_pixels(scribble: Scribble) -> Pixels:
    """(n, 2) the pixels that the middle of a scribble passes through, one after the other."""
    return np.unique(_nearest(_evenly(scribble, 0.5, MAX_POINTS)), axis=0)


def background_points(region: Box | Lasso, photo_size: tuple[int, int]) -> Pixels:
    """(n, 2) pixels around a region that are not the object, where the photo goes on there."""
    box = bounds(region)
    right, bottom = box.left + box.width - 1, box.top + box.height - 1
    height, width = photo_size
    across, down = (max(1, round(OUTSIDE * side)) for side in (box.width, box.height))
    xs = [max(0, box.left - across), (box.left + right) // 2, min(width - 1, right + across)]
    ys = [max(0, box.top - down), (box.top + bottom) // 2, min(height - 1, bottom + down)]
    places = np.array(list(dict.fromkeys((x, y) for x in xs for y in ys)), np.int64)
    return places[~points_inside(region, places)]


def deepest_pixel(region: Box | Lasso) -> tuple[int, int]:
    """The pixel deepest inside a region."""
    box = bounds(region)
    if isinstance(region, Box):
        return box.left + (box.width - 1) // 2, box.top + (box.height - 1) // 2
    # A large one is looked at where a grid of CENTRE_GRID lines crosses it.
    step = -(-max(box.width, box.height) // CENTRE_GRID)
    xs, ys = np.arange(box.left, box.left + box.width, step), np.arange(box.top, box.top + box.height, step)
    within = points_inside(region, np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).reshape(len(ys), len(xs))
    if not within.any():  # a large sliver, between the lines
        return int(region.points[0][0]), int(region.points[0][1])
    depth = ndimage.distance_transform_edt(np.pad(within, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(xs[column]), int(ys[row])


def mask_points(mask: Mask) -> tuple[Pixels, NDArray[np.bool_]]:
    """(n, 2) pixels on a grid over a mask, and their labels; the object's own box is covered as finely as the photo."""
    height, width = mask.mask.shape
    rows, columns = np.flatnonzero(mask.mask.any(1)), np.flatnonzero(mask.mask.any(0))
    spans = [(0, height, 0, width)]
    if len(rows):
        spans.append((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    found = []
    for top, bottom, left, right in spans:
        step = max(bottom - top, right - left) / MASK_GRID
        ys = np.unique(np.arange(top + step / 2, bottom, max(1.0, step)).astype(int))
        xs = np.unique(np.arange(left + step / 2, right, max(1.0, step)).astype(int))
        found.append(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2))
    places = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    return places, mask.mask[places[:, 1], places[:, 0]]


def _evenly(scribble: Scribble, apart: float, most: int) -> NDArray[np.float64]:
    """(n, 2) points from end to end of a scribble, so far apart, or farther where these were more than `most`."""
    points = np.array(scribble.points, float)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    total = float(travelled[-1])
    if total == 0:
        return points[:1]
    at = np.linspace(0, total, min(most, max(2, round(total / apart) + 1)))
    return np.stack([np.interp(at, travelled, points[:, axis]) for axis in (0, 1)], 1)


def _nearest(points: NDArray[np.float64]) -> Pixels:
    """The pixels that points lie in, halves up."""
    return np.floor(points + 0.5).astype(np.int64)
