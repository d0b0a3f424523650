"""How far a click reaches: what of the mask it may change, from how deep it lies in what it corrects.

People click in the middle of an error. Correct pixels lie beyond the border of the mask, so an error is at most about
as wide as its click is far from that border. A click close to the border therefore means something narrow: what it
changes far away, or deeper in the mask than it lies itself, is the network's doing and not the user's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from interactify.errors import OptionError

AROUND: Final = 0.02  # of the longer side, beside the click's depths: how far these reach
DEEPER: Final = 1.5  # times the click's depth: how deep the pixels lie that any click may change
SLACK: Final = 0.01  # of the longer side, beside that
SIDE: Final = 384  # pixels: of a larger mask, every second, third, … row and column tells the distances


@dataclass(frozen=True)
class Reach:
    """How far a click may change the mask around itself.

    Attributes:
        depths: times its own depth.
        shallow: how deep, of the object's deepest pixel, a click may be for this; by default any. Deeper ones may
            change what is far away, too. For one object against the rest, `Reach(5, 0.125)` was measured.

    Raises:
        OptionError: a number below 0.
    """

    depths: float
    shallow: float = math.inf

    def __post_init__(self) -> None:
        for name in ("depths", "shallow"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
                raise OptionError(f"Expected {name} of a reach to be a depth of 0 or more, got {value!r}.")


@dataclass(frozen=True, eq=False)
class Depths:
    """How deep the pixels of a mask lie, on every `step`-th of its rows and columns.

    Attributes:
        mask: (h, w) bool.
        depth: (h, w) in pixels of the whole mask: of the object, and of the rest, how far the other side is.
        step: of the rows and columns.
    """

    mask: NDArray[np.bool_]
    depth: NDArray[np.float64]
    step: int

    @classmethod
    def of(cls, log_odds: Tensor, content: tuple[int, ...]) -> Depths | None:
        """Those of displayed log-odds (1, 1, h, w), without padding; None where all or nothing is the object."""
        height, width = content
        step = -(-max(content) // SIDE)
        mask = (log_odds[0, 0, :height:step, :width:step] > 0).cpu().numpy()
        if not mask.any() or mask.all():
            return None
        depth = step * np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
        return cls(mask, depth, step)

    @property
    def thickest(self) -> float:
        """The depth of the object's deepest pixel."""
        return float(self.depth[self.mask].max())

    def at(self, points: Tensor, positive: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """(n,) the depths of points (n, 2), x then y, with labels (n,): 0 if one has its label, None if all have."""
        sides = np.array(self.mask.shape[::-1]) - 1
        columns, rows = np.clip((points.cpu().numpy() / self.step).round().astype(np.int64), 0, sides).T
        found = np.where(self.mask[rows, columns] == positive, 0.0, self.depth[rows, columns])
        return found if found.any() else None


def within_reach(
    before: Tensor, content: tuple[int, ...], points: Tensor, positive: NDArray[np.bool_], reach: Reach
) -> Tensor | None:
    """The pixels that new clicks may change: (1, 1, h, w), 1 where they may and 0 elsewhere; None for all.

    Args:
        before: (1, 1, h, w) displayed log-odds of the object before the clicks.
        content: (h', w') of these without padding.
        points: (n, 2) of the new clicks in their pixels, x then y; at least one.
        positive: (n,) their labels.
        reach: how far clicks reach.

    A click that agrees with the mask has no depth; where all do, or the mask is empty or full, any pixel may change.

    >>> before = torch.full((1, 1, 100, 100), -5.0)
    >>> before[..., 20:80, 20:80] = 5.0
    >>> shallow = within_reach(before, (100, 100), torch.tensor([[22.0, 50.0]]), np.array([False]), Reach(5.0, 0.125))
    >>> [int(shallow[0, 0, 50, x]) for x in (18, 24, 26, 50)], int(shallow[0, 0, 90, 22])
    ([1, 1, 0, 0], 0)
    >>> within_reach(before, (100, 100), torch.tensor([[50.0, 90.0]]), np.array([False]), Reach(5.0, 0.125)) is None
    True
    """
    depths = Depths.of(before, content)
    own = None if depths is None else depths.at(points, positive)
    if depths is None or own is None:
        return None
    (height, width), longest, step = content, max(content), depths.step
    ys, xs = (step * np.arange(side) for side in depths.mask.shape)
    found = np.zeros(depths.mask.shape, bool)
    for (x, y), depth in zip(points.tolist(), own.tolist(), strict=True):
        shallow = depth <= reach.shallow * depths.thickest
        away = reach.depths * depth + AROUND * longest if shallow else math.inf
        found |= np.hypot(ys[:, None] - y, xs - x) <= away
    found &= depths.depth <= DEEPER * own.max() + SLACK * longest
    share = torch.ones(before.shape[-2:], dtype=torch.float32, device="cpu")
    whole = np.repeat(np.repeat(found, step, 0), step, 1)[:height, :width]
    share[:height, :width] = torch.from_numpy(whole.astype(np.float32))
    return share[None, None].to(before.device)
