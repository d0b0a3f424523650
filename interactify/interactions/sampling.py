"""The points by which the network is given a scribble, a region or a mask."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.gestures import MAX_POINTS, UNKNOWN, Box, Labels, Lasso, Mask, Scribble
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
    middle = _evenly(scribble, apart, SCRIBBLE_POINTS)
    count = len(middle)
    points = _nearest(middle)
    aside = 0.35 * scribble.width  # 0.7 of half the stroke's width
    if aside >= apart / 2:
        ahead = np.gradient(middle, axis=0) if count > 1 else np.array([[1.0, 0.0]])
        normal = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        sides = _nearest(np.concatenate([middle + aside * normal, middle - aside * normal]))
        points = np.concatenate([points, sides[points_under(scribble, sides)]])
    height, width = photo_size
    points = points[(points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)]
    _, first = np.unique(points, axis=0, return_index=True)
    return points[np.sort(first)]


def traced_pixels(scribble: Scribble) -> Pixels:
    """(n, 2): all pixels that the middle line of a scribble passes through."""
    return np.unique(_nearest(_evenly(scribble, 0.5, MAX_POINTS)), axis=0)


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


def mask_points(mask: Mask) -> tuple[Pixels, NDArray[np.bool_]]:
    """(n, 2) pixels of two grids, over the photo and over the object's bounding box, and the mask's values there."""
    found = [_grid(np.ones_like(mask.mask), MASK_GRID)]
    if mask.mask.any():
        found.append(_grid(mask.mask, MASK_GRID))
    points = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    return points, mask.mask[points[:, 1], points[:, 0]]


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
    """(n, 2) pixels of a grid over a mask's bounding box, `count` along its longer side."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    step = max(bottom - top, right - left) / count
    ys = np.unique(np.arange(top + step / 2, bottom, max(1.0, step)).astype(int))
    xs = np.unique(np.arange(left + step / 2, right, max(1.0, step)).astype(int))
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)


def _evenly(scribble: Scribble, apart: float, most: int) -> NDArray[np.float64]:
    """(n, 2) points from end to end of a scribble, `apart` pixels apart, or farther: at most `most` points."""
    points = np.array(scribble.points, float)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    total = float(travelled[-1])
    if total == 0:
        return points[:1]
    at = np.linspace(0, total, min(most, max(2, round(total / apart) + 1)))
    return np.stack([np.interp(at, travelled, points[:, axis]) for axis in (0, 1)], 1)


def _nearest(points: NDArray[np.float64]) -> Pixels:
    """The pixels that contain the points, halves rounded up."""
    return np.floor(points + 0.5).astype(np.int64)
