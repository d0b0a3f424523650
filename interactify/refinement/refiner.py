"""A photo under a network: from what was said until now, and what is said next, to the next step."""

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
from interactify.interactions.constraints import OWN, Said, said
from interactify.interactions.rasterise import bounds, held
from interactify.pictures.picture import Picture
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Places, Window, whole
from interactify.propagation.propagation import Spread, around
from interactify.refinement.history import Step, Steps
from interactify.refinement.layers import Layer, Seen
from interactify.refinement.next_step import composed, standing
from interactify.refinement.problem import Frame, Request, maps_of, refined, seen_in
from interactify.refinement.result import LARGE, Result
from interactify.refinement.wrapped import Wrapped
from interactify.refinement.zoom import MAGNIFIED, next_window
from interactify.runtime.pass_cache import LastPass
from interactify.runtime.suffix import Suffix

FOUND: Final = 0.05  # of a region's pixels: with less, the network has found nothing there, and is told the middle
SURROUNDINGS: Final = 0.25  # of a region's sides, at each side: what the network sees around it
BELIEVED: Final = 10.0  # log-odds of a mask before, at most, where colours are learnt from it


class Scene:
    """One photo, opened for one network. It holds what does not change while a person speaks about the photo."""

    def __init__(self, net: Wrapped, picture: Picture) -> None:
        self.net = net
        self.picture = picture
        self.size = self.picture.size
        self.photo = whole(self.size)  # the window that is all of it
        self.run = LastPass()
        self._begun: dict[int | None, Step] = {}
        self._beginning = threading.Lock()
        self.home = self._framed(self._first_window())
        self.plain = self.home.suffix.plain()

    @property
    def tile(self) -> int | bool:
        """The side of its tiles; False where it is seen whole."""
        return False

    def _first_window(self) -> Window:
        """What the network looks at first."""
        return self.photo

    @property
    def classes(self) -> int:
        """How many the network tells apart."""
        return self.plain.shape[1]

    def begun(self, target: int | None) -> Step:
        """Before anything was said of an object of that class: the network's own prediction."""
        with self._beginning:
            if target not in self._begun:
                own = self.meant(target, said((), self.size))
                odds = self.net.network.log_odds(self.plain, own, self.home.image)
                layer = self._first_layer(odds, own)
                result = Result(odds, self.home.view, self.home.window, layer, layer, self.size)
                self._begun[target] = Step((), self.home, self.home.start, result, odds, (own,))
            return self._begun[target]

    def _first_layer(self, odds: Tensor, target: int | None) -> Layer:
        """The network's own prediction, all over the photo."""
        return Seen(odds, self.home.view, self.home.window)

    def first_seen(self) -> Iterator[tuple[Window, Frame, Tensor]]:
        """All of the photo, in parts: each, the frame that it is seen in, and the logits (1, K, h, w) there."""
        yield self.photo, self.home, self.plain

    def frame(self, window: Window) -> Frame:
        """The photo's window as the network sees it; the first one's is kept."""
        return self.home if window == self.home.window else self._framed(window)

    def _framed(self, window: Window) -> Frame:
        network = self.net.network
        view = network.view((window.height, window.width))
        image = network.normalised(self.picture.seen(window, view))
        start = self.net.variables.start(network, image)
        suffix = Suffix(self.net.runtime, self.net.variables, image, start)
        return Frame(window, view, image, start, suffix, self.net.propagation)

    def told(self, interactions: tuple[Interaction, ...], own: int | None, in_centre: bool = False) -> Said:
        """What interactions say together of an object of the class `own`; None where it is not known yet."""
        exclusive = self.net.spec.output.activation != "sigmoid"
        return said(interactions, self.size, in_centre, own=own, exclusive=exclusive)

    def meant(self, target: int | None, told: Said) -> int | None:
        """What a positive click means: the class asked for, or that under the first pixel (of two, the second).

        Of a mask it is the class that most of it has.
        """
        if target is not None:
            return target
        if self.classes <= 2:
            return self.classes - 1
        if not len(told.places):
            return None
        first = int(np.flatnonzero(told.positive)[0]) if told.positive.any() and told.region is not None else 0
        if told.labels[first] != OWN:
            return int(told.labels[first])
        pulling = told.positive & ~told.required
        asked = told.places[pulling] if not told.required[first] and pulling.any() else told.places[first : first + 1]
        return int(np.bincount(self._classes_at(asked)).argmax())

    def _classes_at(self, places: Places) -> list[int]:
        """The classes that the network sees at pixels, (n, 2)."""
        return classes_at(self.home, self.plain, places)

    def answered(
        self,
        steps: Steps,
        interactions: tuple[Interaction, ...],
        target: int | None,
        stop: Callable[[], str | None],
        seen: Callable[[Request, Tensor], None] | None = None,
    ) -> Step:
        """The step that follows `steps` when `interactions`, the newest last, is all that has been said."""
        request = self.request(steps, interactions, target)
        step = self._answered(steps, request, target, stop, seen)
        told = step.result.said
        if told.found_by_region and self._found(step.result) < FOUND and step.result.status != "superseded":
            again = self.request(steps, interactions, target, in_centre=True)
            more = self._answered(steps, again, target, stop, seen)
            spent = more.result.evaluations + step.result.evaluations
            if more.result.status == "superseded":  # then it is what it is where it was so at once
                more = self._answered(steps, request, target, lambda: "superseded", None)
            return replace(more, result=replace(more.result, evaluations=spent))
        return step

    def _answered(
        self,
        steps: Steps,
        request: Request,
        target: int | None,
        stop: Callable[[], str | None],
        seen: Callable[[Request, Tensor], None] | None,
    ) -> Step:
        last = steps[-1] if steps else self.begun(target)
        if not len(request.inside) or not self._asked(request, last):
            seconds = time.perf_counter() - request.begun
            return composed(
                last, request.said, last.frame, last.values, last.odds, last.targets, self.photo, last.given,
                evaluations=0, status="painted", seconds=seconds,
            )  # fmt: skip
        first: list[Tensor] = []

        def told(odds: Tensor) -> None:
            if not first:
                first.append(odds)
            if seen is not None:
                seen(request, odds)

        refinement = refined(self.net, request, self.run, stop, told)
        if refinement.status == "superseded":  # so that what holds does not hang on when that was
            refinement = replace(refinement, values=request.start, logits=first[0])
        return self.settled(steps, request, refinement, target)

    def _asked(self, request: Request, last: Step) -> bool:
        """Whether anything is said that the network is asked about, and not the mask alone."""
        new = request.said.owners >= len(last.interactions)
        return bool(new.any()) or not request.said.same_labels(last.result.said)

    def request(
        self, steps: Steps, interactions: tuple[Interaction, ...], target: int | None, in_centre: bool = False
    ) -> Request:
        """What is to be refined so that all these interactions hold."""
        begun = time.perf_counter()
        last = steps[-1] if steps else self.begun(target)
        several = target is None and self.classes > 2  # a region alone does not say which class is meant
        told = self.told(interactions, None, in_centre)
        if several and told.found_by_region:
            told = self.told(interactions, None, in_centre=True)
        # Which class is meant is said once: it stays so where that is overruled later.
        own = last.targets[0] if last.interactions and last.targets[0] is not None else self.meant(target, told)
        told = self.told(interactions, own, told.in_centre)
        window = self._window(steps, last, told)
        frame = last.frame if window == last.frame.window else self.frame(window)
        # Back in an earlier window, go on from where it was left; in a new one, from the identity.
        values = next((s.values for s in reversed(steps) if s.frame.window == window), frame.start)
        inside_, points = seen_in(frame, told)
        targets = (own, *sorted(set(told.labels[inside_].tolist()) - {OWN, own}))
        maps = maps_of(told, inside_, targets)
        request = Request(told, frame, inside_, values, points, maps, targets, (Spread(),) * len(targets), begun)
        if not frame.propagation.active or not len(inside_):
            return request
        return replace(request, spreads=tuple(self._spread(request, last, t) for t in range(len(targets))))

    def _window(self, steps: Steps, last: Step, told: Said) -> Window:
        """Where the network looks: as it did, or closer."""
        current = last.frame.window
        new = told.owners >= len(last.interactions)
        if not self.net.zoom or not new.any() or (told.mask is not None and not steps):
            return current
        resolution = self.net.spec.resolution
        if told.region is not None:
            around, least = bounds(told.region), max(1, (resolution or 1) // MAGNIFIED)
            part = around.grown(SURROUNDINGS, self.size, least)
            if not part.holds_places(told.places[new & (told.labels != OWN)]).all():  # of other classes, outside
                return self.photo
            serves = current.common(part) == part and current.overlap(part) >= 0.5
            return current if serves else part
        return self._closer(steps, last, told, new)

    def _closer(self, steps: Steps, last: Step, told: Said, new: NDArray[np.bool_]) -> Window:
        """Where the network looks for what is `new` of the places: around them and the object."""
        current = last.frame.window
        if not steps or len(told.holding) < 2:  # what is said at the beginning is answered where all of it is seen
            return current
        own = told.required & told.positive & (told.labels == OWN) | new
        resolution = self.net.spec.resolution
        return next_window(current, last.result.extent, told.places[own], told.places[new], self.size, resolution)

    def _spread(self, request: Request, last: Step, t: int) -> Spread:
        """How the map of one target follows the picture."""
        frame, target = request.frame, request.targets[t]
        # What is said of another class says what this one is not; that a pixel is not of another class says nothing.
        of_it = request.maps == t
        tells = of_it | request.positive
        labels = [bool(yes) for yes in (request.positive & of_it)[tells]]
        points = request.points[torch.from_numpy(tells)]
        before = self._believed(frame, last, target, t)
        spread = frame.propagation.spread(frame.guide, frame.view.content_size, frame.along, before, points, labels)
        # Around all that was said, of whichever class, the network's own map is shown.
        return spread if tells.all() else replace(spread, own=around(request.points, frame.guide))

    def _believed(self, frame: Frame, last: Step, target: int | None, t: int) -> Tensor:
        """Log-odds (1, 1, h', w') of a target in a frame, as they are before the newest interaction."""
        if t or (not last.interactions and frame is self.home):  # only now it is known which class is meant
            plain = self.plain if frame is self.home or not frame.propagation.colour else frame.suffix.plain()
            return self.net.network.log_odds(plain, target, frame.image)
        if frame is last.frame:
            return last.result.logits
        if not last.interactions:  # the prediction before was made elsewhere
            plain = frame.suffix.plain() if frame.propagation.colour else self.plain
            return self.net.network.log_odds(plain, target, frame.image)
        window = frame.window
        if window.height * window.width <= LARGE:
            return frame.view.to_network(last.result.layer.read(window)[None].clamp(-BELIEVED, BELIEVED))
        return self._looked_up(frame, last.result.layer)

    def _looked_up(self, frame: Frame, layer: Layer) -> Tensor:
        """A layer in a large window, read where the centres of the network's pixels lie."""
        high, wide = frame.view.network_size
        centres = torch.stack(torch.meshgrid(torch.arange(wide), torch.arange(high), indexing="xy"), -1).view(-1, 2)
        places = frame.view.points_to_photo(centres.double()).round().long().numpy()
        odds = layer.at(places + np.array([frame.window.left, frame.window.top]))
        return odds.clamp(-BELIEVED, BELIEVED).view(1, 1, high, wide)

    def _found(self, result: Result) -> float:
        """The share of a region that is the object."""
        region = result.said.region
        assert region is not None
        box = bounds(region)
        spans = (box.left, box.width), (box.top, box.height)
        xs, ys = (np.unique(np.linspace(first, first + length - 1, 32).round()) for first, length in spans)
        places = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.int64)
        places = places[held(region, places)]
        return float(result.shown.at(places).gt(0).float().mean()) if len(places) else 1.0

    def settled(self, steps: Steps, request: Request, refinement: brs.Refinement, target: int | None) -> Step:
        """The step that a refinement of a request leads to."""
        last, told, frame = steps[-1] if steps else self.begun(target), request.said, request.frame
        odds = request.shown(refinement.logits)
        given = standing(last, told, frame, odds, self.photo)
        last.result.forgotten()
        return composed(
            last, told, frame, refinement.values, odds, request.targets, self.photo, given,
            evaluations=refinement.evaluations, status=refinement.status, seconds=time.perf_counter() - request.begun,
        )  # fmt: skip


def classes_at(frame: Frame, plain: Tensor, places: Places) -> list[int]:
    """The classes that the network's own logits (1, K, h, w) of a frame have at photo pixels, (n, 2)."""
    corner = np.array([frame.window.left, frame.window.top])
    points = frame.view.points_to_network((places - corner).astype(float))
    # From the image's pixels to the map's, whose centres lie at whole numbers too.
    high, wide = plain.shape[-2:]
    scale = torch.tensor([wide / frame.image.shape[-1], high / frame.image.shape[-2]])
    on_grid = ((points + 0.5) * scale.to(points) - 0.5).clamp(min=0)
    on_grid = torch.minimum(on_grid, torch.tensor([wide - 1, high - 1]).to(on_grid))
    found: list[int] = sample(plain, on_grid)[0].argmax(0).tolist()
    return found
