"""The guided filter: smooths a map along the edges of a picture.

He, Sun & Tang, "Guided Image Filtering", TPAMI 2013, with a guide of up to three channels (section 3.5). Within every
box the output is an affine function of the guide's colours, fitted to the map; a pixel is the mean over the boxes that
contain it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class GuidedFilter:
    """Filters maps along the edges of a guide, a picture or a volume. At the border, boxes are clipped to the map.

    Args:
        guide: (n, C, h, w) or (n, C, d, h, w) with C from 1 to 3, in [0, 1], float32 or float64: in half precision
            variances vanish.
        radius: in pixels; a box is 2·radius + 1 wide, and a pixel depends on others up to 2·radius away.
        edge: about the square of the contrast of an edge: where the guide's variance in a box is far below it, the map
            is smoothed; where it is far above, the map follows the guide's edges.

    >>> guide = torch.zeros(1, 1, 8, 8); guide[..., 4:] = 1.0
    >>> early = torch.full_like(guide, -1.0); early[..., 3:] = 1.0  # its step lies a pixel left of the guide's
    >>> filtered = GuidedFilter(guide, radius=2, edge=1e-4)(early)
    >>> (filtered[0, 0, 0] > 0).tolist()
    [False, False, False, False, True, True, True, True]
    """

    def __init__(self, guide: Tensor, radius: int, edge: float) -> None:
        self.radius, self.edge = radius, edge
        missing = 3 - guide.shape[1]
        if missing:
            guide = torch.cat([guide, guide.new_zeros(len(guide), missing, *guide.shape[2:])], 1)
        self.guide = guide
        self._count = _sums(torch.ones_like(guide[:, :1]), radius)
        self._mean, self._inverse = self._statistics()

    @property
    def nbytes(self) -> int:
        """Bytes that it holds beside the guide."""
        return self._count.nbytes + self._mean.nbytes + self._inverse.nbytes

    def __call__(self, maps: Tensor) -> Tensor:
        """The maps (n, 1, h, w), or (n, 1, d, h, w), filtered, same dtype and device, differentiable and linear."""
        dtype, maps = maps.dtype, maps.to(self.guide)
        together = self._means(torch.cat([maps, maps * self.guide], 1))
        mean, products = together[:, :1], together[:, 1:]
        r, g, b = (products - mean * self._mean).unbind(1)
        rr, rg, rb, gg, gb, bb = self._inverse.unbind(1)
        slope = torch.stack([rr * r + rg * g + rb * b, rg * r + gg * g + gb * b, rb * r + gb * g + bb * b], 1)
        level = mean - (slope * self._mean).sum(1, keepdim=True)
        fitted = self._means(torch.cat([level, slope], 1))
        return (fitted[:, :1] + (fitted[:, 1:] * self.guide).sum(1, keepdim=True)).to(dtype)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """The guide's mean (n, 3, h, w) and the inverse of its covariance in the box of each pixel.

        The inverse is (n, 6, h, w): of the symmetric matrix rr, rg, rb, gg, gb, bb.
        """
        red, green, blue = self.guide.unbind(1)
        products = torch.stack([red * red, red * green, red * blue, green * green, green * blue, blue * blue], 1)
        means = self._means(torch.cat([self.guide, products], 1))
        mean = means[:, :3]
        r, g, b = mean.unbind(1)
        rr, rg, rb, gg, gb, bb = (means[:, 3:] - torch.stack([r * r, r * g, r * b, g * g, g * b, b * b], 1)).unbind(1)
        rr, gg, bb = rr + self.edge, gg + self.edge, bb + self.edge
        # By cofactors: torch inverts a batch of 3 x 3 matrices, one for each pixel, slowly.
        of_red = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        cofactors = torch.stack([*of_red, rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg], 1)
        determinant = rr * of_red[0] + rg * of_red[1] + rb * of_red[2]
        return mean, cofactors / determinant[:, None]

    def _means(self, maps: Tensor) -> Tensor:
        return _sums(maps, self.radius) / self._count


def _sums(maps: Tensor, radius: int) -> Tensor:
    """The sums over each pixel's box, of the maps' shape; zero outside the map."""
    sides = maps.ndim - 2
    sums = F.pad(maps, (radius,) * (2 * sides))
    for along in range(1, sides + 1):
        sums = _runs(sums, 2 * radius + 1, -along)
    return sums


def _runs(maps: Tensor, length: int, along: int) -> Tensor:
    """The sums of all runs of `length` neighbours along a dimension."""
    # By doubling: a few additions of whole maps are ten times as fast as pooling, and more exact than a running sum.
    count = maps.shape[along] - length + 1
    total: Tensor | None = None
    start, width = 0, 1
    while True:
        if length & width:
            part = maps.narrow(along, start, count)
            total = part if total is None else total + part
            start += width
        if 2 * width > length:
            return maps if total is None else total
        left = maps.shape[along] - width
        maps = maps.narrow(along, 0, left) + maps.narrow(along, width, left)
        width *= 2
