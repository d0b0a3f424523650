"""What a refinement is asked for: which pixels have which label, in which window of the photo, from where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Click
from interactify.interactions.constraints import TARGET, Constraints
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window
from interactify.propagation.guided_filter import GuidedFilter
from interactify.propagation.propagation import Propagation, Spread, guide_of
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.suffix import Suffix

Run = Callable[[Suffix, Tensor, Sequence[Click]], Tensor]
PULLS = 12  # evaluations for a mask to begin from: the network need not agree with it everywhere


@dataclass(frozen=True, eq=False)
class Crop:
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
class Problem:
    """What is to be minimise so that all that is said holds, from `start`, in one crop.

    Attributes:
        constraints: all of it.
        crop: where; `inside` (n,) are the places of `said` that lie in its window.
        start: the variables' values to begin from.
        points: (n, 2) float64, those places in network pixels.
        maps: (n,) int64, of which of `targets` each speaks.
        targets: classes; the first is the session's own.
        spreads: of each of them, how the corrected map follows the picture.
        started: when the person waited from (`time.perf_counter`).
    """

    constraints: Constraints
    crop: Crop
    inside: NDArray[np.int64]
    start: Tensor
    points: Tensor
    maps: NDArray[np.int64]
    targets: tuple[int | None, ...]
    spreads: tuple[Spread, ...]
    started: float

    @property
    def target(self) -> int | None:
        """The session's own class."""
        return self.targets[0]

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) bool."""
        return self.constraints.positive[self.inside]

    @property
    def labels(self) -> Tensor:
        """(n,) bool."""
        return torch.from_numpy(self.positive)

    @property
    def weights(self) -> Tensor | None:
        """(n,); None where all count alike."""
        weights = self.constraints.weights[self.inside]
        return None if (weights == 1).all() else torch.from_numpy(weights)

    @property
    def required(self) -> Tensor | None:
        """(n,) bool; None where all are."""
        required = self.constraints.required[self.inside]
        return None if required.all() else torch.from_numpy(required)

    @cached_property
    def network_clicks(self) -> list[Click]:
        """The points in network pixels, as what the variables' click maps are drawn of."""
        return clicks_in(self.crop, self.constraints)

    def logits(self, values: Tensor, run: Run) -> Tensor:
        """Log-odds (1, T, h', w') of the targets under the values, differentiable in them, as `run` runs the suffix."""
        suffix = self.crop.suffix
        return self.of_targets(run(suffix, values, self.network_clicks))

    def of_targets(self, logits: Tensor) -> Tensor:
        """Log-odds (1, T, h', w') of the targets, from the network's logits (1, K, h, w)."""
        network, image = self.crop.suffix.network, self.crop.image
        odds = [network.log_odds(logits, target, image) for target in self.targets]
        return odds[0] if len(odds) == 1 else torch.cat(odds, 1)

    def propagated(self, odds: Tensor) -> Tensor:
        """What is shown (1, T, h', w') for the network's log-odds of the targets."""
        if len(self.spreads) == 1:
            return self.spreads[0](odds)
        return torch.cat([spread(odds[:, t : t + 1]) for t, spread in enumerate(self.spreads)], 1)


def points_in(crop: Crop, told: Constraints) -> tuple[NDArray[np.int64], Tensor]:
    """Which places of what was said lie in a crop's window, (n,), and where in network pixels, (n, 2) float64."""
    inside = np.flatnonzero(crop.window.contains(told.points))
    corner = np.array([crop.window.left, crop.window.top])
    return inside, crop.view.points_to_network((told.points[inside] - corner).astype(float))


def clicks_in(crop: Crop, told: Constraints) -> list[Click]:
    """The places of what was said that lie in a crop's window, as clicks in network pixels."""
    inside, points = points_in(crop, told)
    return [
        Click(float(x), float(y), bool(positive))
        for (x, y), positive in zip(points.tolist(), told.positive[inside], strict=True)
    ]


def map_indices(told: Constraints, inside: NDArray[np.int64], targets: Sequence[int | None]) -> NDArray[np.int64]:
    """(n,) which of the targets' maps each of those places speaks of; -1 where it is none of theirs."""
    known = {TARGET: 0, **{target: t for t, target in enumerate(targets) if target is not None}}
    return np.array([known.get(label, -1) for label in told.labels[inside].tolist()], np.int64)


def minimise(
    net: Wrapped,
    problem: Problem,
    run: Run,
    stop: Callable[[], str | None],
    seen: Callable[[Tensor], None] | None = None,
) -> brs.Refinement:
    """Minimise what a problem asks for, as the network was wrapped to; `run` runs the suffix.

    `seen` is told the log-odds (1, T, h', w') of every evaluation.
    """
    forward: Callable[[Tensor], Tensor] = partial(problem.logits, run=run)
    if seen is not None:
        forward = _watched(forward, seen)
    required = problem.required
    pull = required is not None and not bool(required.any())
    return brs.refine(
        forward,
        problem.start,
        problem.points,
        problem.labels,
        energy=net.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=min(PULLS, net.max_evaluations) if pull else net.max_evaluations,
        stop=stop,
        weights=problem.weights,
        required=required,
        maps=torch.from_numpy(problem.maps) if len(problem.targets) > 1 else None,
    )


def _watched(forward: Callable[[Tensor], Tensor], seen: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
    def watched(values: Tensor) -> Tensor:
        odds = forward(values)
        seen(odds.detach())
        return odds

    return watched
