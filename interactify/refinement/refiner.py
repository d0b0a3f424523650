"""A photo under a network: from what was combine until now, and what is combine next, to the next step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Interaction
from interactify.interactions.constraints import TARGET, Constraints, combine
from interactify.interactions.rasterise import bounds, points_inside
from interactify.pictures.picture import Picture
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Pixels, Window, whole
from interactify.propagation.propagation import Spread, around
from interactify.refinement.history import Step, Steps
from interactify.refinement.layers import Layer, NetworkLayer
from interactify.refinement.next_step import merged_mask, next_step
from interactify.refinement.problem import Crop, Problem, map_indices, minimise, points_in
from interactify.refinement.result import LARGE, Result
from interactify.refinement.wrapped import Wrapped
from interactify.refinement.zoom import MAGNIFIED, next_window
from interactify.runtime.pass_cache import PassCache
from interactify.runtime.suffix import Suffix

FOUND: Final = 0.05  # of a region's pixels: with less, the network has found nothing there, and is told the middle
SURROUNDINGS: Final = 0.25  # of a region's sides, at each side: what the network sees around it
BELIEVED: Final = 10.0  # log-odds of a mask before, at most, where colours are learnt from it


class Refiner:
    """One photo, opened for one network. It holds what does not change while a person speaks about the photo."""

    def __init__(self, net: Wrapped, picture: Picture) -> None:
        self.net = net
        self.picture = picture
        self.size = self.picture.size
        self.photo_window = whole(self.size)  # the window that is all of it
        self.passes = PassCache()
        self._begun: dict[int | None, Step] = {}
        self._beginning = threading.Lock()
        self.first_crop = self._crop_of(self._first_window())
        self.initial_logits = self.first_crop.suffix.plain()

    @property
    def tile(self) -> int | bool:
        """The side of its tiles; False where it is seen whole."""
        return False

    def _first_window(self) -> Window:
        """What the network looks at first."""
        return self.photo_window

    @property
    def classes(self) -> int:
        """How many the network tells apart."""
        return self.initial_logits.shape[1]

    def initial_step(self, target: int | None) -> Step:
        """Before anything was combine of an object of that class: the network's own prediction."""
        with self._beginning:
            if target not in self._begun:
                own = self.resolve_target(target, combine((), self.size))
                odds = self.net.network.log_odds(self.initial_logits, own, self.first_crop.image)
                layer = self._first_layer(odds, own)
                result = Result(odds, self.first_crop.view, self.first_crop.window, layer, layer, self.size)
                self._begun[target] = Step((), self.first_crop, self.first_crop.start, result, odds, (own,))
            return self._begun[target]

    def _first_layer(self, odds: Tensor, target: int | None) -> Layer:
        """The network's own prediction, all over the photo."""
        return NetworkLayer(odds, self.first_crop.view, self.first_crop.window)

    def initial_parts(self) -> Iterator[tuple[Window, Crop, Tensor]]:
        """All of the photo, in parts: each, the crop that it is seen in, and the logits (1, K, h, w) there."""
        yield self.photo_window, self.first_crop, self.initial_logits

    def crop(self, window: Window) -> Crop:
        """The photo's window as the network sees it; the first one's is kept."""
        return self.first_crop if window == self.first_crop.window else self._crop_of(window)

    def _crop_of(self, window: Window) -> Crop:
        network = self.net.network
        view = network.view((window.height, window.width))
        image = network.normalised(self.picture.seen(window, view))
        start = self.net.variables.start(network, image)
        suffix = Suffix(self.net.runtime, self.net.variables, image, start)
        return Crop(window, view, image, start, suffix, self.net.propagation)

    def constraints_of(
        self, interactions: tuple[Interaction, ...], own: int | None, assume_centre: bool = False
    ) -> Constraints:
        """What interactions say together of an object of the class `own`; None where it is not known yet."""
        exclusive = self.net.spec.output.activation != "sigmoid"
        return combine(interactions, self.size, assume_centre, own=own, exclusive=exclusive)

    def resolve_target(self, target: int | None, told: Constraints) -> int | None:
        """What a positive click means: the class asked for, or that under the first pixel (of two, the second).

        Of a mask it is the class that most of it has.
        """
        if target is not None:
            return target
        if self.classes <= 2:
            return self.classes - 1
        if not len(told.points):
            return None
        first = int(np.flatnonzero(told.positive)[0]) if told.positive.any() and told.region is not None else 0
        if told.labels[first] != TARGET:
            return int(told.labels[first])
        pulling = told.positive & ~told.required
        asked = told.points[pulling] if not told.required[first] and pulling.any() else told.points[first : first + 1]
        return int(np.bincount(self._classes_at(asked)).argmax())

    def _classes_at(self, places: Pixels) -> list[int]:
        """The classes that the network sees at pixels, (n, 2)."""
        return classes_at(self.first_crop, self.initial_logits, places)

    def refine(
        self,
        steps: Steps,
        interactions: tuple[Interaction, ...],
        target: int | None,
        stop: Callable[[], str | None],
        seen: Callable[[Problem, Tensor], None] | None = None,
    ) -> Step:
        """The step that follows `steps` when `interactions`, the newest last, is all that has been combine."""
        problem = self.problem(steps, interactions, target)
        step = self._refine(steps, problem, target, stop, seen)
        told = step.result.constraints
        if told.region_only and self._found(step.result) < FOUND and step.result.status != "superseded":
            again = self.problem(steps, interactions, target, assume_centre=True)
            more = self._refine(steps, again, target, stop, seen)
            spent = more.result.evaluations + step.result.evaluations
            if more.result.status == "superseded":  # then it is what it is where it was so at once
                more = self._refine(steps, problem, target, lambda: "superseded", None)
            return replace(more, result=replace(more.result, evaluations=spent))
        return step

    def _refine(
        self,
        steps: Steps,
        problem: Problem,
        target: int | None,
        stop: Callable[[], str | None],
        seen: Callable[[Problem, Tensor], None] | None,
    ) -> Step:
        last = steps[-1] if steps else self.initial_step(target)
        if not len(problem.inside) or not self._asked(problem, last):
            seconds = time.perf_counter() - problem.started
            return next_step(
                last, problem.constraints, last.crop, last.values, last.odds, last.targets, self.photo_window, last.initial_mask,
                evaluations=0, status="painted", seconds=seconds,
            )  # fmt: skip
        first: list[Tensor] = []

        def told(odds: Tensor) -> None:
            if not first:
                first.append(odds)
            if seen is not None:
                seen(problem, odds)

        refinement = minimise(self.net, problem, self.passes, stop, told)
        if refinement.status == "superseded":  # so that what holds does not hang on when that was
            refinement = replace(refinement, values=problem.start, logits=first[0])
        return self.step_from(steps, problem, refinement, target)

    def _asked(self, problem: Problem, last: Step) -> bool:
        """Whether anything is combine that the network is asked about, and not the mask alone."""
        new = problem.constraints.owners >= len(last.interactions)
        return bool(new.any()) or not problem.constraints.same_labels(last.result.constraints)

    def problem(
        self, steps: Steps, interactions: tuple[Interaction, ...], target: int | None, assume_centre: bool = False
    ) -> Problem:
        """What is to be minimise so that all these interactions hold."""
        begun = time.perf_counter()
        last = steps[-1] if steps else self.initial_step(target)
        several = target is None and self.classes > 2  # a region alone does not say which class is meant
        told = self.constraints_of(interactions, None, assume_centre)
        if several and told.region_only:
            told = self.constraints_of(interactions, None, assume_centre=True)
        # Which class is meant is combine once: it stays so where that is overruled later.
        own = (
            last.targets[0] if last.interactions and last.targets[0] is not None else self.resolve_target(target, told)
        )
        told = self.constraints_of(interactions, own, told.assume_centre)
        window = self._window(steps, last, told)
        crop = last.crop if window == last.crop.window else self.crop(window)
        # Back in an earlier window, go on from where it was left; in a new one, from the identity.
        values = next((s.values for s in reversed(steps) if s.crop.window == window), crop.start)
        inside_, points = points_in(crop, told)
        targets = (own, *sorted(set(told.labels[inside_].tolist()) - {TARGET, own}))
        maps = map_indices(told, inside_, targets)
        problem = Problem(told, crop, inside_, values, points, maps, targets, (Spread(),) * len(targets), begun)
        if not crop.propagation.active or not len(inside_):
            return problem
        return replace(problem, spreads=tuple(self._spread(problem, last, t) for t in range(len(targets))))

    def _window(self, steps: Steps, last: Step, told: Constraints) -> Window:
        """Where the network looks: as it did, or closer."""
        current = last.crop.window
        new = told.owners >= len(last.interactions)
        if not self.net.zoom or not new.any() or (told.mask is not None and not steps):
            return current
        resolution = self.net.spec.resolution
        if told.region is not None:
            around, least = bounds(told.region), max(1, (resolution or 1) // MAGNIFIED)
            part = around.grown(SURROUNDINGS, self.size, least)
            if not part.contains(told.points[new & (told.labels != TARGET)]).all():  # of other classes, outside
                return self.photo_window
            serves = current.common(part) == part and current.overlap(part) >= 0.5
            return current if serves else part
        return self._closer(steps, last, told, new)

    def _closer(self, steps: Steps, last: Step, told: Constraints, new: NDArray[np.bool_]) -> Window:
        """Where the network looks for what is `new` of the places: around them and the object."""
        current = last.crop.window
        if not steps or len(told.in_effect) < 2:  # what is combine at the beginning is answered where all of it is seen
            return current
        own = told.required & told.positive & (told.labels == TARGET) | new
        resolution = self.net.spec.resolution
        return next_window(current, last.result.extent, told.points[own], told.points[new], self.size, resolution)

    def _spread(self, problem: Problem, last: Step, t: int) -> Spread:
        """How the map of one target follows the picture."""
        crop, target = problem.crop, problem.targets[t]
        # What is combine of another class says what this one is not; that a pixel is not of another class says nothing.
        of_it = problem.maps == t
        tells = of_it | problem.positive
        labels = [bool(yes) for yes in (problem.positive & of_it)[tells]]
        points = problem.points[torch.from_numpy(tells)]
        before = self._believed(crop, last, target, t)
        spread = crop.propagation.spread(crop.guide, crop.view.content_size, crop.along, before, points, labels)
        # Around all that was combine, of whichever class, the network's own map is shown.
        return spread if tells.all() else replace(spread, own=around(problem.points, crop.guide))

    def _believed(self, crop: Crop, last: Step, target: int | None, t: int) -> Tensor:
        """Log-odds (1, 1, h', w') of a target in a crop, as they are before the newest interaction."""
        if t or (not last.interactions and crop is self.first_crop):  # only now it is known which class is meant
            plain = (
                self.initial_logits if crop is self.first_crop or not crop.propagation.colour else crop.suffix.plain()
            )
            return self.net.network.log_odds(plain, target, crop.image)
        if crop is last.crop:
            return last.result.logits
        if not last.interactions:  # the prediction before was made elsewhere
            plain = crop.suffix.plain() if crop.propagation.colour else self.initial_logits
            return self.net.network.log_odds(plain, target, crop.image)
        window = crop.window
        if window.height * window.width <= LARGE:
            return crop.view.to_network(last.result.layer.read(window)[None].clamp(-BELIEVED, BELIEVED))
        return self._looked_up(crop, last.result.layer)

    def _looked_up(self, crop: Crop, layer: Layer) -> Tensor:
        """A layer in a large window, read where the centres of the network's pixels lie."""
        high, wide = crop.view.network_size
        centres = torch.stack(torch.meshgrid(torch.arange(wide), torch.arange(high), indexing="xy"), -1).view(-1, 2)
        places = crop.view.points_to_photo(centres.double()).round().long().numpy()
        odds = layer.at(places + np.array([crop.window.left, crop.window.top]))
        return odds.clamp(-BELIEVED, BELIEVED).view(1, 1, high, wide)

    def _found(self, result: Result) -> float:
        """The share of a region that is the object."""
        region = result.constraints.region
        assert region is not None
        box = bounds(region)
        spans = (box.left, box.width), (box.top, box.height)
        xs, ys = (np.unique(np.linspace(first, first + length - 1, 32).round()) for first, length in spans)
        places = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.int64)
        places = places[points_inside(region, places)]
        return float(result.shown.at(places).gt(0).float().mean()) if len(places) else 1.0

    def step_from(self, steps: Steps, problem: Problem, refinement: brs.Refinement, target: int | None) -> Step:
        """The step that a refinement of a problem leads to."""
        last, told, crop = steps[-1] if steps else self.initial_step(target), problem.constraints, problem.crop
        odds = problem.propagated(refinement.logits)
        given = merged_mask(last, told, crop, odds, self.photo_window)
        last.result.forgotten()
        return next_step(
            last, told, crop, refinement.values, odds, problem.targets, self.photo_window, given,
            evaluations=refinement.evaluations, status=refinement.status, seconds=time.perf_counter() - problem.started,
        )  # fmt: skip


def classes_at(crop: Crop, plain: Tensor, places: Pixels) -> list[int]:
    """The classes that the network's own logits (1, K, h, w) of a crop have at photo pixels, (n, 2)."""
    corner = np.array([crop.window.left, crop.window.top])
    points = crop.view.points_to_network((places - corner).astype(float))
    # From the image's pixels to the map's, whose centres lie at whole numbers too.
    high, wide = plain.shape[-2:]
    scale = torch.tensor([wide / crop.image.shape[-1], high / crop.image.shape[-2]])
    on_grid = ((points + 0.5) * scale.to(points) - 0.5).clamp(min=0)
    on_grid = torch.minimum(on_grid, torch.tensor([wide - 1, high - 1]).to(on_grid))
    found: list[int] = sample(plain, on_grid)[0].argmax(0).tolist()
    return found
