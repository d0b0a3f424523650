"""One photo opened under one network: from the steps so far and all interactions to the next step.

`refine` is the core: it combines the interactions into constraints, chooses the window that the network sees, minimises
the energy there, and puts the result into the photo.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Click, Interaction
from interactify.interactions.constraints import MASK_WEIGHT, TARGET, Constraints, combine
from interactify.interactions.gestures import UNKNOWN, Labels, Scribble
from interactify.interactions.rasterise import bounds, points_inside
from interactify.network.variables import starts_anew
from interactify.optim.status import Status
from interactify.pictures.picture import Picture
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Pixels, Window, whole
from interactify.propagation.propagation import Spread, own_share
from interactify.refinement.careful import gate_of, with_part
from interactify.refinement.classes import classes_at
from interactify.refinement.click_input import click_input
from interactify.refinement.held import held_before, steadiness
from interactify.refinement.history import Step, Steps
from interactify.refinement.layers import Layer, NetworkLayer
from interactify.refinement.merge import initial_map, merged_labels, merged_mask
from interactify.refinement.next_step import next_step
from interactify.refinement.own_map import OwnMap
from interactify.refinement.problem import Crop, Problem, Stop, labels_in, map_indices, minimise
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.refinement.zoom import (
    AGREES,
    KEEP_IOU,
    agreement,
    inner_share,
    min_side,
    next_window,
    reaches_side,
    without_new,
)
from interactify.runtime.cache import Kept, in_use
from interactify.runtime.pass_cache import PassCache
from interactify.runtime.suffix import Suffix

MIN_FOUND: Final = 0.05  # of a region's pixels: with less object, the region's centre is taken to be the object
SURROUNDINGS: Final = 0.25  # of a region's sides, at each side: what the network sees around it
MAX_LOG_ODDS: Final = 10.0  # of the mask before, where the colours of object and background are learnt from it

Observer = Callable[[Problem, Tensor], None]
"""Called with the problem and the network's log-odds (1, T, h', w') of every evaluation."""


class Refiner:
    """One photo, opened for one network. It holds what stays the same from interaction to interaction."""

    def __init__(self, net: Wrapped, picture: Picture) -> None:
        self.net = net
        self.picture = picture
        self.size = self.picture.size
        self.photo_window = whole(self.size)  # the window that is the whole photo
        self.passes = PassCache()
        self._initial_steps: dict[int | None, Step] = {}  # by target
        self._own_maps: dict[int | None, OwnMap] = {}  # by target
        self._own_classes: dict[tuple[int, int], int] = {}  # by pixel, x then y: the network's, at points of label maps
        self._lock = threading.Lock()  # for the initial steps
        self._last_crop = Kept[Crop]()
        self.first_crop = self._new_crop(self._first_window())
        self.initial_logits = self.first_crop.suffix.plain()

    @property
    def tile(self) -> int | bool:
        """The side of its tiles in photo pixels; False without tiles."""
        return False

    def _first_window(self) -> Window:
        """What the network sees first."""
        return self.photo_window

    @property
    def classes(self) -> int:
        """The number of the network's classes."""
        return self.initial_logits.shape[1]

    def initial_step(self, target: int | None) -> Step:
        """The network's own prediction, before any interaction with an object of a class."""
        with self._lock:
            if target not in self._initial_steps:
                own = self.resolve_target(target, combine((), self.size))
                log_odds = self.net.network.log_odds(self.initial_logits, own, self.first_crop.image)
                layer = self._first_layer(log_odds, own)
                result = Result(log_odds, self.first_crop.view, self.first_crop.window, layer, layer, self.size)
                step = Step((), self.first_crop, self.first_crop.start, result, log_odds, (own,))
                self._initial_steps[target] = step
            return self._initial_steps[target]

    def own_map(self, target: int | None) -> OwnMap:
        """What suits the network's own map of a class in this photo."""
        if target not in self._own_maps:
            first = self.initial_step(target)
            self._own_maps[target] = OwnMap.of(self.net, first.crop, first.log_odds)
        return self._own_maps[target]

    def _first_layer(self, log_odds: Tensor, target: int | None) -> Layer:
        """The network's own prediction of a class, for the whole photo."""
        return NetworkLayer(log_odds, self.first_crop.view, self.first_crop.window)

    def initial_parts(self) -> Iterator[tuple[Window, Crop, Tensor]]:
        """The whole photo in parts: each a window, the crop that shows it, and the logits (1, K, h, w) there."""
        yield self.photo_window, self.first_crop, self.initial_logits

    def crop(self, window: Window) -> Crop:
        """The crop of a window; that of the first window is cached, and the last one while there is room."""
        if window == self.first_crop.window:
            return self.first_crop
        last = self._last_crop.get()
        if last is None or last.window != window:
            last = self._new_crop(window)
            self._last_crop.put(last, last.image.nbytes, last.image.device)
        return last

    def _new_crop(self, window: Window) -> Crop:
        network = self.net.network
        view = network.view((window.height, window.width))
        image = network.normalised(self.picture.to_network(window, view))
        start = self.net.variables.start(network, image)
        suffix = Suffix(self.net.runtime, self.net.variables, image, start)
        return Crop(window, view, image, start, suffix, self.net.propagation, self._inner_share(window, view))

    def _inner_share(self, window: Window, view: View) -> Tensor | None:
        """How much of a window's own map is displayed towards its sides, (1, 1, h', w'); None for all of it."""
        return inner_share(view, window, self.size)

    def constraints_of(
        self, interactions: tuple[Interaction, ...], own: int | None, assume_centre: bool = False
    ) -> Constraints:
        """What interactions together ask of an object of the class `own`; None where it is not known yet."""
        exclusive = self.net.spec.output.exclusive
        constraints = combine(interactions, self.size, assume_centre, own=own, exclusive=exclusive)
        return self._pulling(constraints, own) if isinstance(constraints.mask, Labels) else constraints

    def _pulling(self, constraints: Constraints, own: int | None) -> Constraints:
        """Without those points of a label map that the network itself gives the same class.

        A map is mostly the network's own, or nearly. Points that hold it there would work against clicks around them.
        """
        at = constraints.points.tolist()
        if absent := [pixel for pixel in map(tuple, at) if pixel not in self._own_classes]:
            self._own_classes |= zip(absent, self._classes_at(np.array(absent)), strict=True)
        predicted = np.array([self._own_classes[x, y] for x, y in at], np.int64)
        classes = np.where(constraints.labels == TARGET, UNKNOWN if own is None else own, constraints.labels)
        left = constraints.required | (predicted != classes)
        pulling = left & ~constraints.required
        weights = np.where(pulling, min(1.0, MASK_WEIGHT / max(1, int(pulling.sum()))), constraints.weights)
        return constraints.only(left, weights)

    def resolve_target(self, target: int | None, constraints: Constraints) -> int | None:
        """The class of a positive click: `target`, or the class under the first point (of two classes, the second).

        For a mask it is the class that most of the mask has. A label map does not decide it.
        """
        if target is not None:
            return target
        if self.classes <= 2:
            return self.classes - 1
        if isinstance(constraints.mask, Labels):
            constraints = constraints.only(constraints.required, constraints.weights)
        points, positive = constraints.points, constraints.positive
        if not len(points):
            return None
        first = int(np.flatnonzero(positive)[0]) if positive.any() and constraints.region is not None else 0
        if constraints.labels[first] != TARGET:
            return int(constraints.labels[first])
        of_mask = positive & ~constraints.required
        deciding = points[of_mask] if not constraints.required[first] and of_mask.any() else points[first : first + 1]
        if isinstance(constraints.mask, Labels):
            (x, y), labels = points[first], constraints.mask.labels
            if labels[y, x] != UNKNOWN:
                return int(labels[y, x])
        return int(np.bincount(self._classes_at(deciding)).argmax())

    def _classes_at(self, pixels: Pixels) -> list[int]:
        """The classes that the network predicts at pixels, (n, 2)."""
        return classes_at(self.first_crop, self.initial_logits, pixels)

    @in_use()
    def refine(
        self,
        steps: Steps,
        interactions: tuple[Interaction, ...],
        target: int | None,
        stop: Stop,
        observe: Observer | None = None,
        window: Window | None = None,
    ) -> Step:
        """The step that follows `steps`, when `interactions` are all of the object, the newest last.

        With `window` the network sees this part of the photo, and does not choose one: to repeat a refinement.

        Raises ModelChangedError where the model has changed since the photo was opened.
        """
        self.net.check_unchanged()
        problem = self.problem(steps, interactions, target, window=window)
        step = self._solve(steps, problem, target, stop, observe)
        if not step.result.constraints.region_only or step.result.status == Status.SUPERSEDED:
            return step
        if self._share_in_region(step.result) >= MIN_FOUND:
            return step
        centred = self.problem(steps, interactions, target, assume_centre=True, window=window)
        second = self._solve(steps, centred, target, stop, observe)
        evaluations = second.result.evaluations + step.result.evaluations
        if second.result.status == Status.SUPERSEDED:  # the same step as if it had come during the first refinement
            second = self._solve(steps, problem, target, lambda: Status.SUPERSEDED, None)
        return replace(second, result=replace(second.result, evaluations=evaluations))

    def _solve(self, steps: Steps, problem: Problem, target: int | None, stop: Stop, observe: Observer | None) -> Step:
        """The step that follows `steps` when a problem is solved."""
        last = steps[-1] if steps else self.initial_step(target)
        right = self._all_right(problem, last)
        if right or not len(problem.inside) or not self._needs_network(problem, last):
            unchanged = last.crop, last.values, last.log_odds, last.targets, self.photo_window
            layer = last.result.layer
            step = next_step(
                last,
                problem.constraints,
                *unchanged,
                initial_map(last, problem.constraints),
                layer=layer if isinstance(layer, NetworkLayer) else None,
                evaluations=0,
                status=Status.DONE if right else Status.PAINTED,
                seconds=time.perf_counter() - problem.started,
            )
            last.result.release_arrays()
            return replace(step, steadiness=1.0) if right else step  # the mask is that of before
        first: list[Tensor] = []

        def evaluated(log_odds: Tensor) -> None:
            first[:] = first or [log_odds]
            if observe is not None:
                observe(problem, log_odds)

        steered, refinement = problem.steering is not None, minimise(self.net, problem, self.passes, stop, evaluated)
        if refinement.status == Status.SUPERSEDED:  # the first evaluation, so that it does not matter when it ended
            start = problem.start if problem.suffix.maps is None else problem.crop.start
            if not (steered and torch.equal(refinement.values, start)):  # what steers is never shown
                refinement = replace(refinement, values=start, logits=problem.answer(start) if steered else first[0])
        return self.step_from(steps, problem, refinement, target)

    def _needs_network(self, problem: Problem, last: Step) -> bool:
        """Whether the labels of any points are new: strokes, boxes and masks alone may change nothing else."""
        new = problem.constraints.owners >= len(last.interactions)
        return bool(new.any()) or not problem.constraints.same_labels(last.result.constraints)

    def _all_right(self, problem: Problem, last: Step) -> bool:
        """Whether the mask before satisfies later clicks and all before: it stays, unless what runs reads clicks."""
        constraints = problem.constraints
        new = constraints.interactions[len(last.interactions) :]
        if not new or not all(isinstance(each, (Click, Scribble)) for each in new):
            return False
        same = problem.crop is last.crop and problem.targets == last.targets and problem.suffix.shared
        return same and self._is_right(last, constraints, constraints.required)

    def problem(
        self,
        steps: Steps,
        interactions: tuple[Interaction, ...],
        target: int | None,
        assume_centre: bool = False,
        window: Window | None = None,
    ) -> Problem:
        """The problem to solve so that all these interactions are satisfied; with `window`, seen in this one."""
        started = time.perf_counter()
        last = steps[-1] if steps else self.initial_step(target)
        constraints = self.constraints_of(interactions, None, assume_centre)
        if target is None and self.classes > 2 and constraints.region_only:  # a region alone does not tell the class
            constraints = self.constraints_of(interactions, None, assume_centre=True)
        # The class is decided once: it stays even where the interaction that decided it is overruled later.
        decided = last.targets[0] if last.interactions else None
        own = self.resolve_target(target, constraints) if decided is None else decided
        constraints = self.constraints_of(interactions, own, constraints.assume_centre)
        window = self._window(steps, last, constraints) if window is None else window
        crop = last.crop if window == last.crop.window else self.crop(window)
        # Back in an earlier window, start where it was left; in a new one, at the identity.
        earlier = (step for step in reversed(steps) if step.window == window)
        start = crop.start if starts_anew(self.net.variables) else next((s.values for s in earlier), crop.start)
        inside, points = labels_in(crop, constraints)
        targets = (own, *sorted(set(constraints.labels[inside].tolist()) - {TARGET, own}))
        maps = map_indices(constraints, inside, targets)
        spreads = (Spread(),) * len(targets)
        suffix = self._suffix(crop, constraints, last)
        shown = last if last.interactions else self.initial_step(own)  # a class that was decided only now has a map too
        known = shown.targets[0] == own and self._shows_without_a_pass(shown, crop)
        held = held_before(self.net, crop, constraints, inside, points, shown) if known else None
        inputs = constraints, crop, suffix, inside, start, points, maps, targets, spreads
        problem = with_part(Problem(*inputs, self.own_map(own).energy, started, held), last)
        if not crop.propagation.active or not len(inside):
            return problem
        # What only a label map tells of a class does not spread: the map has the rest already.
        by_hand = set(maps[constraints.required[inside]].tolist()) if isinstance(constraints.mask, Labels) else maps
        spread = (self._spread(problem, last, t) if t in by_hand else Spread() for t in range(len(targets)))
        return replace(problem, spreads=tuple(spread))

    def _suffix(self, crop: Crop, constraints: Constraints, last: Step) -> Suffix:
        """What an evaluation runs in a crop: for a click network, a suffix that reads the maps of the clicks."""
        maps = click_input(self.net.network, crop, constraints, last)
        if maps is None:
            return crop.suffix
        return Suffix(self.net.runtime, self.net.variables, crop.image, crop.start, maps)

    def _window(self, steps: Steps, last: Step, constraints: Constraints) -> Window:
        """The window that the network sees: the same as before, or a closer one."""
        current = last.crop.window
        new = constraints.owners >= len(last.interactions)
        if not self.net.zoom or not new.any() or (constraints.mask is not None and not steps):
            return current
        if constraints.region is None:
            right = self._is_right(last, constraints, new)
            return current if right else self._window_around(steps, last, constraints, new)
        around_region = bounds(constraints.region).grown(SURROUNDINGS, self.size, min_side(self.net.spec.resolution))
        if self.net.spec.fit == "squash":
            around_region = around_region.with_aspect_of(self.size)
        if not around_region.contains(constraints.points[new & (constraints.labels != TARGET)]).all():
            return self.photo_window  # a new label about another class lies outside of the region
        keeps = current.common(around_region) == around_region and current.overlap(around_region) >= KEEP_IOU
        return current if keeps else around_region

    def _window_around(self, steps: Steps, last: Step, constraints: Constraints, new: NDArray[np.bool_]) -> Window:
        """The window around the object and those of the points that are `new`."""
        points, required, current = constraints.points, constraints.required, last.crop.window
        newest = points[new]
        undecided = last.targets[0] is None  # outside of a window, no class would be displayed
        if not steps or undecided or len(constraints.in_effect) < 2:  # the first is refined in the whole photo
            return without_new(current, newest, self.size)
        own = required & constraints.positive & (constraints.labels == TARGET) | new
        spec, result = self.net.spec, last.result
        squash, cut = spec.fit == "squash", reaches_side(result.logits, result.view, current, self.size)
        chosen = next_window(current, result.extent, points[own], newest, self.size, spec.resolution, squash, cut)
        if chosen in (current, self.photo_window) or self._agrees(chosen, last):
            return chosen
        return without_new(current, newest, self.size)

    def _agrees(self, window: Window, last: Step) -> bool:
        """Whether the network by itself, seeing a window, finds the object shown there as well as in the whole photo.

        Where it does not, it does not know the object at this scale, and the clicks so far would be undone. A click
        network reads the clicks there, and finds no object without them.
        """
        network, target = self.net.network, last.targets[0]
        if network.reads_clicks:
            return True
        crop = self.crop(window)
        # No pass is lost: where the window is opened, the first click in it begins with what is recorded here.
        closer = network.log_odds(crop.plain_logits(), target, crop.image)
        farther = crop.read(self.initial_step(target).result.layer, lambda log_odds: log_odds)
        shown = last.displayed_in(crop) > 0.5
        return agreement(closer, shown, crop.view) >= AGREES * agreement(farther, shown, crop.view)

    def _is_right(self, last: Step, constraints: Constraints, which: NDArray[np.bool_]) -> bool:
        """Whether the mask before, after a click, already has the label of these points of the object, or beside it.

        A click network answers every click anew.
        """
        which = which & constraints.required
        other_class = last.targets[0] is None or bool((constraints.labels[which] != TARGET).any())
        if not last.interactions or other_class or self.net.network.reads_clicks:
            return False
        shown = last.result.displayed.at(constraints.points[which]).gt(0).cpu().numpy()
        return bool(which.any() and (shown == constraints.positive[which]).all())

    def _spread(self, problem: Problem, last: Step, t: int) -> Spread:
        """How the map of one target spreads over the picture."""
        crop, target = problem.crop, problem.targets[t]
        propagation = self.own_map(target).propagation
        if not propagation.active:
            return Spread()
        # A pixel of another class is not of this one; that a pixel is not of another class tells nothing of this one.
        informative = (of_target := problem.maps == t) | problem.positive
        labels = [bool(yes) for yes in (problem.positive & of_target)[informative]]
        points = problem.points[torch.from_numpy(informative)]
        before = self._log_odds_before(crop, last, target, t, propagation.colour > 0 or propagation.reach is not None)
        guide, along = crop.guide, crop.edge_filter(propagation)
        spread = propagation.spread(guide, crop.view.content_size, along, before, points, labels)
        # Around the points of all classes the network's own map is displayed.
        own = spread.own if informative.all() else own_share(problem.points, guide)
        return replace(spread, own=own, gate=None if t else gate_of(propagation, problem, last, before))

    def _log_odds_before(self, crop: Crop, last: Step, target: int | None, t: int, colour: bool) -> Tensor:
        """Log-odds (1, 1, h', w') of a target in a crop before the newest interaction; any, without `colour`."""
        undecided = last.targets[0] != target  # the class was decided only now
        if t or undecided or (not last.interactions and crop is self.first_crop):
            logits = self.initial_logits if crop is self.first_crop or not colour else crop.plain_logits()
            return self.net.network.log_odds(logits, target, crop.image)
        if crop is last.crop:
            return last.result.logits
        if not last.interactions:  # the initial prediction was made in another crop
            logits = crop.plain_logits() if colour else self.initial_logits
            return self.net.network.log_odds(logits, target, crop.image)
        return crop.read(last.result.layer, lambda log_odds: log_odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS))

    def _shows_without_a_pass(self, last: Step, crop: Crop) -> bool:
        """Whether the displayed mask in a crop is known; where not, the network would have to be run for it."""
        return crop is last.crop or bool(last.interactions)

    def _share_in_region(self, result: Result) -> float:
        """The share of the region's pixels that the mask has, from a grid of 32 × 32."""
        region = result.constraints.region
        assert region is not None
        box = bounds(region)
        spans = (box.left, box.width), (box.top, box.height)
        xs, ys = (np.unique(np.linspace(first, first + length - 1, 32).round()) for first, length in spans)
        pixels = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.int64)
        pixels = pixels[points_inside(region, pixels)]
        return float(result.displayed.at(pixels).gt(0).float().mean()) if len(pixels) else 1.0

    def step_from(self, steps: Steps, problem: Problem, refinement: brs.Refinement, target: int | None) -> Step:
        """The step that follows `steps` when a refinement has solved a problem."""
        last, constraints, crop = steps[-1] if steps else self.initial_step(target), problem.constraints, problem.crop
        log_odds = problem.propagated(refinement.logits)
        step = partial(
            next_step,
            last,
            constraints,
            crop,
            refinement.values,
            log_odds,
            problem.targets,
            self.photo_window,
            evaluations=refinement.evaluations,
            status=refinement.status,
            seconds=time.perf_counter() - problem.started,
        )
        labels = initial_map(last, constraints)
        last.result.release_arrays()
        if labels is not None and isinstance(constraints.mask, Labels):
            return step(merged_labels(self.net, labels, step(labels), last))
        exclusive = self.net.spec.output.exclusive
        mask = merged_mask(last, constraints, crop, log_odds, self.photo_window, exclusive)
        return replace(step(mask), steadiness=steadiness(problem.held, crop, log_odds, last, refinement.status))
