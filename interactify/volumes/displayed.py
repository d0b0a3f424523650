"""The log-odds of a whole volume: the network's first map, with later answers over it in the blocks where they came.

Immutable: an answer makes a new map that shares all else with the one before, so that undo is going back to that one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from interactify.volumes.block import Block, Voxels, whole
from interactify.volumes.regions import Region, excluded_in

SURE: Final = 4.0  # log-odds of the voxels of a mask that an object begins with
HALF: Final = 2**26  # voxels: the first map of a larger volume is kept in half precision


@dataclass(frozen=True, eq=False)
class Displayed:
    """Log-odds of a volume.

    Attributes:
        first: (D, H, W) of the whole volume, on the CPU; or a mask, bool.
        answers: blocks inside the volume with their log-odds (d, h, w) float32 on the CPU, later over earlier ones.
        regions: boxes and lassos: what they exclude is no object.
    """

    first: Tensor
    answers: tuple[tuple[Block, Tensor], ...] = ()
    regions: tuple[Region, ...] = ()

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        d, h, w = self.first.shape
        return d, h, w

    def read(self, block: Block) -> Tensor:
        """The log-odds of a block inside the volume, (d, h, w) float32, in memory of its own."""
        part = self.first[block.slices]
        own = torch.where(part, SURE, -SURE) if part.dtype == torch.bool else part.float().clone()
        for other, values in self.answers:
            common = block.common(other)
            if common is not None:
                own[common.within(block)] = values[common.within(other)]
        for region in self.regions:
            if (outside := excluded_in(region, block)) is not None:
                own = torch.where(torch.from_numpy(outside), own.clamp(max=-SURE), own)
        return own

    def with_regions(self, regions: tuple[Region, ...]) -> Displayed:
        """With other boxes and lassos; the map below them stays."""
        return replace(self, regions=regions)

    def at(self, voxels: Voxels) -> Tensor:
        """The log-odds at voxels (n, 3), x, y, z: (n,) float32."""
        parts = [self.read(Block((z, y, x), (1, 1, 1))).view(1) for x, y, z in voxels.tolist()]
        return torch.cat(parts) if parts else torch.zeros(0)

    def with_answer(self, block: Block, values: Tensor) -> Displayed:
        """With the log-odds (d, h, w) of a block inside the volume over all that was there."""
        hidden = (answer for answer in self.answers if block.common(answer[0]) != answer[0])
        return replace(self, answers=(*hidden, (block, values.detach().float().cpu())))

    def mask(self, block: Block | None = None) -> np.ndarray:
        """(d, h, w) bool of a block; of the whole volume by default, slice by slice, so that memory is bounded."""
        block = block or whole(self.size)
        mask = np.empty(block.size, bool)
        for z in range(block.size[0]):
            part = Block((block.start[0] + z, *block.start[1:]), (1, *block.size[1:]))
            mask[z] = self.read(part)[0].gt(0).numpy()
        return mask
