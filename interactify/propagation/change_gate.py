"""Keep a change of the mask to what was clicked: near the clicks, and a large one among their colours.

How far a click reaches is told by `click_reach.py`. Also, a user who corrects a mask that hardly changed with the click
before means a part of it. Where the network then changes its mind far and wide, most of what it turns has another
colour than the clicked pixel, and goes back to what was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

STEADY: Final = 0.9  # IoU of a mask with the one before it, from which it is steady
FLOOD: Final = 0.02  # of the object: how many sure pixels a click turns, at least, for its change to be large
SURE: Final = 0.9  # the probability of one side from which a pixel was sure of it
STEEPNESS: Final = 3.0  # how many times as wide as its slope the gate is open
MOST_POINTS: Final = 64  # of strokes, evenly spread, whose colours count


@dataclass(frozen=True, eq=False)
class ChangeGate:
    """What of a change is displayed.

    Attributes:
        before: (1, 1, h, w) displayed log-odds before the newest clicks.
        content: (h', w') of these without padding.
        reach: (1, 1, h, w) from 0 to 1: how much of any change is displayed; None for all of it (`click_reach.py`).
        alike: (1, 1, h, w) from 0 to 1: how much each pixel's colour is that of one of the newest clicks, and how much
            of a large change is displayed; None for all of it.
    """

    before: Tensor
    content: tuple[int, ...]
    reach: Tensor | None = None
    alike: Tensor | None = None

    def __call__(self, log_odds: Tensor, own: Tensor) -> Tensor:
        """The log-odds (1, 1, h, w) to display for a correction.

        Args:
            log_odds: (1, 1, h, w) of the corrected object.
            own: (1, 1, h, w) from 0 to 1, 1 at all clicks, where the correction always counts.
        """
        parts = [self.reach] if self.reach is not None else []
        if self.alike is not None and self.floods(log_odds):
            parts.append(self.alike)
        if not parts:
            return log_odds
        share = parts[0] if len(parts) == 1 else parts[0] * parts[1]
        return torch.lerp(self.before.to(log_odds), log_odds, torch.maximum(share, own).to(log_odds))

    def floods(self, log_odds: Tensor) -> bool:
        """Whether a correction to these log-odds turns many pixels of which the mask before was sure."""
        height, width = self.content
        before = torch.sigmoid(self.before[0, 0, :height, :width].float())
        object_before, sure = before > 0.5, (before - 0.5).abs() > SURE - 0.5
        turned = sure & (object_before != (log_odds[0, 0, :height, :width] > 0))
        return int(turned.sum()) > FLOOD * max(1, int(object_before.sum()))


def alike(guide: Tensor, points: Tensor, distance: float) -> Tensor:
    """How much each pixel's colour is that of one of the points: (1, 1, h, w), from 0 to 1.

    Args:
        guide: (1, C, h, w) in [0, 1]. Colours are means of 3 × 3 pixels, since a single one may be noise.
        points: (n, 2) in the guide's pixels, x then y; at least one.
        distance: the root mean square over the channels at which a colour counts a half.

    >>> guide = torch.full((1, 3, 8, 12), 0.2); guide[..., 6:] = 0.9
    >>> found = alike(guide, torch.tensor([[2.0, 3.0]]), 0.09)
    >>> [round(float(found[0, 0, 4, x]), 2) for x in (0, 4, 7, 11)]
    [0.95, 0.95, 0.0, 0.0]
    """
    smooth = F.avg_pool2d(guide, 3, 1, 1, count_include_pad=False)[0]
    height, width = smooth.shape[1:]
    nearest: Tensor | None = None
    for x, y in points[:: max(1, -(-len(points) // MOST_POINTS))].tolist():
        column, row = min(max(round(x), 0), width - 1), min(max(round(y), 0), height - 1)
        away = (smooth - smooth[:, row, column][:, None, None]).square().mean(0)
        nearest = away if nearest is None else torch.minimum(nearest, away)
    assert nearest is not None
    return torch.sigmoid(STEEPNESS * (1 - nearest.sqrt() / distance))[None, None]
