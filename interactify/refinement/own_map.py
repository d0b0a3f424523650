"""What the network's own map of a photo, before any click, tells of how clicks on it are best answered."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from interactify.pictures.resize_pad import View

SHARE: Final = 0.99  # of the pixels, beyond which a map is taken to reach no farther: the others are single spots


def reach(log_odds: Tensor, view: View) -> float:
    """How far from 0 a map (1, 1, h', w') reaches, without its padding.

    >>> reach(torch.tensor([[[[-2.0, 1.5, 99.0]]]]), View.fit((1, 2), divisor=1))
    2.0
    """
    height, width = view.content_size
    distance = log_odds[0, 0, :height, :width].detach().float().abs().flatten()
    return float(distance.kthvalue(max(1, round(SHARE * len(distance)))).values)
