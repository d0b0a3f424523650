"""The points by which the network is given a scribble, a region or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.gestures import MAX_POINTS, UNKNOWN, Box, Labels, Lasso, Scribble
from interactify.interactions.rasterise import bounds, points_inside, points_under
from interactify.pictures.window import Pixels

SCRIBBLE_POINTS: Final = 24  # the most points along a scribble
SPACING: Final = 1 / 96  # of the photo's longer side: the least distance between points of a scribble
OUTSIDE: Final = 0.12  # of a box's sides: how far outside it its background points are
CENTRE_GRID: Final = 1024  # the most grid lines along a lasso's longer side to search for its deepest pixel
MASK_GRID: Final = 16  # points of a mask along the longer side of their grid
CLASS_GRID: Final = 8  # and of each class of a label map


def scribble_points(scribble: Scribble, photo_size: tuple[int, int]) -> Pixels:
    """(n, 2) pixels along a scribble, evenly spaced from end to end; for a wide one also towards its sides."""
    apart = max(1.0, max(photo_size) * SPACING)
    middle = evenly(scribble.points, apart, SCRIBBLE_POINTS)
    count = len(middle)
    points = nearest(middle)
    aside = 0.35 * scribble.width  # 0.7 of half the stroke's width
    if aside >= apart / 2:
        ahead = np.gradient(middle, axis=0) if count > 1 else np.array([[1.0, 0.0]])
        normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        sides = nearest(np.concatenate([middle + aside * normal, middle - aside * normal]))
        points = np.concatenate([points, sides[points_under(scribble, sides)]])
    height, width = photo_size
    points = points[(points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)]
    _, first = np.unique(points, axis=0, return_index=True)
    return points[np.sort(first)]


def traced_pixels(scribble: Scribble) -> Pixels:
    """(n, 2): all pixels that the middle line of a scribble passes through."""
    return traced(scribble.points)


def traced(line: Sequence[Sequence[float]]) -> Pixels:
    """(n, 2), or (n, 3) in space: all pixels that a polyline passes through."""
    return np.unique(nearest(evenly(line, 0.5, MAX_POINTS)), axis=0)


def background_points(region: Box | Lasso, photo_size: tuple[int, int]) -> Pixels:
    """(n, 2) background pixels around a region, on those sides where the photo extends beyond it."""
    box = bounds(region)
    right, bottom = box.left + box.width - 1, box.top + box.height - 1
    height, width = photo_size
    across, down = (max(1, round(OUTSIDE * side)) for side in (box.width, box.height))
    xs = [max(0, box.left - across), (box.left + right) // 2, min(width - 1, right + across)]
    ys = [max(0, box.top - down), (box.top + bottom) // 2, min(height - 1, bottom + down)]
    points = np.array(list(dict.fromkeys((x, y) for x in xs for y in ys)), np.int64)
    return points[~points_inside(region, points)]


def deepest_pixel(region: Box | Lasso) -> tuple[int, int]:
    """The pixel deepest inside a region, x then y."""
    box = bounds(region)
    if isinstance(region, Box):
        return box.left + (box.width - 1) // 2, box.top + (box.height - 1) // 2
    # A large lasso is sampled on a grid of at most CENTRE_GRID lines.
    step = -(-max(box.width, box.height) // CENTRE_GRID)
    xs, ys = np.arange(box.left, box.left + box.width, step), np.arange(box.top, box.top + box.height, step)
    within = points_inside(region, np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).reshape(len(ys), len(xs))
    if not within.any():  # a large sliver between the grid lines
        return int(region.points[0][0]), int(region.points[0][1])
    depth = ndimage.distance_transform_edt(np.pad(within, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(xs[column]), int(ys[row])


def mask_points(mask: NDArray[np.bool_], count: int = MASK_GRID) -> tuple[Pixels, NDArray[np.bool_]]:
    """(n, 2) pixels of two grids, over the photo and over the object's bounding box, and the mask's values there.

    Of a mask (D, H, W) they are voxels, (n, 3). `count` is the number of points along the longer side of each grid.
    """
    found = [_grid(np.ones_like(mask), count)]
    if mask.any():
        found.append(_grid(mask, count))
    points = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    return points, mask[tuple(points.T[::-1])]


def label_points(labels: Labels) -> tuple[Pixels, NDArray[np.int64]]:
    """(n, 2) pixels of known classes, in grids over the photo and over each class's bounding box; and their classes."""
    array = labels.labels
    known = array != UNKNOWN
    found = [_grid(np.ones_like(known), MASK_GRID)]
    for label in np.unique(array[known]):
        own = array == label
        points = _grid(own, CLASS_GRID)
        points = points[own[points[:, 1], points[:, 0]]]
        found.append(points if len(points) else np.argwhere(own)[:1, ::-1])
    points = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    points = points[known[points[:, 1], points[:, 0]]]
    return points, array[points[:, 1], points[:, 0]].astype(np.int64)


def _grid(mask: NDArray[np.bool_], count: int) -> Pixels:
    """(n, 2) pixels of a grid over a mask's bounding box, `count` along its longer side; (n, 3) of a volume's."""
    sides = []
    for axis in reversed(range(mask.ndim)):  # x first
        used = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        sides.append((used[0], used[-1] + 1))
    step = max(end - first for first, end in sides) / count
    axes = [np.unique(np.arange(first + step / 2, end, max(1.0, step)).astype(int)) for first, end in sides]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, mask.ndim)


def evenly(line: Sequence[Sequence[float]], apart: float, most: int) -> NDArray[np.float64]:
    """(n, 2), or (n, 3), points from end to end of a polyline, `apart` pixels apart, or farther: at most `most`."""
    points = np.array(line, float)
    travelled = np.concatenate([[0.0], np.cumsum(reduce(np.hypot, np.diff(points, axis=0).T))])
    total = float(travelled[-1])
    if total == 0:
        return points[:1]
    at = np.linspace(0, total, min(most, max(2, round(total / apart) + 1)))
    return np.stack([np.interp(at, travelled, points[:, axis]) for axis in range(points.shape[1])], 1)


def nearest(points: NDArray[np.float64]) -> Pixels:
    """The pixels that contain the points, halves rounded up."""
    return np.floor(points + 0.5).astype(np.int64)
