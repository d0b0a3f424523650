"""What comes back from a click: the mask, how sure it is, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions import Click
from interactify.view import View
from interactify.window import Window


@dataclass(frozen=True, eq=False)
class Result:
    """A mask and where it comes from. Immutable; arrays are read-only.

    Attributes:
        logits: (1, 1, h', w') log-odds of the object in the network's own pixels.
        window: the part of the photo the network looked at.
        outside: the result that holds outside the window; None where the window is the whole photo.
        satisfied: every interaction has its label in `mask`.
        unsatisfied: the clicks that have not.
        overruled: clicks whose pixel was clicked again later, with the other label: the later one holds.
        evaluations: how often the network was run with gradient for this result.
        status: "done", "converged", "budget" or "stalled" (see `interactify.brs.refine`), "time" or "cancelled"
            where it was ended before; "plain" without clicks.
        seconds: wall time of the refinement.
    """

    logits: Tensor
    view: View
    window: Window
    outside: Result | None = None
    clicks: tuple[Click, ...] = ()
    overruled: tuple[Click, ...] = ()
    evaluations: int = 0
    status: str = "plain"
    seconds: float = 0.0
    before: NDArray[np.bool_] | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the object is more likely than not."""
        return _frozen(self._photo_logits().gt(0).cpu().numpy())

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]: the network's probability of the object."""
        return _frozen(torch.sigmoid(self._photo_logits()).float().cpu().numpy())

    @property
    def unsatisfied(self) -> tuple[Click, ...]:
        """The clicks whose pixel has the wrong label in `mask`."""
        return tuple(c for c in self.clicks if bool(self.mask[int(c.y), int(c.x)]) != c.positive)

    @property
    def satisfied(self) -> bool:
        """Whether every click's pixel has its label in `mask`."""
        return not self.unsatisfied

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the label differs from the result before."""
        same = np.zeros_like(self.mask) if self.before is None else self.mask != self.before
        return _frozen(same)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        state = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} of {len(self.clicks)} clicks unsatisfied"
        return (
            f"Result({width}x{height} pixels, {int(self.mask.sum())} in the mask, {len(self.clicks)} clicks, {state}, "
            f"{self.evaluations} evaluations, {self.seconds * 1000:.0f} ms)"
        )

    def window_logits(self, window: Window) -> Tensor:
        """Log-odds (1, h, w) of the photo's pixels in a window, between -10 and 10."""
        return self._photo_logits()[window.slices][None].clamp(-10, 10)

    def _photo_logits(self) -> Tensor:
        seen = self.view.to_photo(self.logits)[0, 0]
        if self.outside is None:
            return seen
        photo = self.outside._photo_logits().clone()
        photo[self.window.slices] = seen
        return photo


def _frozen(array: NDArray) -> NDArray:
    array.setflags(write=False)
    return array
