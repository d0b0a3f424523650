"""What a click should leave as it is: the mask before it, away from the click.

A user clicks where the mask is wrong, and tells by that where it is right. So the mask before is held, but not around
the newest points, and the more surely the less the click before it changed: the mask is then almost what the user
wants. Where nothing was found yet, nothing is held: a network that shows no object has not looked for this one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.constraints import Constraints
from interactify.refinement.history import Step
from interactify.refinement.problem import Crop

REACH: Final = 0.1  # of the longer side: the standard deviation of what a click frees around it
SMALL: Final = 0.05  # of the picture: what an object that is far smaller counts as, where a share of it is meant
FOUND: Final = 0.02  # of the picture: objects of this size are held by a quarter, smaller ones by less
TRUSTED: Final = 6.0  # how many times as surely a mask is held that the last interaction did not change
STABLE: Final = 0.7  # IoU with the mask before it, up to which a mask is held no more surely than the first one
TOLERANCE: Final = 4.0  # what a click of log-odds 2 costs under the margin energy
MOST_POINTS: Final = 64  # of strokes, evenly spread, that free their surroundings


def held_before(
    strength: float,
    crop: Crop,
    constraints: Constraints,
    inside: NDArray[np.int64],
    points: Tensor,
    last: Step,
) -> brs.Held | None:
    """The displayed mask of the step before in a crop, with how much each pixel of it counts; None for nothing.

    Args:
        strength: of the energy. It is multiplied by the share of the object that changes.
        crop: where.
        constraints: what all interactions together ask of pixels.
        inside: (n,) the indices of the constraints' points in the crop.
        points: (n, 2) these points in network pixels, x then y.
        last: the step before.

    Boxes, and masks that an object begins with, tell that what is shown is not to be relied on: nothing is held.
    """
    new = constraints.owners[inside] >= len(last.interactions)
    unseen = not last.interactions and crop is not last.crop  # would take another pass of the network
    if not strength or not new.any() or unseen or constraints.region is not None or constraints.mask is not None:
        return None
    probability = last.displayed_in(crop).detach().float()
    height, width = crop.view.content_size
    weights = torch.zeros(probability.shape, device="cpu")
    weights[:height, :width] = _away_from(points[torch.from_numpy(new)], (height, width))
    share = float(probability[:height, :width].mean())
    trust = _trust(last, probability[:height, :width], crop)
    found = (share / (share + FOUND)) ** 2
    scale = strength * trust * found / (share + SMALL) / (height * width)
    return brs.Held(probability, (scale * weights).to(probability.device), TOLERANCE)


def _away_from(points: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w) from 0 at the points (n, 2), x then y, to 1 far from them."""
    height, width = size
    reach = REACH * max(size)
    near = torch.zeros(size, device="cpu")
    for x, y in points[:: -(-len(points) // MOST_POINTS)].tolist():
        down = torch.exp(-(torch.arange(height, device="cpu") - y).square() / (2 * reach**2))
        across = torch.exp(-(torch.arange(width, device="cpu") - x).square() / (2 * reach**2))
        near = torch.maximum(near, torch.outer(down, across))
    return 1 - near


def _trust(last: Step, now: Tensor, crop: Crop) -> float:
    """1 at first, up to `TRUSTED` where the last interaction changed nothing of the mask.

    `now` (h, w) is the probability after it, without padding. While clicks change much of the mask, it is not yet what
    the user wants.
    """
    before = last.result.before
    if before is None:
        return 1.0
    height, width = now.shape
    one, other = now > 0.5, crop.read(before.displayed, torch.sigmoid)[0, 0, :height, :width] > 0.5
    iou = float((one & other).sum() / (one | other).sum().clamp(min=1))
    return 1 + (TRUSTED - 1) * max(0.0, (iou - STABLE) / (1 - STABLE))
