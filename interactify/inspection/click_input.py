"""What a click network reads beside the image: interaction maps, and how they are drawn from the clicks.

A click network takes (N, C + M, H, W): the image's channels first, then M interaction maps. How they are drawn is
stated by its attribute `click_maps`, as `interactify.reconfigure_stem` gives it, or by `wrap(click_maps=…)`.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Final

from torch import nn

from interactify.errors import OptionError

MAP_KINDS: Final = ("distance", "disk", "gaussian", "tanh")


@dataclass(frozen=True)
class ClickMaps:
    """How the interaction maps of a click network are drawn: positive clicks, negative clicks, then the previous mask.

    A network trained with other maps is answered wrongly, so this has to be what its training drew.

    Attributes:
        kind: "distance", "disk", "gaussian" or "tanh": see `interaction_maps`.
        radius: of the maps, in pixels of the network's input; None for the kind's default.
        previous_mask: whether a third map follows: the probability of the object in the mask before the newest click,
            in [0, 1]; zeros before the first click (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for
            Interactive Segmentation", 2021, section 3.3).

    Raises:
        OptionError: an unknown kind, a radius that is not positive, or a `previous_mask` that is no bool.

    >>> ClickMaps("disk", radius=5, previous_mask=True).channels
    3
    """

    kind: str = "distance"
    radius: float | None = None
    previous_mask: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in MAP_KINDS:
            raise OptionError(f"Expected kind to be one of {', '.join(map(repr, MAP_KINDS))}, got {self.kind!r}.")
        radius = self.radius
        number = isinstance(radius, numbers.Real) and not isinstance(radius, bool)
        if radius is not None and not (number and 0 < radius < math.inf):
            raise OptionError(f"Expected radius to be a number of pixels above 0, or None, got {radius!r}.")
        if not isinstance(self.previous_mask, bool):
            raise OptionError(f"Expected previous_mask to be True or False, got {self.previous_mask!r}.")

    @property
    def channels(self) -> int:
        """M: the number of maps."""
        return 3 if self.previous_mask else 2

    def __str__(self) -> str:
        radius = "" if self.radius is None else f" of radius {self.radius:g}"
        then = ", then the mask before the newest click" if self.previous_mask else ""
        return f"{self.kind} maps{radius} of the positive and of the negative clicks{then}"


def stated_click_maps(model: nn.Module) -> ClickMaps | None:
    """What a network states by its attribute `click_maps`; None where it states nothing."""
    stated = getattr(model, "click_maps", None)
    return stated if isinstance(stated, ClickMaps) else None
