"""What is shown of a photo, as log-odds in layers: each can be asked for a part, so that no picture need be made whole.

The network's map in its window lies over what held outside it; a mask that one began from shows where the network has
not been followed; a box or lasso clears what lies outside; strokes that erase and restore lie over everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.gestures import Box, Lasso, Paint
from interactify.interactions.rasterise import points_inside, region_mask, stroke_mask, points_under
from interactify.pictures.resize_pad import View, sample
from interactify.pictures.window import Pixels, Window

MASK_LOG_ODDS: Final = 1.0  # log-odds of a mask that was given, where the network says otherwise: a probability of 0.73
CERTAIN: Final = 16.0  # log-odds of what a person said and no network: 1 - sigmoid is float32's last step below 1


class Layer(Protocol):
    """Log-odds of the object in a photo."""

    def read(self, window: Window, step: int = 1) -> Tensor:
        """(h, w) of the window's pixels, of one's own memory; of every `step`-th row and column of it."""

    def at(self, places: Pixels) -> Tensor:
        """(n,): at pixels what `read` gives there, to the last bit."""


@dataclass(frozen=True, eq=False)
class NetworkLayer:
    """The network's map (1, 1, h', w') of a window, seen through its view; outside the window, what held there."""

    logits: Tensor
    view: View
    window: Window
    outside: Layer | None = None

    def read(self, window: Window, step: int = 1) -> Tensor:
        if self.window.common(window) == window:
            return self._part(window, step)
        if self.outside is None:
            raise ValueError(f"{window} reaches beyond the photo, {self.window}")
        photo = self.outside.read(window, step)
        if met := self.window.on_grid_of(window, step):
            part, place = met
            photo[place] = self._part(part, step)
        return photo

    def _part(self, window: Window, step: int) -> Tensor:
        return self.view.to_photo(self.logits, window.relative_to(self.window).slices_by(step))[0, 0]

    def at(self, places: Pixels) -> Tensor:
        within = np.ones(len(places), bool) if self.outside is None else self.window.contains(places)
        offset = np.array([self.window.left, self.window.top])
        found = torch.empty(len(places), dtype=self.logits.dtype, device=self.logits.device)
        points = self.view.points_to_network((places[within] - offset).astype(float))
        found[torch.from_numpy(within)] = sample(self.logits, points)[0, 0]
        if self.outside is not None and not within.all():
            found[torch.from_numpy(~within)] = self.outside.at(places[~within]).to(found)
        return found


@dataclass(frozen=True, eq=False)
class InitialMaskLayer:
    """A mask that someone gave, (H, W) bool, over what the network says: where both agree, as sure as the network is.

    Where they differ, the mask's label at `MASK_LOG_ODDS` log-odds.
    """

    mask: NDArray[np.bool_]
    below: Layer

    def read(self, window: Window, step: int = 1) -> Tensor:
        mask = torch.from_numpy(self.mask[window.slices_by(step)].copy())
        return self._corrected(self.below.read(window, step), mask)

    def at(self, places: Pixels) -> Tensor:
        return self._corrected(self.below.at(places), torch.from_numpy(self.mask[places[:, 1], places[:, 0]]))

    @staticmethod
    def _corrected(logits: Tensor, mask: Tensor) -> Tensor:
        mask = mask.to(logits.device)
        return torch.where((logits > 0) == mask, logits, torch.where(mask, MASK_LOG_ODDS, -MASK_LOG_ODDS).to(logits))


@dataclass(frozen=True, eq=False)
class RegionLayer:
    """Nothing of the object outside a box or lasso."""

    region: Box | Lasso
    below: Layer

    def read(self, window: Window, step: int = 1) -> Tensor:
        within = torch.from_numpy(region_mask(self.region, window)[::step, ::step])
        logits = self.below.read(window, step)
        return logits.masked_fill_(~within.to(logits.device), -CERTAIN)

    def at(self, places: Pixels) -> Tensor:
        logits = self.below.at(places)
        within = torch.from_numpy(points_inside(self.region, places))
        return logits.masked_fill_(~within.to(logits.device), -CERTAIN)


@dataclass(frozen=True, eq=False)
class StrokeLayer:
    """Strokes that erase and restore, the later over the earlier."""

    strokes: Sequence[Paint]
    below: Layer

    def read(self, window: Window, step: int = 1) -> Tensor:
        logits = self.below.read(window, step)
        for stroke in self.strokes:
            covered = stroke_mask(stroke, window)
            if covered is not None:
                logits[torch.from_numpy(covered[::step, ::step]).to(logits.device)] = (
                    CERTAIN if stroke.positive else -CERTAIN
                )
        return logits

    def at(self, places: Pixels) -> Tensor:
        logits = self.below.at(places)
        for stroke in self.strokes:
            logits[torch.from_numpy(points_under(stroke, places)).to(logits.device)] = CERTAIN if stroke.positive else -CERTAIN
        return logits
