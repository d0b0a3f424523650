"""A rectangle of a photo: its intersection and union with others, and the pixels inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactify.errors import warn_renamed

Pixels = NDArray[np.int64]
"""(n, 2) photo pixels, x then y."""


@dataclass(frozen=True)
class Window:
    """A rectangle of the photo, in pixels: rows top to top + height, columns left to left + width."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing (..., H, W)."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def contains(self, points: Pixels) -> NDArray[np.bool_]:
        """(n,) bool: which of the pixels (n, 2), x then y, are inside."""
        x, y = points[:, 0], points[:, 1]
        return (self.left <= x) & (x < self.left + self.width) & (self.top <= y) & (y < self.top + self.height)

    def common(self, other: Window) -> Window | None:
        """The intersection with another window; None where they share no pixel."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - top
        width = min(self.left + self.width, other.left + other.width) - left
        return Window(top, left, height, width) if height > 0 and width > 0 else None

    def joined(self, other: Window) -> Window:
        """The smallest window that contains both."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom = max(self.top + self.height, other.top + other.height)
        return Window(top, left, bottom - top, max(self.left + self.width, other.left + other.width) - left)

    def relative_to(self, other: Window) -> Window:
        """The same pixels, relative to the corner of another window."""
        return Window(self.top - other.top, self.left - other.left, self.height, self.width)

    def holds_places(self, places: Pixels) -> NDArray[np.bool_]:
        """The old name of `contains`."""
        warn_renamed("Window.holds_places", "Window.contains")
        return self.contains(places)

    def seen_from(self, other: Window) -> Window:
        """The old name of `relative_to`."""
        warn_renamed("Window.seen_from", "Window.relative_to")
        return self.relative_to(other)

    def slices_by(self, step: int) -> tuple[slice, slice]:
        """Every `step`-th of its rows and columns, from its corner on."""
        rows, columns = self.slices
        return slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step)

    def on_grid_of(self, other: Window, step: int) -> tuple[Window, tuple[slice, slice]] | None:
        """The part of this window that is on the grid of every `step`-th pixel of another one; None where it is empty.

        Returns it, from its first grid pixel on, and its rows and columns on the grid.

        >>> Window(0, 3, 4, 4).on_grid_of(Window(0, 0, 10, 10), 2)
        (Window(top=0, left=4, height=4, width=3), (slice(0, 2, None), slice(2, 4, None)))
        """
        both = self.common(other)
        if both is None:
            return None
        down, across = -(-(both.top - other.top) // step), -(-(both.left - other.left) // step)
        top, left = other.top + down * step, other.left + across * step
        height, width = both.top + both.height - top, both.left + both.width - left
        if height <= 0 or width <= 0:
            return None
        rows, columns = slice(down, down - (-height // step)), slice(across, across - (-width // step))
        return Window(top, left, height, width), (rows, columns)

    def grown(self, share: float, size: tuple[int, int], least: int = 1) -> Window:
        """The window enlarged by `share` of its sides at each side, to at least `least`, within a photo (H, W).

        >>> Window(10, 10, 10, 20).grown(0.5, (100, 32))
        Window(top=5, left=0, height=20, width=32)
        """
        down, across = (max(round(share * side), -(-(least - side) // 2)) for side in (self.height, self.width))
        top, left = max(0, self.top - down), max(0, self.left - across)
        bottom, right = min(size[0], self.top + self.height + down), min(size[1], self.left + self.width + across)
        return Window(top, left, bottom - top, right - left)

    def with_aspect_of(self, size: tuple[int, int]) -> Window:
        """The smallest window around this one with the aspect ratio of a photo (H, W), and within it.

        >>> Window(10, 10, 10, 60).with_aspect_of((100, 200))
        Window(top=0, left=10, height=30, width=60)
        """
        share = max(self.height / size[0], self.width / size[1])
        height, width = (
            max(own, round(share * side)) for own, side in zip((self.height, self.width), size, strict=True)
        )
        top, left = self.top - (height - self.height) // 2, self.left - (width - self.width) // 2
        return Window(min(max(0, top), size[0] - height), min(max(0, left), size[1] - width), height, width)

    def overlap(self, other: Window) -> float:
        """Intersection over union with another window."""
        common = self.common(other)
        both = 0 if common is None else common.height * common.width
        return both / (self.height * self.width + other.height * other.width - both)


def extent_of(mask: NDArray[np.bool_]) -> Window | None:
    """The smallest window around a mask; None where it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return Window(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def whole(size: tuple[int, int]) -> Window:
    """The window of a whole photo, (H, W)."""
    return Window(0, 0, *size)
