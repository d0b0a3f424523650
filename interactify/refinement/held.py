"""What a click should leave as it is: the mask before it, away from the click.

A user clicks where the mask is wrong, and tells by that where it is right. So the mask before is held, but not around
the newest points, and the more surely the less the click before it changed: the mask is then almost what the user
wants. Where nothing was found yet, nothing is held: a network that shows no object has not looked for this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.constraints import TARGET, Constraints
from interactify.optim.status import Status
from interactify.refinement.history import Step
from interactify.refinement.problem import Crop
from interactify.refinement.wrapped import Wrapped

REACH: Final = 0.1  # of the longer side: the standard deviation of what a click frees around it
SMALL: Final = 0.05  # of the picture: what an object that is far smaller counts as, where a share of it is meant
FOUND: Final = 0.02  # of the picture: objects of this size are held by a quarter, smaller ones by less
TRUSTED: Final = 6.0  # how many times as surely a mask is held that the last interaction did not change
STABLE: Final = 0.7  # IoU with the mask before it, up to which a mask is held no more surely than the first one
TOLERANCE: Final = 4.0  # what a click of log-odds 2 costs under the margin energy
MOST_POINTS: Final = 64  # of strokes, evenly spread, that free their surroundings


def held_before(
    net: Wrapped, crop: Crop, constraints: Constraints, inside: NDArray[np.int64], points: Tensor, last: Step
) -> brs.Held | None:
    """The displayed mask of the step before in a crop, with how much each pixel of it counts; None for nothing.

    Args:
        net: its energy has the strength. A network that reads clicks was trained for how much a click changes, and
            holds nothing.
        crop: where.
        constraints: what all interactions together ask of pixels.
        inside: (n,) the indices of the constraints' points in the crop.
        points: (n, 2) these points in network pixels, x then y.
        last: the step before.

    Boxes, and masks that an object begins with, tell that what is shown is not to be relied on: nothing is held.
    """
    new = constraints.owners[inside] >= len(last.interactions)
    strength = 0.0 if net.network.reads_clicks else brs.hold_of(net.energy)
    if not strength or constraints.region is not None or constraints.mask is not None:
        return None
    probability = last.displayed_in(crop).detach().float()
    height, width = crop.view.content_size
    at_points = probability.cpu()[points[:, 1].round().long(), points[:, 0].round().long()].numpy()
    about_object = constraints.labels[inside] == TARGET
    # Neither is the surrounding of an earlier point that the mask contradicts: it is not what the user wants.
    wrong = about_object & ((at_points > 0.5) != constraints.positive[inside])
    content = slice(0, height), slice(0, width)
    return held_away_from(probability, content, points[torch.from_numpy(new | wrong)], strength, last.steadiness)


def held_away_from(
    probability: Tensor, content: tuple[slice, ...], points: Tensor, strength: float, steadiness: float
) -> brs.Held:
    """A map of probabilities, (h, w), or (d, h, w) of a volume, with how much each pixel of it counts.

    Args:
        probability: of the object before, with padding.
        content: the part without padding, along each side.
        points: (n, 2), or (n, 3), that free their surroundings: x then y, then z; in pixels of the map.
        strength: how much an energy holds.
        steadiness: the IoU of the mask with the one before it.
    """
    size = probability[content].shape
    weights = torch.zeros(probability.shape, dtype=torch.float32, device="cpu")
    corner = points.new_tensor([part.start for part in reversed(content)])
    weights[content] = _away_from(points - corner, size)
    share = float(probability[content].mean())
    found = (share / (share + FOUND)) ** 2
    trust = 1 + (TRUSTED - 1) * max(0.0, (steadiness - STABLE) / (1 - STABLE))
    scale = strength * trust * found / (share + SMALL) / math.prod(size)
    return brs.Held(probability, (scale * weights).to(probability.device), TOLERANCE)


def steadiness(held: brs.Held | None, crop: Crop, log_odds: Tensor, last: Step, status: str) -> float:
    """The IoU of a mask with the one before it in a crop, for `Step`, from displayed log-odds (1, T, h', w').

    A refinement that was superseded has only begun: the mask is as steady as before.
    """
    if status == Status.SUPERSEDED:
        return last.steadiness
    if held is None:
        return 0.0
    height, width = crop.view.content_size  # the padding is no part of the mask
    before, now = held.probability[:height, :width] > 0.5, log_odds[0, 0, :height, :width] > 0
    return int((before & now).sum()) / max(1, int((before | now).sum()))


def _away_from(points: Tensor, size: Sequence[int]) -> Tensor:
    """(h, w) from 0 at the points (n, 2), x then y, to 1 far from them; or with a third side."""
    reach = REACH * max(size)
    near = torch.zeros(tuple(size), dtype=torch.float32, device="cpu")
    axes = [torch.arange(side, dtype=torch.float32, device="cpu") for side in size]
    for place in points[:: max(1, -(-len(points) // MOST_POINTS))].tolist():
        bell = torch.ones((), dtype=torch.float32, device="cpu")
        for axis, at in zip(axes, reversed(place), strict=True):
            bell = bell[..., None] * torch.exp(-(axis - at).square() / (2 * reach**2))
        near = torch.maximum(near, bell)
    return 1 - near
