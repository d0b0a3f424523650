"""Which propagation suits a network in a photo, from its own map before any click.

Propagation helps maps that are softer than the objects in them. What is thin it takes away: a vessel of two pixels is
a small part of the filter's boxes, and its colour is that of nothing in particular. So the boxes are no wider than most
of the object. And colours can't outvote a network where it is sure of itself: their weight is less where its logits are
small. Where they change what it found by much all the same, they don't tell the object from the rest, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from interactify.propagation.guided_filter import GuidedFilter
from interactify.propagation.propagation import Propagation

WIDE: Final = 0.5  # of the object: how much of it has to be as wide as the filter's boxes
SAME: Final = 0.8  # the IoU of a network's map, before any click, with itself after colours and edges, at least
LEAST: Final = 2  # pixels: what is too thin for this radius is too thin for its colours, too


def suited(
    propagation: Propagation,
    log_odds: Tensor,
    guide: Tensor,
    content: tuple[int, ...],
    gain: float = 1.0,
    filter_of: Callable[[Propagation], GuidedFilter | None] | None = None,
) -> Propagation:
    """A propagation as it is, or less of it: a smaller radius, colours of less weight, no colours, or nothing.

    Args:
        propagation: the usual one.
        log_odds: (1, 1, h, w) of the object, the network's own; (1, 1, d, h, w) in a volume.
        guide: (1, C, h, w) in [0, 1]; (1, C, d, h, w) of a volume, where only edges are followed, no colours.
        content: (h', w'), or (d', h', w'), of both without padding.
        gain: by how much logits have to be multiplied to be as large as most networks'. Colours count by it.
        filter_of: from a propagation to its filter along the edges of the guide; made anew by default.
    """
    log_odds = log_odds.detach()
    inside: tuple[slice, ...] = (slice(None), slice(None), *(slice(side) for side in content))
    found = log_odds[inside] > 0
    weaker = replace(propagation, colour=propagation.colour / gain)
    if not bool(found.any()):  # nothing that could be harmed
        return weaker
    least = min(LEAST, propagation.radius)
    radius = next((r for r in range(propagation.radius, least - 1, -1) if share_as_wide(found, r) >= WIDE), None)
    if radius is None:
        return replace(propagation, colour=0.0, radius=0)
    narrower = replace(weaker, radius=radius)
    if not narrower.colour:
        return narrower
    along = narrower.filter(guide) if filter_of is None else filter_of(narrower)
    coloured = narrower.spread(guide, content, along, log_odds, log_odds.new_zeros(0, 2), [])(log_odds)
    both = found & (coloured[inside] > 0), found | (coloured[inside] > 0)
    return narrower if int(both[0].sum()) >= SAME * int(both[1].sum()) else replace(narrower, colour=0.0)


def share_as_wide(mask: Tensor, radius: int) -> float:
    """The share of a mask (1, 1, h, w) bool that lies in squares of 2·radius + 1 pixels within it: its opening.

    Of a mask (1, 1, d, h, w) it is the share in cubes.

    >>> mask = torch.zeros(1, 1, 12, 20, dtype=torch.bool); mask[..., 2:4, :] = True; mask[..., 6:12, 5:11] = True
    >>> [round(share_as_wide(mask, radius), 2) for radius in (0, 1, 2, 3)]
    [1.0, 0.47, 0.47, 0.0]
    """
    side = 2 * radius + 1
    sides = mask.ndim - 2
    pool = F.max_pool3d if sides == 3 else F.max_pool2d
    # What reaches the picture's side goes on there.
    outside = F.pad((~mask).float(), (radius,) * (2 * sides), mode="replicate")
    core = 1 - pool(outside, side, 1)
    opened = pool(core, side, 1, padding=radius)
    return float((opened * mask).sum() / mask.sum().clamp(min=1))
