"""The problem that one refinement solves: which pixels need which label, in which crop of the photo, from where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Click
from interactify.interactions.constraints import TARGET, Constraints
from interactify.optim.status import Status
from interactify.pictures.resize_pad import View, sample
from interactify.pictures.window import Window
from interactify.propagation.guided_filter import GuidedFilter
from interactify.propagation.propagation import Propagation, Spread, guide_of
from interactify.refinement.layers import Layer, on_network_grid
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.cache import Kept
from interactify.runtime.pass_cache import ForwardPass, Passes
from interactify.runtime.steering import Steering
from interactify.runtime.suffix import Suffix

MASK_EVALUATIONS = 12  # for an initial mask alone: the network need not agree with it everywhere

Run = Callable[[Passes, Tensor, Sequence[Click]], Tensor]
"""From a suffix, values and clicks in network pixels to the network's logits (1, K, h, w)."""

Stop = Callable[[], str | None]
"""Called between evaluations: a `Status` ends the refinement, None lets it go on."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of the photo as the network sees it.

    `image` is (1, C, h', w'), normalised; `start` is the variables' identity, `suffix` the part of the network that
    depends on them, and `propagation` how a correction spreads over the picture. `inner_share`, (1, 1, h', w') float32
    on the CPU, is how much of its map is displayed towards the window's sides; None for all of it.
    """

    window: Window
    view: View
    image: Tensor
    start: Tensor
    suffix: Suffix
    propagation: Propagation
    inner_share: Tensor | None = None

    _guide: Kept[Tensor] = field(default_factory=Kept)
    _filter: Kept[GuidedFilter] = field(default_factory=Kept)
    _plain: Kept[tuple[object, Tensor]] = field(default_factory=Kept)

    @cached_property
    def steering(self) -> Steering:
        """The suffix in lower precision; of use only where `suffix.unsteered` is ""."""
        return Steering(self.suffix)

    @property
    def passes(self) -> Passes:
        """What the evaluations of a refinement run: the suffix, or what steers in its place."""
        return self.suffix if self.suffix.unsteered else self.steering

    @property
    def guide(self) -> Tensor:
        """The picture that corrections follow, (1, C, h', w') in [0, 1]."""
        return self._guide.get_or(self._made_guide, lambda guide: (guide.nbytes, guide.device))

    def edge_filter(self, propagation: Propagation) -> GuidedFilter | None:
        """A propagation's filter along the edges of the guide; the last one is cached."""
        known = self._filter.get()
        if known is not None and (known.radius, known.edge) == (propagation.radius, propagation.edge):
            return known
        made = propagation.filter(self.guide)
        if made is not None:
            self._filter.put(made, made.nbytes, made.guide.device)
        return made

    def plain_logits(self) -> Tensor:
        """The network's own logits (1, K, h, w) for the image. Raises as `Suffix.plain`."""
        now, known = self.suffix.valid_for(()), self._plain.get()
        if known is not None and known[0] == now:
            return known[1]
        logits = self.suffix.plain()
        self._plain.put((now, logits), logits.nbytes, logits.device)
        return logits

    def read(self, layer: Layer, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Log-odds of a layer here, changed pixel by pixel and then brought to the network's grid: (1, 1, h', w')."""
        return on_network_grid(layer, self.view, self.window, change)

    def _made_guide(self) -> Tensor:
        return guide_of(self.suffix.network.photo(self.image))


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise the energy in one crop, from `start`, until the constraints are satisfied.

    Attributes:
        constraints: what the interactions together ask of pixels.
        crop: where.
        suffix: what an evaluation runs: the crop's, or for a click network one that reads the maps of these clicks.
        inside: (n,) the indices of the constraints' points in the crop's window, each label of a pixel once.
        start: the variables' values to begin with.
        points: (n, 2) float64, these points in network pixels, x then y.
        maps: (n,) int64, the index in `targets` that each point's label is about; -1 for none of them.
        targets: classes; the first is the object's own.
        spreads: for each target, how its map spreads over the picture.
        energy: what is minimised.
        held: what the rest of the object's map should stay like; None for nothing.
        part: whether the newest clicks repair a part of a mask that was steady.
        started: when the user began to wait (`time.perf_counter`).
    """

    constraints: Constraints
    crop: Crop
    suffix: Suffix
    inside: NDArray[np.int64]
    start: Tensor
    points: Tensor
    maps: NDArray[np.int64]
    targets: tuple[int | None, ...]
    spreads: tuple[Spread, ...]
    energy: brs.Energy
    started: float
    held: brs.Held | None = None
    part: bool = False

    @property
    def target(self) -> int | None:
        """The object's own class."""
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
        """(n,) in clicks; None where all are 1."""
        weights = self.constraints.weights[self.inside]
        return None if (weights == 1).all() else torch.from_numpy(weights)

    @property
    def required(self) -> Tensor | None:
        """(n,) bool; None where all are."""
        required = self.constraints.required[self.inside]
        return None if required.all() else torch.from_numpy(required)

    @cached_property
    def network_clicks(self) -> list[Click]:
        """The points as clicks in network pixels, from which variables draw interaction maps."""
        return clicks_in(self.crop, self.constraints)

    @property
    def steering(self) -> Steering | None:
        """Passes in lower precision that steer the refinement; None where nothing does."""
        passes = self.crop.passes if self.suffix is self.crop.suffix else None
        return passes if isinstance(passes, Steering) else None

    def forward(self, values: Tensor, run: Run, passes: Passes | None = None) -> Tensor:
        """Log-odds (1, T, h', w') of the targets under the values, differentiable in them; `run` runs the suffix.

        With `passes` it runs these: what steers.
        """
        return self.log_odds(run(passes or self.suffix, values, self.network_clicks))

    def answer(self, values: Tensor) -> Tensor:
        """Log-odds (1, T, h', w') of the targets under the values, without a gradient."""
        with torch.no_grad():
            return self.log_odds(self.suffix(values, self.network_clicks))

    def satisfied_by(self, log_odds: Tensor) -> bool:
        """Whether the required points have their label in log-odds (1, T, h', w'); all, where none is required."""
        read = sample(log_odds, self.points)[0].float().cpu().numpy()  # NumPy has no bfloat16
        right = (read[self.maps, np.arange(len(self.maps))] > 0) == self.positive
        required = self.constraints.required[self.inside]
        return bool(right[required].all() if required.any() else right.all())

    def log_odds(self, logits: Tensor) -> Tensor:
        """Log-odds (1, T, h', w') of the targets, from the network's logits (1, K, h, w)."""
        network, image = self.crop.suffix.network, self.crop.image
        log_odds = [network.log_odds(logits, target, image) for target in self.targets]
        return log_odds[0] if len(log_odds) == 1 else torch.cat(log_odds, 1)

    def propagated(self, log_odds: Tensor) -> Tensor:
        """The displayed log-odds (1, T, h', w'), from the network's log-odds of the targets."""
        if len(self.spreads) == 1:
            return self.spreads[0](log_odds)
        return torch.cat([spread(log_odds[:, t : t + 1]) for t, spread in enumerate(self.spreads)], 1)


def points_in(crop: Crop, constraints: Constraints) -> tuple[NDArray[np.int64], Tensor]:
    """The indices (n,) of the points in a crop's window, and these points in network pixels, (n, 2) float64."""
    inside = np.flatnonzero(crop.window.contains(constraints.points))
    corner = np.array([crop.window.left, crop.window.top])
    return inside, crop.view.points_to_network((constraints.points[inside] - corner).astype(float))


def labels_in(crop: Crop, constraints: Constraints) -> tuple[NDArray[np.int64], Tensor]:
    """As `points_in`, with each label of a pixel once: two clicks on one pixel that agree count as one."""
    inside, points = points_in(crop, constraints)
    own = constraints
    labels = np.column_stack([own.points, own.positive, own.labels, own.weights, own.required])[inside]
    first = np.sort(np.unique(labels, axis=0, return_index=True)[1])
    return inside[first], points[torch.from_numpy(first)]


def clicks_in(crop: Crop, constraints: Constraints) -> list[Click]:
    """The labels in a crop's window, as clicks in network pixels."""
    inside, points = labels_in(crop, constraints)
    return [
        Click(float(x), float(y), bool(positive))
        for (x, y), positive in zip(points.tolist(), constraints.positive[inside], strict=True)
    ]


def map_indices(
    constraints: Constraints, inside: NDArray[np.int64], targets: Sequence[int | None]
) -> NDArray[np.int64]:
    """(n,) the index in `targets` that the label of each point `inside` is about; -1 for none of them."""
    indices = {TARGET: 0, **{target: t for t, target in enumerate(targets) if target is not None}}
    return np.array([indices.get(label, -1) for label in constraints.labels[inside].tolist()], np.int64)


def minimise(
    net: Wrapped,
    problem: Problem,
    run: Run,
    stop: Stop,
    observe: Callable[[Tensor], None] | None = None,
) -> brs.Refinement:
    """Solve a problem with the network's solver and limits; `run` runs the suffix.

    A click network answers the clicks by a forward pass, its first evaluation; it is refined where that leaves one
    unsatisfied (Jang & Kim, CVPR 2019, section 3.2), and begins with that pass, unless its variables begin elsewhere.
    `observe` is called with the log-odds (1, T, h', w') of every evaluation.
    """
    if problem.suffix.maps is None:
        return _refined(net, problem, run, stop, observe)
    first = ForwardPass(problem.suffix, problem.network_clicks) if net.max_evaluations else None
    answer = problem.log_odds(problem.suffix.plain() if first is None else first.logits)
    satisfied = problem.satisfied_by(answer)
    status = Status.DONE if satisfied else Status.BUDGET if first is None else stop()
    if first is not None and status is None and first.begins(problem.start):
        return _refined(net, problem, first, stop, observe)
    if observe is not None:
        observe(answer)
    if first is None or status is not None:
        return brs.Refinement(problem.crop.start, answer, math.nan, satisfied, 1, status or Status.BUDGET)
    refined = _refined(net, problem, first, stop, observe)
    return replace(refined, evaluations=refined.evaluations + 1)


def _refined(
    net: Wrapped, problem: Problem, run: Run, stop: Stop, observe: Callable[[Tensor], None] | None
) -> brs.Refinement:
    forward: Callable[[Tensor], Tensor] = partial(problem.forward, run=run)
    steering: Callable[[Tensor], Tensor] | None = None
    if problem.steering is not None:
        steering = partial(problem.forward, run=run, passes=problem.steering)
    if observe is not None:
        forward = _observed(forward, observe)
        steering = None if steering is None else _observed(steering, observe)
    required = problem.required
    none_required = required is not None and not bool(required.any())
    return brs.refine(
        forward,
        problem.start,
        problem.points,
        problem.labels,
        energy=problem.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=min(MASK_EVALUATIONS, net.max_evaluations) if none_required else net.max_evaluations,
        stop=stop,
        weights=problem.weights,
        required=required,
        maps=torch.from_numpy(problem.maps) if len(problem.targets) > 1 else None,
        held=problem.held,
        steering=steering,
    )


def _observed(forward: Callable[[Tensor], Tensor], observe: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
    def observed(values: Tensor) -> Tensor:
        log_odds = forward(values)
        observe(log_odds.detach())
        return log_odds

    return observed
