"""What a refinement is asked for: which clicks hold, in which window of the photo, from where, for which class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interactify import brs
from interactify.guided_filter import GuidedFilter
from interactify.interactions import Click
from interactify.propagation import Propagation, Spread, guide_of
from interactify.suffix import Suffix
from interactify.view import View
from interactify.window import Window

if TYPE_CHECKING:
    from interactify.wrap import Interactive

Run = Callable[[Suffix, Tensor, Sequence[Click]], Tensor]


@dataclass(frozen=True, eq=False)
class Frame:
    """A window of the photo as the network sees it.

    `image` is (1, C, h', w'), normalised, `start` the variables' identity, `suffix` what depends on them, and
    `propagation` how a correction follows the picture.
    """

    window: Window
    view: View
    image: Tensor
    start: Tensor
    suffix: Suffix
    propagation: Propagation

    @cached_property
    def guide(self) -> Tensor:
        """What a click's correction follows, (1, C, h', w') in [0, 1]."""
        return guide_of(self.suffix.network.photo(self.image))

    @cached_property
    def along(self) -> GuidedFilter | None:
        """The filter along the edges of the guide."""
        return self.propagation.filter(self.guide)


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be refined: `holding` of the clicks, from `start`, in one frame.

    `points` (n, 2) are those inside the frame's window, in network pixels, with one of `positive` for each; `target` is
    the class they speak of, `spread` how the corrected map follows the picture, and `begun` when the person waited from
    (`time.perf_counter`).
    """

    clicks: tuple[Click, ...]
    holding: tuple[Click, ...]
    overruled: tuple[Click, ...]
    frame: Frame
    start: Tensor
    points: Tensor
    positive: tuple[bool, ...]
    target: int | None
    spread: Spread
    begun: float

    @property
    def labels(self) -> Tensor:
        """(n,) bool."""
        return torch.tensor(self.positive)

    @cached_property
    def seen(self) -> list[Click]:
        """The clicks inside the window, in network pixels."""
        return [
            Click(float(x), float(y), positive)
            for (x, y), positive in zip(self.points.tolist(), self.positive, strict=True)
        ]

    def logits(self, values: Tensor, run: Run) -> Tensor:
        """Log-odds (1, 1, h', w') of the target under the values, differentiable in them, as `run` runs the suffix."""
        suffix = self.frame.suffix
        return suffix.network.log_odds(run(suffix, values, self.seen), self.target, self.frame.image)


def later_wins(clicks: tuple[Click, ...]) -> tuple[tuple[Click, ...], tuple[Click, ...]]:
    """Clicks that hold, and those whose pixel was clicked again later with the other label."""
    final = {(c.x, c.y): c.positive for c in clicks}
    holding = tuple(c for c in clicks if final[c.x, c.y] == c.positive)
    return holding, tuple(c for c in clicks if final[c.x, c.y] != c.positive)


def refined(net: Interactive, request: Request, run: Run, stop: Callable[[], str | None]) -> brs.Refinement:
    """Minimise what a request asks for, as the network was wrapped to; `run` runs the suffix."""
    return brs.refine(
        partial(request.logits, run=run),
        request.start,
        request.points,
        request.labels,
        energy=net.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=net.max_evaluations,
        stop=stop,
    )
