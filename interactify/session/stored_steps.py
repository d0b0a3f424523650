"""Steps from a session's file. Of most steps the file has no numbers: they are refined again when they are needed.

A step is refined again from the one before it, as it was at first: the same interactions, from the same values, with
the same reason to end. So it gets the same numbers, to the last bit on the machine and the versions that made the file.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import within_memory
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import Box, Lasso
from interactify.optim.status import Status
from interactify.pictures.window import Window
from interactify.refinement.choices import USUAL, Choice
from interactify.refinement.history import InitialMap, Step, Steps
from interactify.refinement.layers import Layer, NetworkLayer
from interactify.refinement.next_step import network_layer, next_step
from interactify.refinement.problem import Crop, Stop
from interactify.refinement.refiner import Refiner
from interactify.refinement.result import Result
from interactify.runtime.pass_cache import PassCache

BY_ITSELF: Final = (
    Status.DONE,
    Status.HELD,
    Status.CONVERGED,
    Status.BUDGET,
    Status.STALLED,
    Status.PAINTED,
    Status.SUPERSEDED,
)


@dataclass(frozen=True, eq=False)
class Record:
    """What a file has of a step: its numbers too, or only what they are computed from.

    `values` and `log_odds` are None where they are computed again. `initial_map` and `class_probabilities` belong to
    the log-odds.
    """

    interactions: tuple[Interaction, ...]
    targets: tuple[int | None, ...]
    window: Window
    assume_centre: bool
    evaluations: int
    status: str
    seconds: float
    steadiness: float = 0.0
    choice: Choice = USUAL
    values: Tensor | None = None
    log_odds: Tensor | None = None
    initial_map: InitialMap | None = None
    class_probabilities: NDArray[np.float64] | None = None


class Source:
    """What the steps of one file share: their photo and network, the crops of their windows, and whose turn it is."""

    def __init__(self, refiner: Refiner) -> None:
        self.refiner = refiner
        self.repeating = copy.copy(refiner)
        self.repeating.passes = PassCache()  # another thread may be refining
        self.turn = threading.RLock()
        self._crops: dict[Window, Crop] = {}

    def crop(self, window: Window) -> Crop:
        """The crop of a window, the same one for all steps."""
        with self.turn:
            if window not in self._crops:
                self._crops[window] = self.refiner.crop(window)
            return self._crops[window]


class StoredStep(Step):
    """A step of a file, whose numbers are read from it or computed when they are first needed."""

    interactions: tuple[Interaction, ...]
    targets: tuple[int | None, ...]
    _again: Step | None
    _result: Result | None

    def __init__(self, source: Source, target: int | None, before: Steps, record: Record) -> None:
        own = {"interactions": record.interactions, "targets": record.targets, "_again": None, "_result": None}
        self.__dict__.update(own, _source=source, _target=target, _before=before, _record=record)

    @property
    def window(self) -> Window:
        return self._own.window

    @property
    def status(self) -> str:
        return self._own.status

    @property
    def seconds(self) -> float:
        return self._own.seconds

    @property
    def evaluations(self) -> int:
        return self._own.evaluations

    @property
    def steadiness(self) -> float:
        return self._own.steadiness

    @property
    def assume_centre(self) -> bool:
        return self._own.assume_centre

    @property
    def choice(self) -> Choice:
        return self._own.choice

    @property
    def crop(self) -> Crop:
        return self._shared.crop(self.window)

    @property
    def values(self) -> Tensor:
        stored = self._own.values
        return self._computed().values if stored is None else stored

    @property
    def log_odds(self) -> Tensor:
        stored = self._own.log_odds
        return self._computed().log_odds if stored is None else stored

    @property
    def initial_map(self) -> InitialMap | None:
        return self._computed().initial_map if self._own.log_odds is None else self._own.initial_map

    @property
    def result(self) -> Result:
        with self._shared.turn:
            if self._result is None:
                found = self._computed().result if self._own.log_odds is None else self._displayed()
                self.__dict__["_result"] = found
            assert self._result is not None
            return self._result

    @property
    def later_result(self) -> Result | Callable[[], Result]:
        return (lambda: self.result) if self._result is None else self._result

    @property
    def known(self) -> tuple[Tensor | None, Tensor | None]:
        again, own = self._again, self._own
        return (own.values, own.log_odds) if again is None else (again.values, again.log_odds)

    def layer_around(self, window: Window) -> Layer | None:
        outer = [self._opened_from(window)]  # and what lies around it, up to what is known
        while isinstance(outer[-1], StoredStep) and outer[-1]._result is None and outer[-1].window != self._photo:
            outer.append(outer[-1]._opened_from(outer[-1].window))
        for step in reversed(outer):  # the outermost first, since each is made over the next
            layer = step.result.layer if step.window != window else step.layer_around(window)
        return layer

    def _opened_from(self, window: Window) -> Step:
        """The last step up to this one that saw another window; the initial step where there is none."""
        return next((step for step in (self, *reversed(self._earlier)) if step.window != window), self._initial)

    @property
    def _photo(self) -> Window:
        return self._shared.refiner.photo_window

    @property
    def _own(self) -> Record:
        record: Record = self.__dict__["_record"]
        return record

    @property
    def _shared(self) -> Source:
        source: Source = self.__dict__["_source"]
        return source

    @property
    def _earlier(self) -> Steps:
        before: Steps = self.__dict__["_before"]
        return before

    @property
    def _initial(self) -> Step:
        return self._shared.refiner.initial_step(self.__dict__["_target"])

    def _displayed(self) -> Result:
        """The result for the stored log-odds; it does not depend on the values."""
        refiner, own = self._shared.refiner, self._own
        assert own.log_odds is not None
        constraints = refiner.constraints_of(own.interactions, own.targets[0], own.assume_centre)
        last = self._earlier[-1] if self._earlier else self._initial
        kept: dict[str, Any] = {name: getattr(own, name) for name in ("evaluations", "status", "seconds")}
        shown = own.log_odds, own.targets, refiner.photo_window, own.initial_map
        kept |= {"class_probabilities": own.class_probabilities, "layer": self._unchanged_layer(own.log_odds)}
        step = next_step(last, constraints, self.crop, self.crop.start, *shown, **kept)
        return step.result if own.choice == USUAL else replace(step.result, choice=own.choice, chosen_from=self._usual)

    def _unchanged_layer(self, log_odds: Tensor) -> NetworkLayer | None:
        """For a step that did not run the network, its map with these log-odds as it lay when it did; else None."""
        steps = (*self._earlier, self)
        ran = next((k for k in reversed(range(len(steps))) if steps[k].evaluations), None)
        if ran is None or steps[ran] is self:
            return None
        step, last = steps[ran], steps[ran - 1] if ran else self._initial
        constraints = self._shared.refiner.constraints_of(step.interactions, step.targets[0], step.assume_centre)
        return network_layer(last, constraints, self.crop, log_odds, self._photo)

    def _usual(self) -> Result:
        """The result that the stored one was chosen from; the file does not have it."""
        return self._computed().result.alternatives.usual

    def _computed(self) -> Step:
        """This step, refined again after those before it that need it."""
        with self._shared.turn:
            missing: list[StoredStep] = []
            for step in (self, *reversed(self._earlier)):
                if not isinstance(step, StoredStep) or all(each is not None for each in step.known):
                    break
                missing.append(step)
            for step in reversed(missing):
                step.__dict__["_again"] = step._refined_again()
            again = self._again or self._refined_again()
            self.__dict__["_again"] = again
            return again

    def _refined_again(self) -> Step:
        own, refiner = self._own, self._shared.repeating
        with torch.inference_mode(False), within_memory():
            # In the window that it had: another version may have chosen it by other rules.
            again = self._earlier, own.interactions, self.__dict__["_target"], stop_as(own.status, own.evaluations)
            step = refiner.refine(*again, window=own.window)
        kept: dict[str, Any] = {name: getattr(own, name) for name in ("evaluations", "status", "seconds")}
        return replace(step, result=replace(step.result, **kept)).chosen(own.choice)


def is_repeatable(step: Step) -> bool:
    """Whether refining a step again ends as it did: not where it ran out of time in one of two refinements."""
    return step.status in BY_ITSELF or not any(isinstance(each, (Box, Lasso)) for each in step.interactions)


def stop_as(status: str, evaluations: int) -> Stop:
    """Why a refinement that is repeated ends early: as it did at first, after as many evaluations."""
    if status == Status.SUPERSEDED:
        return lambda: Status.SUPERSEDED
    if status in BY_ITSELF:
        return lambda: None
    asked = count(1)  # once before each evaluation but the first
    return lambda: status if next(asked) >= evaluations else None
