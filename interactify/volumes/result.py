"""What comes back from an interaction with a volume: the mask, how sure it is, what changed, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interactify.errors import OptionError, text_of
from interactify.interactions.click import Interaction
from interactify.interactions.in_space import VoxelClick
from interactify.optim.status import Status
from interactify.volumes.block import Block, whole
from interactify.volumes.constraints import VoxelConstraints
from interactify.volumes.displayed import Displayed
from interactify.volumes.writing import save_masks


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """A mask of a volume and where it comes from. Immutable; arrays are read-only.

    Attributes:
        displayed: the log-odds of the volume.
        block: the part of the volume that the network saw last; it may reach beyond the volume, where that is padded.
        constraints: what the interactions together ask of voxels.
        evaluations: how often the network was run for this result.
        status: an `interactify.optim.Status`, as of `Result`.
        seconds: wall time of the refinement.
        before: the result before this one; None before the first interaction.
        spacing, affine: of the volume, for files.
    """

    displayed: Displayed
    block: Block
    constraints: VoxelConstraints = field(default_factory=VoxelConstraints)
    evaluations: int = 0
    status: str = Status.PLAIN
    seconds: float = 0.0
    before: VolumeResult | None = None
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    affine: NDArray[np.float64] | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of the volume."""
        return self.displayed.size

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(D, H, W) bool: where the object is more likely than not."""
        return _read_only(self.displayed.mask())

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(D, H, W) float32 in [0, 1]: the probability of the object."""
        return self.probability_in(whole(self.size))

    def mask_in(self, block: Block) -> NDArray[np.bool_]:
        """(d, h, w) bool, in a block of the volume. Raises OptionError for one that is not inside it."""
        return _read_only(self.displayed.mask(self._checked(block)))

    def probability_in(self, block: Block) -> NDArray[np.float32]:
        """(d, h, w) float32 in [0, 1], in a block of the volume. Raises OptionError for one that is not inside it."""
        return _read_only(torch.sigmoid(self.displayed.read(self._checked(block))).numpy())

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All interactions, in their order."""
        return self.constraints.interactions

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks among them."""
        return tuple(each for each in self.interactions if isinstance(each, VoxelClick))

    @cached_property
    def unsatisfied(self) -> tuple[Interaction, ...]:
        """The interactions in effect whose label the mask does not have at each of their voxels."""
        asked = self.constraints
        wrong = asked.required & ((self.displayed.at(asked.voxels) > 0).numpy() != asked.positive)
        return tuple(asked.interactions[index] for index in sorted(set(asked.owners[wrong].tolist())))

    @property
    def satisfied(self) -> bool:
        """Whether the mask has the label of every interaction in effect."""
        return not self.unsatisfied

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(D, H, W) bool: where the mask differs from that of the result before."""
        return _read_only(np.zeros(self.size, bool) if self.before is None else self.mask != self.before.mask)

    def save(self, path: str | Path) -> Path:
        """Write the mask as a file; the ending of its name says of which kind. Returns its path.

        Args:
            path: .nii or .nii.gz with spacing and affine, .tif with spacing, .npy, or .json: COCO's, with the run
                lengths of each slice. `interactify.volumes.save_masks` writes several objects.

        Raises:
            OptionError: another ending, a folder that can't be written to, or a package that is missing.
        """
        return save_masks(path, [self.mask], self.spacing, self.affine)

    def release_arrays(self) -> None:
        """Free whole arrays; they are computed again where asked for."""
        for name in ("mask", "probability", "changed"):
            self.__dict__.pop(name, None)

    def _checked(self, block: Any) -> Block:
        if not isinstance(block, Block) or whole(self.size).common(block) != block:
            raise OptionError(
                f"Expected a block of the volume, Block((z, y, x), (d, h, w)) within {self.size}, got {text_of(block)}."
            )
        return block

    def __repr__(self) -> str:
        size, count = "×".join(map(str, self.size)), len(self.interactions)
        state = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} of {count} interactions unsatisfied"
        return (
            f"VolumeResult({size} voxels, {count} interactions, {state}, {self.status}, {self.evaluations} "
            f"evaluations, {self.seconds * 1000:.0f} ms)"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
