"""One photo opened under a network of values: from interactions to the next step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import Tensor

from interactify import brs
from interactify.inspection.outputs import resized
from interactify.network.variables import starts_anew
from interactify.optim.status import Status
from interactify.pictures.picture import Picture
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import whole
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.cache import Kept, in_use
from interactify.runtime.pass_cache import PassCache
from interactify.runtime.suffix import Suffix
from interactify.values.goals import Alignment, Goals, ValueEnergy, aligned, combined
from interactify.values.interactions import ValueInteraction
from interactify.values.result import ShownMap, ValueResult

Group = tuple[ValueInteraction, ...]
Stop = Callable[[], str | None]

_PARTS_OF_RANGE = 50  # the default tolerance is a fiftieth of the range of the network's own map


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a step ends with: the variables, and the map (1, 1, h', w') in the network's units."""

    variables: Tensor
    network_map: Tensor

    @property
    def nbytes(self) -> int:
        return self.variables.nbytes + self.network_map.nbytes


@dataclass(frozen=True, eq=False)
class ValueStep:
    """The state after some groups of interactions. Its numbers may be dropped, and are then computed again.

    Attributes:
        before: the step before; None for the network's own map.
        groups: the interactions of each step so far; the last group is its own.
        evaluations, status, seconds: of its refinement.
        fixed: its numbers, where computing them again might give others, as after a time limit.
    """

    before: ValueStep | None
    groups: tuple[Group, ...]
    evaluations: int
    status: str
    seconds: float
    fixed: Numbers | None = None
    kept: Kept[Numbers] = field(default_factory=Kept)

    @property
    def interactions(self) -> Group:
        """All so far."""
        return tuple(chain.from_iterable(self.groups))

    @property
    def repeatable(self) -> bool:
        """Whether computing it again gives the same numbers."""
        return self.status not in (Status.TIME, Status.CANCELLED)


class ValueRefiner:
    """One photo under one network. It holds what stays the same from interaction to interaction."""

    def __init__(self, net: Wrapped, picture: Picture, tolerance: float | None, alignment: str) -> None:
        self.net, self.picture, self.size = net, picture, picture.size
        self.alignment, self.given_tolerance = alignment, tolerance
        network = net.network
        self.view = network.view(self.size)
        image = network.normalised(picture.to_network(whole(self.size), self.view))
        start = net.variables.start(network, image)
        self.suffix = Suffix(net.runtime, net.variables, image, start)
        self.passes = PassCache()
        plain = resized(self.suffix.plain(), self._network_size)
        self._plain = Numbers(start, plain)
        self.first = ValueStep(None, (), 0, Status.PLAIN, 0.0, self._plain)
        least, most = (float(end) for end in plain.aminmax())
        self.range = most - least

    @property
    def _network_size(self) -> tuple[int, int]:
        return self.suffix.image.shape[-2], self.suffix.image.shape[-1]

    def numbers(self, step: ValueStep) -> Numbers:
        """The numbers of a step; where they were dropped, they are computed again from the last ones that are there."""
        dropped: list[ValueStep] = []
        known = step.fixed or step.kept.get()
        while known is None:
            dropped.append(step)
            assert step.before is not None  # the first step's numbers are fixed
            step = step.before
            known = step.fixed or step.kept.get()
        for each in reversed(dropped):
            known = known if each.status == Status.SUPERSEDED else self._refined(each.interactions, known, _never)[0]
            each.kept.put(known, known.nbytes, known.network_map.device)
        return known

    def tolerance(self, alignment: Alignment) -> float:
        """In the user's units: as given, else a fiftieth of the range of the network's own map of this photo."""
        if self.given_tolerance is not None:
            return self.given_tolerance
        return (self.range if self.range > 0 else 1.0) * alignment.scale / _PARTS_OF_RANGE

    def result(self, step: ValueStep) -> ValueResult:
        """The result of a step."""
        goals, shown = combined(step.interactions, self.size), self._shown(step)
        return ValueResult(
            interactions=step.interactions,
            goals=goals,
            tolerance=self.tolerance(shown.alignment),
            evaluations=step.evaluations,
            status=step.status,
            seconds=step.seconds,
            shown=shown,
            before=None if step.before is None else self._shown(step.before),
        )

    def _shown(self, step: ValueStep) -> ShownMap:
        alignment = self._alignment(combined(step.interactions, self.size))
        return ShownMap(self.view, self.numbers(step).network_map, alignment)

    @in_use()
    def refine(self, before: ValueStep, added: Group, stop: Stop) -> ValueStep:
        """The step that answers some more interactions.

        Raises:
            ModelChangedError: the model has changed since the photo was opened.
            NonFiniteError, NotEnoughMemoryError: as `interactify.brs.refine`.
        """
        self.net.check_unchanged()
        started = time.perf_counter()
        groups = (*before.groups, added)
        last = self.numbers(before)
        numbers, evaluations, status = self._refined((*before.interactions, *added), last, stop)
        step = ValueStep(before, groups, evaluations, status, time.perf_counter() - started)
        if not step.repeatable:
            return replace(step, fixed=numbers)
        step.kept.put(numbers, numbers.nbytes, numbers.network_map.device)
        return step

    def _refined(self, interactions: Group, last: Numbers, stop: Stop) -> tuple[Numbers, int, str]:
        """The numbers that answer all interactions, from the last ones; evaluations and status."""
        goals = combined(interactions, self.size)
        alignment = self._alignment(goals)
        energy = ValueEnergy.of(goals, self.tolerance(alignment), alignment)
        if bool(energy.reached(self._read(last.network_map, goals)[:, None], torch.empty(0))):
            return last, 0, Status.DONE
        refinement = brs.refine(
            self._map,
            self._plain.variables if starts_anew(self.net.variables) else last.variables,
            self.view.points_to_network(goals.points.astype(float)),
            torch.ones(len(goals.points), dtype=torch.bool),  # which this energy does not read
            energy=energy,
            inertia=self.net.variables.inertia,
            solver=self.net.solver,
            max_evaluations=self.net.max_evaluations,
            stop=stop,
        )
        if refinement.status == Status.SUPERSEDED:  # these are refined together with the newer ones
            return last, refinement.evaluations, refinement.status
        return Numbers(refinement.values, refinement.logits), refinement.evaluations, refinement.status

    def _map(self, variables: Tensor) -> Tensor:
        """The map (1, 1, h', w') under the variables, differentiable."""
        return resized(self.passes(self.suffix, variables, ()), self._network_size)

    def _alignment(self, goals: Goals) -> Alignment:
        plain = self._read(self._plain.network_map, goals)
        return aligned(self.alignment, goals, plain.double().cpu().numpy())

    def _read(self, network_map: Tensor, goals: Goals) -> Tensor:
        """(n,) a map's values at the goals' points, in the network's units."""
        return sample(network_map, self.view.points_to_network(goals.points.astype(float)))[0, 0]


def _never() -> None:
    return None
