"""A volume's slices under a network of images: each is a photo, opened when it is needed; few stay open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import RLock
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from interactify.errors import within_memory
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import Mask as InitialMask
from interactify.pictures.value_range import ValueRange
from interactify.refinement.history import Step, Steps
from interactify.refinement.problem import Stop
from interactify.refinement.refiner import Refiner
from interactify.refinement.tiled_refiner import open_refiner
from interactify.refinement.wrapped import Wrapped
from interactify.session.stored_steps import stop_as
from interactify.slices.corrections import Answer, Corrected, Mask, PackedMask
from interactify.slices.planes import Planes

OPEN: Final = 2  # slices that stay open for further interactions, the latest ones


class OpenSlice:
    """One slice as a photo under the network, with the steps that led to each state of it that was asked for."""

    def __init__(self, refiner: Refiner) -> None:
        self.refiner = refiner
        self._known: dict[int, tuple[Corrected, Steps]] = {}  # by the id of a state, which is kept alive

    def keep(self, state: Corrected, steps: Steps) -> None:
        """Remember the steps that led to a state."""
        self._known[id(state)] = state, steps

    def steps_to(self, state: Corrected) -> Steps:
        """The steps that led to a state; refined again, and ended as they did, where they are not known any more.

        Where they lead to another mask, as on another machine, one step begins from the state's own mask instead.
        """
        if id(state) not in self._known:
            steps: Steps = ()
            for answer in state.answers:
                stop = stop_as(answer.status, answer.evaluations)
                steps = (*steps, self.next_step(steps, answer.interactions, state.target, stop))
            if not np.array_equal(steps[-1].result.mask, state.mask.mask):
                own = tuple(each for answer in state.answers for each in answer.interactions)
                begins = InitialMask(state.mask.mask).within(self.refiner.size)
                steps = (self.next_step((), (begins, *own), state.target),)
            self.keep(state, steps)
        return self._known[id(state)][1]

    def next_step(
        self, steps: Steps, added: Sequence[Interaction], target: int | None, stop: Stop = lambda: None
    ) -> Step:
        """The step after `steps` that answers more interactions."""
        before = steps[-1].interactions if steps else ()
        return self.refiner.refine(steps, (*before, *added), target, stop)


class Pulled(NamedTuple):
    """A slice whose network was pulled towards a mask: its log-odds (h, w) then, and its own before; what that cost."""

    log_odds: NDArray[np.float32]
    own: NDArray[np.float32]
    evaluations: int
    status: str


class SliceRefiner:
    """A volume's slices, opened for one network. It holds no more than a few of them, and small masks."""

    def __init__(self, net: Wrapped, planes: Planes, value_range: ValueRange | None) -> None:
        self.net = net
        self.planes = planes
        self.value_range = value_range
        self._open: OrderedDict[int, OpenSlice] = OrderedDict()
        self._own: dict[tuple[int, int | None], PackedMask] = {}
        self._lock = RLock()  # for the network's own masks, which results read in any thread

    def photo(self, index: int) -> Refiner:
        """A slice, newly opened as a photo. Raises PhotoError where it can't be read."""
        return open_refiner(self.net, self.net.picture(self.planes.photo(index), self.value_range), None)

    def own(self, index: int, target: int | None) -> Mask:
        """The network's own mask (h, w) of a slice, as a session on this photo begins with."""
        with self._lock:
            if (index, target) not in self._own:
                self.net.check_unchanged()
                with torch.inference_mode(False), within_memory():
                    self._learn_own(self.photo(index), index, target)
            return self._own[index, target].mask

    def opened(self, index: int) -> OpenSlice:
        """A slice for interactions; the latest ones stay open."""
        if index not in self._open:
            while len(self._open) >= OPEN:
                self._open.popitem(last=False)
            self._open[index] = OpenSlice(self.photo(index))
        self._open.move_to_end(index)
        return self._open[index]

    def answered(
        self,
        index: int,
        before: Corrected | None,
        interactions: tuple[Interaction, ...],
        target: int | None,
        stop: Stop,
    ) -> tuple[Corrected, Step]:
        """The state of a slice after more interactions with it, and the step that led there.

        Args:
            index: of the slice.
            before: its state; None before the first, which corrects the network's own prediction.
            interactions: checked, in the slice's pixels.
            target: the class, for the first answer in a slice.
            stop: ends the refinement early.
        """
        opened = self.opened(index)
        steps = () if before is None else opened.steps_to(before)
        asked = target if before is None else before.target
        step = opened.next_step(steps, interactions, asked, stop)
        result = step.result
        state = Corrected(
            asked,
            (*(before.answers if before else ()), Answer(interactions, result.status, result.evaluations)),
            PackedMask.of(result.mask),
            tuple(each.interaction for each in result.unsatisfied),
        )
        opened.keep(state, (*steps, step))
        return state, step

    def pulled(self, index: int, mask: Mask, target: int | None, stop: Stop) -> Pulled:
        """The network's log-odds of a slice after it was pulled towards a mask (h, w), and before."""
        refiner = self.photo(index)
        step = refiner.refine((), (InitialMask(mask).within(refiner.size),), target, stop)
        with self._lock:
            self._learn_own(refiner, index, target)
        first, result = refiner.initial_step(target).result, step.result
        own, log_odds = (each.layer.read(refiner.photo_window).float().cpu().numpy() for each in (first, result))
        return Pulled(log_odds, own, result.evaluations, result.status)

    def _learn_own(self, refiner: Refiner, index: int, target: int | None) -> None:
        if (index, target) not in self._own:
            self._own[index, target] = PackedMask.of(refiner.initial_step(target).result.mask)
