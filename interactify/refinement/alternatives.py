"""How far an interaction means: a narrow and a wide reading of it beside the usual one, from log-odds that are known.

The network has run already: its displayed log-odds before an interaction and after it tell what changed.
The narrow reading is the least of that change, only the connected piece of it that holds the points, at a part of its
strength. (The piece is that of the progressive merge of Chen et al., "FocalClick: Towards Practical Interactive Image
Segmentation", CVPR 2022.) The wide reading takes the change further than the network did. Where an interaction agrees
with the mask, nothing had to change: then the narrow reading is the inmost part of what was clicked, and the wide one
everything that is nearly as likely. A reading that loses a point's label is the usual one around that point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Pixels
from interactify.propagation.propagation import own_share

BEYOND: Final = 2.0  # of the change: how much of it the wide reading takes
DEPTH: Final = 0.5  # of the median depth: where the thresholds of an interaction that agrees with the mask lie


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled points that a network saw.

    Attributes:
        points: (n, 2) float64 in network pixels, x then y.
        positive: (n,) bool.
        newest: (n,) bool, whether the newest interactions gave them.
        own: (n,) bool, whether the label tells of the object: its own class, or another one that excludes it.
    """

    points: Tensor
    positive: NDArray[np.bool_]
    newest: NDArray[np.bool_]
    own: NDArray[np.bool_]

    def right(self, log_odds: Tensor) -> NDArray[np.bool_]:
        """(n,) bool: which points have their label in log-odds (1, 1, h', w')."""
        read = sample(log_odds, self.points)[0, 0].float().cpu().numpy()
        return (read > 0) == self.positive

    def these(self, which: NDArray[np.bool_]) -> Tensor:
        """(k, 2) those of the points."""
        return self.points[torch.from_numpy(which)]


def narrow_and_wide(before: Tensor | None, after: Tensor, labelled: Labelled) -> tuple[Tensor, Tensor]:
    """The narrow and the wide reading of interactions, as log-odds (1, 1, h', w').

    Args:
        before: (1, 1, h', w') displayed log-odds before the newest interactions; None where they don't say what is to
            change: a box or lasso, or none at all.
        after: (1, 1, h', w') those after them, the usual reading.
        labelled: the points in effect.
    """
    right = labelled.right(after)
    changed = right & labelled.own & ~(right if before is None else labelled.right(before))
    if before is not None and (changed.any() or not (labelled.newest & labelled.positive & labelled.own).any()):
        narrow, wide = _least(before, after, labelled, changed), after + (BEYOND - 1) * (after - before)
    else:
        inside, outside = (right & labelled.own & (labelled.positive == yes) for yes in (True, False))
        narrow, wide = _inmost(after, labelled.these(inside)), _outmost(after, labelled.these(outside))
    return _with_labels_kept(narrow, after, labelled, right), _with_labels_kept(wide, after, labelled, right)


def _with_labels_kept(reading: Tensor, after: Tensor, labelled: Labelled, right: NDArray[np.bool_]) -> Tensor:
    """A reading that is the usual one around the points whose labels only that one has."""
    lost = right & labelled.own & ~labelled.right(reading)
    return torch.lerp(reading, after, own_share(labelled.these(lost), after)) if lost.any() else reading


def _least(before: Tensor, after: Tensor, labelled: Labelled, changed: NDArray[np.bool_]) -> Tensor:
    """The pieces of the change that hold the points that it was needed for, half as strong as they allow."""
    if not changed.any():
        return before
    points = labelled.these(changed)
    was, now = (sample(each, points)[0, 0].double() for each in (before, after))
    needed = float((was / (was - now)).max())  # the share of the change at which the last point changes sides
    partly = torch.lerp(before, after, (1 + needed) / 2)
    differs = ((partly > 0) != (before > 0))[0, 0].cpu().numpy()
    kept = ndimage.binary_dilation(pieces(differs, _seeds(points, differs)), np.ones((3, 3)))
    return torch.where(torch.from_numpy(kept).to(after.device), partly, before)


def _inmost(after: Tensor, points: Tensor) -> Tensor:
    """What is left at a higher threshold; of its pieces those that hold a point, or all without points."""
    higher = after - _threshold(after, points)
    if not len(points):
        return higher
    found = (higher > 0)[0, 0].cpu().numpy()
    kept = torch.from_numpy(pieces(found, _seeds(points, found))).to(after.device)
    return torch.where(kept, higher, -higher.abs())


def _outmost(after: Tensor, points: Tensor) -> Tensor:
    """What there is at a lower threshold, which the points, outside of it, limit."""
    return after + _threshold(-after, points)


def _threshold(depths: Tensor, points: Tensor) -> float:
    """Half of the median depth of what is inside, and at most half of that at the points."""
    inside = depths[depths > 0].float()
    at_points = sample(depths, points)[0, 0].float()
    typical = float(inside.median()) if len(inside) else 0.0
    return DEPTH * max(0.0, min([typical, *at_points.tolist()]))


def pieces(differs: NDArray[np.bool_], points: Pixels) -> NDArray[np.bool_]:
    """The connected sets of pixels, of those that differ, that hold any of the points (n, 2), x then y.

    In a volume (D, H, W) the points are voxels, (n, 3).
    """
    found, _ = ndimage.label(differs)
    hit = np.unique(found[tuple(points.T[::-1])])
    return np.isin(found, hit[hit > 0])


def _seeds(points: Tensor, like: NDArray[np.bool_]) -> Pixels:
    """The pixels of a map that are read for points in it: those around each."""
    height, width = like.shape
    corner = points.floor().long().numpy()
    around = (corner[:, None] + np.array([(0, 0), (1, 0), (0, 1), (1, 1)])).reshape(-1, 2)
    return np.clip(around, 0, (width - 1, height - 1))
