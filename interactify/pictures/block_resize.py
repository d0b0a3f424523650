"""Antialiased bilinear resizing of a picture block by block: the same result, in the memory of the small picture.

Resizing is linear and separable into its two axes. So the contributions of the blocks can be added in any order, and
each pixel is read once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from interactify.pictures.window import Window

_OUTPUTS = 16  # columns of the result computed at a time: with more, the weights are mostly zeros


class BlockResize:
    """Resizes a picture of `size` (H, W) to `content` (C, h', w').

    Equal to `F.interpolate(mode="bilinear", antialias=True, align_corners=False)` to within rounding.

    >>> shrinking = BlockResize((4, 6), (2, 3), channels=1)
    >>> shrinking.add(Window(0, 0, 2, 6), [torch.zeros(1, 2, 6)])
    >>> shrinking.add(Window(2, 0, 2, 6), [torch.ones(1, 1, 6), torch.ones(1, 1, 6)])
    >>> shrinking.content
    tensor([[[0.1429, 0.1429, 0.1429],
             [0.8571, 0.8571, 0.8571]]])
    """

    def __init__(self, size: tuple[int, int], content_size: tuple[int, int], channels: int) -> None:
        self.rows, self.columns = (Axis(*sides) for sides in zip(size, content_size, strict=True))
        self.content = torch.zeros(channels, *content_size, dtype=torch.float32, device="cpu")

    def add(self, block: Window, strips: Iterable[Tensor]) -> None:
        """Add a block of the picture, given as strips (C, r, w), float32, of its rows from top to bottom."""
        above, below = self.rows.targets_of(block.top, block.top + block.height)
        band = self.content.new_zeros(len(self.content), below - above, block.width)
        row = block.top
        for strip in strips:
            first, weights = self.rows.weights(row, row + strip.shape[1])
            band[:, first - above : first - above + len(weights)] += weights @ strip
            row += strip.shape[1]
        step = max(1, round(_OUTPUTS * self.columns.scale))
        for start in range(0, block.width, step):
            stop = min(block.width, start + step)
            first, weights = self.columns.weights(block.left + start, block.left + stop)
            self.content[:, above:below, first : first + len(weights)] += band[..., start:stop] @ weights.T


class Axis:
    """The weights of `side` pixels in `target` pixels along one axis: a triangle around each target's centre."""

    def __init__(self, side: int, target: int) -> None:
        self.side, self.target = side, target
        self.scale = side / target
        self._reach = max(self.scale, 1.0)  # to enlarge is to interpolate between neighbours

    def targets_of(self, start: int, stop: int) -> tuple[int, int]:
        """The range of target pixels, first to one past the last, to which pixels start to stop contribute."""
        first = np.ceil((start + 0.5 - self._reach) / self.scale - 0.5)
        last = np.floor((stop - 0.5 + self._reach) / self.scale - 0.5)
        return max(0, int(first)), min(self.target, int(last) + 1)

    def weights(self, start: int, stop: int) -> tuple[int, Tensor]:
        """The first target pixel that pixels start to stop contribute to, and their weights (k, stop - start).

        Over the whole side the weights of each target pixel add up to 1.
        """
        first, end = self.targets_of(start, stop)
        raw = self._triangle(np.arange(first, end)[:, None], np.arange(start, stop))
        return first, torch.from_numpy((raw / self._sums[first:end, None]).astype(np.float32))

    @cached_property
    def _sums(self) -> np.ndarray:
        targets = np.arange(self.target)[:, None]
        lowest = np.floor((targets + 0.5) * self.scale - self._reach)
        pixels = lowest + np.arange(int(np.ceil(2 * self._reach)) + 2)
        inside = (pixels >= 0) & (pixels < self.side)
        return (self._triangle(targets, pixels) * inside).sum(axis=1)

    def _triangle(self, targets: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        away = np.abs(pixels + 0.5 - (targets + 0.5) * self.scale) / self._reach
        return np.maximum(0.0, 1 - away)
