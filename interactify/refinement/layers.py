"""The displayed log-odds of a photo, as layers over one another. Any part can be read alone, so none is stored whole.

Lowest lies the network's map in its window, over the network's layer from before the window was opened; at the window's
sides one passes into the other, so that they leave no straight line in the mask. An initial mask lies over it; then a
box or lasso, outside of which there is no object; then strokes that erase and restore.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.gestures import Box, Lasso, Paint
from interactify.interactions.rasterise import points_inside, points_under, region_mask, stroke_mask
from interactify.pictures.resize_pad import View, sample
from interactify.pictures.window import Pixels, Window

MASK_LOG_ODDS: Final = 1.0  # of an initial mask where the network disagrees: a probability of 0.73
CERTAIN: Final = 16.0  # log-odds set by an interaction, not the network: 1 - sigmoid is float32's last step below 1
LARGE: Final = 4_000_000  # pixels of a photo from which on only the current result stores whole arrays


class Layer(Protocol):
    """Log-odds of the object in a photo."""

    def read(self, window: Window, step: int = 1) -> Tensor:
        """(h, w) of every `step`-th row and column of a window of the photo; the caller may write to it."""

    def at(self, pixels: Pixels) -> Tensor:
        """(n,) of single pixels: the values that `read` gives there, to the last bit."""


@dataclass(frozen=True, eq=False)
class NetworkLayer:
    """The network's map (1, 1, h', w') of a window, seen through its view; outside the window the layer from before.

    `share`, (1, 1, h', w') from 0 to 1, is the map's share of what is displayed in the window, over the layer from
    before; None for 1 everywhere.
    """

    logits: Tensor
    view: View
    window: Window
    outside: Layer | None = None
    share: Tensor | None = None

    def read(self, window: Window, step: int = 1) -> Tensor:
        inside = self.window.common(window) == window
        if self.outside is None:
            if not inside:
                raise ValueError(f"{window} reaches beyond the photo, {self.window}")
            return self._own(self.logits, window, step)
        if inside:
            share = None if self.share is None else self._own(self.share, window, step)
            own = self._own(self.logits, window, step)
            if share is None or bool((share == 1).all()):
                return own
            return _mixed(own, self.outside.read(window, step), share)
        log_odds = self.outside.read(window, step)
        if shared := self.window.on_grid_of(window, step):
            part, slices = shared
            own = self._own(self.logits, part, step)
            if self.share is not None:
                own = _mixed(own, log_odds[slices], self._own(self.share, part, step))
            log_odds[slices] = own
        return log_odds

    def _own(self, maps: Tensor, window: Window, step: int) -> Tensor:
        """(h, w) of a map on the network's grid, in a part of the window."""
        return self.view.to_photo(maps, window.relative_to(self.window).slices_by(step))[0, 0]

    def at(self, pixels: Pixels) -> Tensor:
        inside = np.ones(len(pixels), bool) if self.outside is None else self.window.contains(pixels)
        corner = np.array([self.window.left, self.window.top])
        log_odds = torch.empty(len(pixels), dtype=self.logits.dtype, device=self.logits.device)
        points = self.view.points_to_network((pixels[inside] - corner).astype(float))
        log_odds[torch.from_numpy(inside)] = sample(self.logits, points)[0, 0]
        if self.outside is None:
            return log_odds
        share = torch.zeros_like(log_odds)
        share[torch.from_numpy(inside)] = 1.0 if self.share is None else sample(self.share, points)[0, 0]
        beyond = (share < 1).cpu().numpy()
        if beyond.any():
            mixes = torch.from_numpy(beyond & inside)
            before = torch.zeros_like(log_odds)
            before[torch.from_numpy(beyond)] = self.outside.at(pixels[beyond]).to(log_odds)
            log_odds[torch.from_numpy(~inside)] = before[torch.from_numpy(~inside)]
            log_odds[mixes] = _mixed(log_odds[mixes], before[mixes], share[mixes])
        return log_odds


def _mixed(own: Tensor, before: Tensor, share: Tensor) -> Tensor:
    """Two maps mixed: exactly the own one where its share is 1, as at the clicks."""
    return own + (1 - share) * (before.to(own) - own)


@dataclass(frozen=True, eq=False)
class InitialMaskLayer:
    """An initial mask (H, W) bool over the network's map: where both agree, the network's log-odds.

    Where they differ, `MASK_LOG_ODDS` with the sign of the mask's label; and the network's where the mask is not
    `known`, (H, W) bool, None where it is known everywhere.
    """

    mask: NDArray[np.bool_]
    below: Layer
    known: NDArray[np.bool_] | None = None

    def read(self, window: Window, step: int = 1) -> Tensor:
        return self._corrected(self.below.read(window, step), window.slices_by(step))

    def at(self, pixels: Pixels) -> Tensor:
        return self._corrected(self.below.at(pixels), (pixels[:, 1], pixels[:, 0]))

    def _corrected(self, logits: Tensor, at: tuple[slice, slice] | tuple[Pixels, Pixels]) -> Tensor:
        mask = torch.from_numpy(self.mask[at].copy()).to(logits.device)
        agrees = (logits > 0) == mask
        if self.known is not None:
            agrees |= torch.from_numpy(~self.known[at]).to(logits.device)
        return torch.where(agrees, logits, torch.where(mask, MASK_LOG_ODDS, -MASK_LOG_ODDS).to(logits))


@dataclass(frozen=True, eq=False)
class RegionLayer:
    """A box or lasso: outside of it there is no object."""

    region: Box | Lasso
    below: Layer

    def read(self, window: Window, step: int = 1) -> Tensor:
        inside = torch.from_numpy(region_mask(self.region, window)[::step, ::step])
        log_odds = self.below.read(window, step)
        return log_odds.masked_fill_(~inside.to(log_odds.device), -CERTAIN)

    def at(self, pixels: Pixels) -> Tensor:
        log_odds = self.below.at(pixels)
        inside = torch.from_numpy(points_inside(self.region, pixels))
        return log_odds.masked_fill_(~inside.to(log_odds.device), -CERTAIN)


@dataclass(frozen=True, eq=False)
class StrokeLayer:
    """Strokes that erase and restore, later ones over earlier ones."""

    strokes: Sequence[Paint]
    below: Layer

    def read(self, window: Window, step: int = 1) -> Tensor:
        log_odds = self.below.read(window, step)
        for stroke in self.strokes:
            covered = stroke_mask(stroke, window)
            if covered is not None:
                self._set(log_odds, covered[::step, ::step], stroke)
        return log_odds

    def at(self, pixels: Pixels) -> Tensor:
        log_odds = self.below.at(pixels)
        for stroke in self.strokes:
            self._set(log_odds, points_under(stroke, pixels), stroke)
        return log_odds

    @staticmethod
    def _set(log_odds: Tensor, covered: NDArray[np.bool_], stroke: Paint) -> None:
        log_odds[torch.from_numpy(covered).to(log_odds.device)] = CERTAIN if stroke.positive else -CERTAIN


def initial_mask_of(displayed: Layer) -> NDArray[np.bool_] | None:
    """The initial mask (H, W), with what was merged into it, among the displayed layers; None where there is none."""
    layer: Layer | None = displayed
    while layer is not None and not isinstance(layer, InitialMaskLayer):
        layer = getattr(layer, "below", None)
    return None if layer is None else layer.mask


def with_network(displayed: Layer, network: NetworkLayer, mask: NDArray[np.bool_] | None) -> Layer:
    """The same layers over another map of the network, with another initial mask where there is one."""
    if isinstance(displayed, InitialMaskLayer):
        return replace(displayed, below=network, mask=displayed.mask if mask is None else mask)
    if isinstance(displayed, (RegionLayer, StrokeLayer)):
        return replace(displayed, below=with_network(displayed.below, network, mask))
    return network


def on_network_grid(
    layer: Layer, view: View, window: Window, change: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Log-odds of a layer in a window, brought to the grid of a network that sees it through a view: (1, 1, h', w').

    They are changed pixel by pixel before. In a large window only pixels at the centres of the network's are read.
    """
    change = change or (lambda log_odds: log_odds)
    if window.height * window.width <= LARGE:
        return view.to_network(change(layer.read(window)[None]))
    height, width = view.network_size
    columns, rows = (torch.arange(side, device="cpu") for side in (width, height))
    centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).view(-1, 2)
    pixels = view.points_to_photo(centres.double()).round().long().numpy()
    log_odds = layer.at(pixels + np.array([window.left, window.top]))
    return change(log_odds).view(1, 1, height, width)
