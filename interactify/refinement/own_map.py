"""What the network's own map of a photo, before any click, tells of how clicks on it are best answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from interactify import brs
from interactify.propagation.propagation import Propagation
from interactify.propagation.suited import suited
from interactify.refinement.problem import Crop
from interactify.refinement.wrapped import Wrapped

SHARE: Final = 0.99  # of the pixels, beyond which a map is taken to reach no farther: the others are single spots


@dataclass(frozen=True)
class OwnMap:
    """What suits a network's own map of one class in a photo.

    Attributes:
        energy: what is minimised.
        propagation: how a correction spreads.
    """

    energy: brs.Energy
    propagation: Propagation

    @classmethod
    def of(cls, net: Wrapped, crop: Crop, log_odds: Tensor) -> OwnMap:
        """Of log-odds (1, 1, h', w') in a crop. Those of a network that reads clicks tell nothing before any click."""
        energy, propagation = net.energy, net.propagation
        if net.network.reads_clicks:
            return cls(energy, propagation)
        height, width = crop.view.content_size
        far = reach(log_odds[0, 0, :height, :width])
        if propagation.adapts:
            size, gain = crop.view.content_size, brs.gain_for(far)
            propagation = suited(propagation, log_odds, crop.guide, size, gain, crop.edge_filter)
        return cls(brs.energy_reaching(energy, far), propagation)


def reach(log_odds: Tensor) -> float:
    """How far from 0 the log-odds of a map reach, of any shape, but for a hundredth of them.

    >>> reach(torch.tensor([-2.0, 1.5] * 99 + [99.0]))
    2.0
    """
    distance = log_odds.detach().float().abs().flatten().cpu()  # CUDA has no repeatable way
    return float(distance.kthvalue(max(1, round(SHARE * len(distance)))).values)
