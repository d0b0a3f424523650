"""What comes back from an interaction: the mask, how sure it is, what changed, what could not be had, what it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError, text_of
from interactify.interactions.click import Click, Interaction
from interactify.interactions.constraints import Constraints
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, extent_of
from interactify.refinement.layers import Layer

HUGE = 100_000_000  # pixels of a picture that is not compared as a whole
LARGE = 4_000_000  # pixels of a photo from which on whole arrays are not kept for results that hold no more


@dataclass(frozen=True)
class Unsatisfied:
    """An interaction that has not its label in the mask.

    Attributes:
        interaction: which.
        probability: of what it says, in [0, 1], at the pixel that is furthest from it; below 0.5.
        reason: why not, and what was done, for a person to read.
    """

    interaction: Interaction
    probability: float
    reason: str


@dataclass(frozen=True, eq=False)
class Result:
    """A mask and where it comes from. Immutable; arrays are read-only.

    Attributes:
        logits: (1, 1, h', w') log-odds of the object in the network's own pixels.
        window: the part of the photo the network looked at.
        layer: what the network says of the photo, in the window and outside it.
        shown: the same with a mask that one began from, boxes, and strokes that erase or restore.
        size: (H, W) of the photo.
        constraints: what the interactions say together.
        class_probabilities: (n,) the probabilities of what was said of other classes than the session's, NaN elsewhere.
        evaluations: how often the network was run with gradient for this result.
        status: "done", "converged", "budget" or "stalled" (see `interactify.brs.refine`), "time", "cancelled" or
            "superseded" where it was ended before; "painted" where the network was not asked, "plain" before anything
            was said.
        seconds: wall time of the refinement.
        before: the result that held before.
    """

    logits: Tensor
    view: View
    window: Window
    layer: Layer
    shown: Layer
    size: tuple[int, int]
    constraints: Constraints = field(default_factory=lambda: Constraints(()))
    class_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    evaluations: int = 0
    status: str = "plain"
    seconds: float = 0.0
    before: Result | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the object is more likely than not."""
        return self.mask_in(self._photo)

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]: the network's probability of the object."""
        return self.probability_in(self._photo)

    def mask_in(self, window: Window, step: int = 1) -> NDArray[np.bool_]:
        """(h, w) bool, of a window of the photo: of a very large one the whole mask may be too much.

        With `step` only every `step`-th row and column of it, from its corner on: (⌈h / step⌉, ⌈w / step⌉), for a
        screen that has not more. Raises OptionError for what is no window of the photo, and for a step that is no whole
        number of at least 1.
        """
        return _frozen(self.logits_in(window, step).gt(0).cpu().numpy())

    def probability_in(self, window: Window, step: int = 1) -> NDArray[np.float32]:
        """(h, w) float32 in [0, 1], of a window of the photo; `step` and errors as in `mask_in`."""
        return _frozen(torch.sigmoid(self.logits_in(window, step)).float().cpu().numpy())

    def logits_in(self, window: Window, step: int = 1) -> Tensor:
        """Log-odds (h, w) of a window of the photo; `step` and errors as in `mask_in`."""
        if not isinstance(window, Window) or self._photo.common(window) != window:
            height, width = self.size
            raise OptionError(
                f"Expected a window of the photo, Window(top, left, height, width) within {height} rows and {width} "
                f"columns, got {text_of(window)}."
            )
        if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 1:
            raise OptionError(f"Expected a step of whole pixels, at least 1, got {text_of(step)}.")
        return self.shown.read(window, int(step))

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """The interactions that hold."""
        return self.constraints.in_effect

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks among them."""
        return tuple(each for each in self.interactions if isinstance(each, Click))

    @property
    def overruled(self) -> tuple[Interaction, ...]:
        """The interactions that later ones contradict: those hold."""
        return self.constraints.overruled

    @cached_property
    def unsatisfied(self) -> tuple[Unsatisfied, ...]:
        """The interactions that have not their label in `mask`, with what was said instead and why."""
        said = self.constraints
        chances = self.chances
        found = []
        for index, interaction in enumerate(said.interactions):
            own = (said.owners == index) & said.required & ~(chances > 0.5)
            if own.any():
                least = float(np.nanmin(chances[own])) if not np.isnan(chances[own]).all() else 0.0
                found.append(Unsatisfied(interaction, least, self._reason()))
        return tuple(found)

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """(n,) how likely each label of `said` is, by what is shown; above 0.5 where it holds."""
        if not len(self.constraints.points):
            return np.zeros(0)
        logits = self.shown.at(self.constraints.points).double().cpu().numpy()
        holds = (logits > 0) == self.constraints.positive
        chances = 1 / (1 + np.exp(np.clip(-np.abs(logits), -700, 0)))
        # By the sign, as in the mask: log-odds too small to move a probability from 0.5 still decide.
        chances = np.where(holds, np.maximum(chances, np.nextafter(0.5, 1)), np.minimum(1 - chances, 0.5))
        return np.where(np.isnan(self.class_probabilities), chances, self.class_probabilities)

    @property
    def satisfied(self) -> bool:
        """Whether every interaction has its label in `mask`."""
        return not self.unsatisfied

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the label differs from the result before."""
        return _frozen(np.zeros(self.size, bool) if self.before is None else self.mask != self.before.mask)

    @cached_property
    def changed_box(self) -> Window | None:
        """The smallest window that holds all that changed; None where nothing did.

        Of a picture of more than `HUGE` pixels it is what changed where the network looked: what a box or stroke did
        beyond is not looked for.
        """
        if self.before is None or self.size[0] * self.size[1] <= HUGE:
            return extent_of(self.changed)
        part = self.window
        found = extent_of(self.mask_in(part) != self.before.mask_in(part))
        if found is None:
            return None
        return Window(part.top + found.top, part.left + found.left, found.height, found.width)

    def __repr__(self) -> str:
        height, width = self.size
        count = len(self.interactions)
        state = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} of {count} interactions unsatisfied"
        return (
            f"Result({width}x{height} pixels, {count} interactions, {state}, {self.status}, "
            f"{self.evaluations} evaluations, {self.seconds * 1000:.0f} ms)"
        )

    @cached_property
    def extent(self) -> Window | None:
        """The smallest window that holds the object; of a very large photo to within a pixel that the network saw."""
        height, width = self.size
        if height * width <= LARGE:
            return extent_of(self.mask)
        scale = max(self.logits.shape[-2:]) / max(self.size)
        xs, ys = (np.linspace(0, side - 1, max(1, round(side * scale))) for side in (width, height))
        places = np.stack(np.meshgrid(np.rint(xs), np.rint(ys)), -1).reshape(-1, 2).astype(np.int64)
        inside = places[self.shown.at(places).gt(0).cpu().numpy()]
        if not len(inside):
            return None
        (left, top), (right, bottom) = inside.min(0).tolist(), inside.max(0).tolist()
        return Window(top, left, bottom + 1 - top, right + 1 - left)

    def forgotten(self) -> None:
        """Let go of whole arrays of a large photo: they are made again where someone asks."""
        if self.size[0] * self.size[1] > LARGE:
            for name in ("mask", "probability", "changed"):
                self.__dict__.pop(name, None)

    @property
    def _photo(self) -> Window:
        return Window(0, 0, *self.size)

    def _reason(self) -> str:
        kept = "the best that was found is shown"
        return {
            "budget": f"{self.evaluations} evaluations, all that max_evaluations allows, were not enough; {kept}",
            "time": f"max_seconds was over after {self.evaluations} evaluations; {kept}",
            "cancelled": f"it was cancelled after {self.evaluations} evaluations; {kept}",
            "superseded": "a newer interaction came before it was done, and is answered together with it",
        }.get(self.status, f"the network can't be brought there: no step lowers the energy further; {kept}")


def _frozen(array: NDArray) -> NDArray:
    array.setflags(write=False)
    return array
