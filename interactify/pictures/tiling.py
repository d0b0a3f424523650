"""Overlapping tiles of a picture that is too large for the network; each pixel belongs to the core of one tile."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from interactify.errors import OptionError
from interactify.pictures.window import Window


@dataclass(frozen=True)
class Tile:
    """The network's input, `window`, and the pixels taken from its output, `core`, inside it."""

    window: Window
    core: Window


def tiles(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """The fewest tiles that cover a picture of (H, W) pixels, row by row.

    All windows have one size: `side` pixels high and wide, or the picture's where that is smaller. They are evenly
    spaced, and neighbours share at least `overlap` pixels. The cores cover the picture without overlap: borders run
    through the middle of what two neighbours share, so that a pixel is taken from the tile with more context.

    Raises OptionError for sides below 1, or an overlap that is not between 0 and side - 1.

    >>> [(tile.window.left, tile.core.left, tile.core.width) for tile in tiles((80, 240), side=100, overlap=20)]
    [(0, 0, 85), (70, 85, 70), (140, 155, 85)]
    """
    for name, value in (("height", size[0]), ("width", size[1]), ("side", side), ("overlap", overlap)):
        least = 0 if name == "overlap" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise OptionError(f"Expected {name} as a whole number of at least {least} (pixels), got {value!r}.")
    if overlap >= side:
        raise OptionError(f"Expected overlap below the tiles' side of {side}, got {overlap}.")
    rows, columns = (_spans(length, side, overlap) for length in size)
    return [
        Tile(Window(top, left, high, wide), Window(core_top, core_left, core_high, core_wide))
        for top, high, core_top, core_high in rows
        for left, wide, core_left, core_wide in columns
    ]


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Start and length of each window along one side, and of its core."""
    side = min(side, length)
    count = 1 if side == length else -(-(length - overlap) // (side - overlap))
    starts = [index * (length - side) // max(1, count - 1) for index in range(count)]
    borders = [0, *((before + side + after) // 2 for before, after in pairwise(starts)), length]
    return [(start, side, first, last - first) for start, (first, last) in zip(starts, pairwise(borders), strict=True)]


class Tiling:
    """Tiles in row order, with a lookup of the tile for a pixel."""

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self.tiles = tiles
        self._tops = sorted({tile.core.top for tile in tiles})
        self._lefts = sorted({tile.core.left for tile in tiles})

    def at(self, x: int, y: int) -> int:
        """The index of the tile whose core contains a pixel."""
        row, column = bisect_right(self._tops, y) - 1, bisect_right(self._lefts, x) - 1
        return row * len(self._lefts) + column

    def overlapping(self, window: Window) -> list[int]:
        """The indices of the tiles whose cores a window overlaps."""
        first = self.at(window.left, window.top)
        last = self.at(window.left + window.width - 1, window.top + window.height - 1)
        wide = len(self._lefts)
        columns = range(first % wide, last % wide + 1)
        return [row * wide + column for row in range(first // wide, last // wide + 1) for column in columns]
