"""The outline of a mask along its pixels' edges, as closed rings: exact, and without a loop over pixels.

Every edge between a pixel inside and one outside is walked with the inside on the right. Walks go from corner to
corner. Where two pixels touch by a corner only, four edges meet: the walk turns right and stays with its own pixel, so
that pixels are connected by their sides and not by their corners.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.masks.arrays import Mask


class Ring(NamedTuple):
    """A closed walk around pixels.

    Attributes:
        points: (N, 2) int64, x and y of its corners in pixels, (0, 0) being the upper left corner of the photo's first
            pixel; the first is not repeated at the end, and none is visited twice.
        component: which component it bounds, from 1 on.
        hole: whether it bounds a hole of that component.
    """

    points: NDArray[np.int64]
    component: int
    hole: bool


class _Walks(NamedTuple):
    """Straight pieces of outline: numbers of the corners they lead from and to, and their heading, +1 or -1."""

    tail: NDArray[np.int64]
    head: NDArray[np.int64]
    heading: NDArray[np.int64]


def rings(mask: Mask) -> list[Ring]:
    """Walk around every component and every hole of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        The rings, in the order of their uppermost, then leftmost walk. On the screen, rings around a component run
        clockwise, rings around its holes counterclockwise. Components are connected by their pixels' sides.
        Where a hole touches the outside by a corner, they are two rings that share a point.

    >>> [ring.points.tolist() for ring in rings(np.array([[True, True], [True, False]]))]
    [[[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]]
    """
    height, width = mask.shape
    padded = np.pad(mask, 1).astype(np.int8)
    # Heading east (+1) the pixel below is inside, heading west the one above; heading south the one to the left.
    east = _walks(padded[1:, 1:-1] - padded[:-1, 1:-1])
    south = _walks((padded[1:-1, :-1] - padded[1:-1, 1:]).T)
    columns = width + 1
    tail, head = (corner % (height + 1) * columns + corner // (height + 1) for corner in south[:2])
    south = _Walks(tail, head, south.heading)

    # A right turn leads from east to south, from west to north, from south to west and from north to east.
    after_east = len(east.tail) + _continued(east.head, east.heading, south)
    after_south = _continued(south.head, -south.heading, east)
    following = np.concatenate((after_east, after_south)).tolist()
    tails, heads = np.concatenate((east.tail, south.tail)), np.concatenate((east.head, south.head))

    closed = _closed(following, tails.tolist(), len(east.tail))
    if not closed:
        return []
    # The walks of all rings in one array, to compute on all of them at once.
    walks = np.concatenate([np.array(ring) for ring in closed])
    starts = np.cumsum([0, *map(len, closed)])[:-1]
    (y, x), (y_next, x_next) = (np.divmod(corner[walks], columns) for corner in (tails, heads))
    holes = np.add.reduceat(x * y_next - x_next * y, starts) < 0
    # Every other walk of a ring heads east or west: the pixel on its right tells the component.
    level = starts + (walks[starts] >= len(east.tail))
    back = east.heading[walks[level]] < 0
    components = ndimage.label(mask)[0][y[level] - back, x[level] - back]
    points = np.split(np.stack((x, y), axis=1), starts[1:])
    return [Ring(*each) for each in zip(points, components.tolist(), holes.tolist(), strict=True)]


def signed_area(points: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """The area in a ring (N, 2), in square pixels; negative where it runs counterclockwise on the screen.

    >>> signed_area(np.array([[0, 0], [3, 0], [3, 2], [0, 2]]))
    6.0
    """
    x, y = (points - points[0]).T  # counted from the first point, the edge that closes the ring adds nothing
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2


def _walks(turns: NDArray[np.int8]) -> _Walks:
    """The runs of equal sign along each row of (lines, N); a corner's number is line · (N + 1) + column."""
    # The zero after each row ends its last run; `prepend` starts the first one.
    flat = np.pad(turns, ((0, 0), (0, 1))).ravel()
    breaks = np.flatnonzero(np.diff(flat, prepend=np.int8(0)))
    heading = flat[breaks].astype(np.int64)
    starts = np.flatnonzero(heading)
    first, last = breaks[starts], breaks[starts + 1] if len(starts) else breaks[:0]
    forward = heading[starts] > 0
    return _Walks(np.where(forward, first, last), np.where(forward, last, first), heading[starts])


def _continued(corner: NDArray[np.int64], turn: NDArray[np.int64], walks: _Walks) -> NDArray[np.int64]:
    """Which of `walks` continues from each corner: the one with the heading `turn`, else the only one."""
    keys = walks.tail * 2 + (walks.heading > 0)
    order = np.argsort(keys)
    keys = keys[order]
    wanted = corner * 2 + (turn > 0)
    index = np.searchsorted(keys, wanted)
    found = keys[np.minimum(index, len(keys) - 1)] == wanted if len(keys) else np.zeros(0, bool)
    return order[np.where(found, index, np.searchsorted(keys, wanted ^ 1))]


def _closed(following: list[int], corners: list[int], level: int) -> list[list[int]]:
    """The rings, each as its walks; every ring has one among the first `level` walks."""
    found: list[list[int]] = []
    done = bytearray(len(following))
    for first in range(level):
        if not done[first]:
            walk, ring = first, []
            while not done[walk]:
                done[walk] = 1
                ring.append(walk)
                walk = following[walk]
            found += _split(ring, corners)
    return found


def _split(closed: list[int], corners: list[int]) -> list[list[int]]:
    """Split a closed walk at the corners that it visits twice, so that no ring touches itself."""
    if len({corners[walk] for walk in closed}) == len(closed):
        return [closed]
    parts: list[list[int]] = []
    path: list[int] = []
    positions: dict[int, int] = {}
    for walk in closed:
        first = positions.get(corners[walk])
        if first is not None:
            parts.append(path[first:])
            for each in path[first:]:
                del positions[corners[each]]
            del path[first:]
        positions[corners[walk]] = len(path)
        path.append(walk)
    return [*parts, path]
