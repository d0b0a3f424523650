"""Spread an answer in a volume along its edges: the guided filter of photos, in three dimensions.

How wide the filter's boxes are is chosen for each answer (`propagation/suited.py`): no wider than most of the object,
and no filter at all where most of it is thin.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from interactify.propagation.guided_filter import GuidedFilter
from interactify.propagation.propagation import Propagation, own_share
from interactify.propagation.suited import suited
from interactify.volumes.block import Block
from interactify.volumes.volume import Volume

BRIGHT: Final = 0.995  # of a block's values, and the same share of dark ones: what is beyond is clipped in a guide
SAMPLED: Final = 2**20  # values, evenly spread, of which these are found


def guide_of_block(volume: Volume, block: Block) -> Tensor:
    """What corrections in a block inside the volume follow: its values, (1, C, d, h, w) float32 in [0, 1].

    Of more than three channels the first three.
    """
    values = volume.read(block)[:3]
    for channel in values:
        seen = channel.flatten()[:: max(1, channel.numel() // SAMPLED)]
        low = seen.kthvalue(max(1, round((1 - BRIGHT) * len(seen)))).values
        high = seen.kthvalue(max(1, round(BRIGHT * len(seen)))).values
        channel.sub_(low).div_((high - low).clamp(min=1e-6)).clamp_(0, 1)
    return values[None]


class Edges:
    """The edges in one block of a volume.

    Args:
        propagation: the network's, of which as much is used as suits an answer.
        volume: of any size; only the block is read.
        block: inside the volume.
    """

    def __init__(self, propagation: Propagation, volume: Volume, block: Block) -> None:
        self.propagation, self.block = propagation, block
        self._guide = guide_of_block(volume, block) if propagation.active else None
        self._filter: GuidedFilter | None = None

    def spread(self, answer: Tensor, points: Tensor) -> Tensor:
        """Log-odds (d, h, w) on the CPU, spread along the edges; the answer's own around points (n, 3), x, y, z."""
        if self._guide is None:
            return answer
        maps, own = answer[None, None], self.propagation
        if own.adapts:
            own = suited(own, maps, self._guide, self.block.size)
        if not own.active:
            return answer
        if self._filter is None or self._filter.radius != own.radius:
            self._filter = own.filter(self._guide)
            assert self._filter is not None
        share = own_share(points, self._guide)
        return torch.lerp(self._filter(maps), maps, share.to(maps))[0, 0]
