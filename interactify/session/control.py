"""Running changes of a session: whose turn it is, whether it has to end early, and its latest evaluation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from interactify import brs
from interactify.errors import within_memory
from interactify.optim.status import Status
from interactify.refinement.choices import Choice
from interactify.refinement.history import Group, Steps
from interactify.refinement.problem import Problem, Stop
from interactify.refinement.refiner import Refiner
from interactify.refinement.result import Result


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of a running refinement: its problem, and the network's log-odds (1, T, h', w') of the targets.

    `steps` are those that the refinement continues, `target` is the class of their object.
    """

    steps: Steps
    target: int | None
    problem: Problem
    log_odds: Tensor

    def result(self, refiner: Refiner) -> Result:
        """The result if the refinement ended with it."""
        refinement = brs.Refinement(self.problem.start, self.log_odds, float("nan"), False, 0, Status.PREVIEW)
        with torch.inference_mode(False), torch.no_grad():
            return refiner.step_from(self.steps, self.problem, refinement, self.target).result


class Control:
    """Runs a session's changes one after the other. All methods may be called from any thread.

    `latest` is the latest evaluation of the running refinement; None where none is running.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.latest: Evaluation | None = None
        self._cancelled = threading.Event()
        self._superseding: Callable[[], bool] | None = None

    @contextmanager
    def turn(self, supersede: bool = False) -> Iterator[None]:
        """Wait until earlier changes are made, and make one; with `supersede` a running refinement ends early."""
        with self.turns.acquire(urgent=supersede):
            try:
                yield
            finally:
                self.latest = None

    def stop_condition(self, max_seconds: float | None) -> Stop:
        """The function that a new refinement calls between evaluations: it returns why to end, or None.

        Reasons are SUPERSEDED, CANCELLED and TIME. Earlier calls of `cancel` don't count.
        """
        self._cancelled.clear()
        superseded, stop = self._superseding or (lambda: False), brs.stopping(max_seconds, self._cancelled.is_set)
        return lambda: Status.SUPERSEDED if superseded() or self.turns.should_yield else stop()

    @contextmanager
    def superseding(self, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Refinements inside the block end as SUPERSEDED once `when` is true, which is asked before each evaluation.

        To replay interactions that were superseded; and for those who queue changes themselves.
        """
        self._superseding = when
        try:
            yield
        finally:
            self._superseding = None

    def refined(
        self, refiner: Refiner, steps: Steps, groups: Sequence[tuple[Group, Choice]], target: int | None
    ) -> Steps:
        """Steps of an object, and one more for each group of interactions, with the alternative that was chosen."""
        interactions = steps[-1].interactions if steps else ()
        stop = self.stop_condition(refiner.net.max_seconds)
        with torch.inference_mode(False), within_memory():
            for group, choice in groups:
                interactions = (*interactions, *group)
                step = refiner.refine(steps, interactions, target, stop, self.observer(steps, target))
                steps = (*steps, step.chosen(choice))
        return steps

    def cancel(self) -> None:
        """End the running refinement after its current evaluation."""
        self._cancelled.set()

    def observer(self, steps: Steps, target: int | None) -> Callable[[Problem, Tensor], None]:
        """The function that a refinement which continues `steps` calls with each evaluation, for `latest`."""

        def observe(problem: Problem, log_odds: Tensor) -> None:
            self.latest = Evaluation(steps, target, problem, log_odds)

        return observe


@dataclass(frozen=True, eq=False)
class _Ticket:
    urgent: bool


class Turns:
    """A lock that is given in the order of arrival, and whose holder sees when it should yield.

    >>> turns = Turns()
    >>> with turns.acquire():
    ...     turns.should_yield
    False
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[_Ticket] = deque()  # the first one holds the lock

    @property
    def should_yield(self) -> bool:
        """Whether the next in the queue is urgent."""
        with self._changed:
            return len(self._queue) > 1 and self._queue[1].urgent

    @contextmanager
    def acquire(self, urgent: bool = False) -> Iterator[None]:
        """Wait for the lock and hold it; while an `urgent` caller is next in the queue, the holder should yield.

        Where the wait is interrupted, the caller leaves the queue.
        """
        ticket = _Ticket(urgent)
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._queue[0] is ticket)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
