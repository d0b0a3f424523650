"""Counts the evaluations of one row, and holds the best of them with its payload."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import NonFiniteError
from .points import Point
from .solution import Solution
from .status import Status


@dataclass
class BestSoFar:
    """The best point of a row. Only its payload is held.

    The best point has the lowest finite value, unless the objective is done at some point: then that one is the best.
    row: the index of the row in a batch, for error messages; None if it is the only one.
    """

    max_evaluations: int
    row: int | None = None
    evaluations: int = 0
    iterations: int = 0
    done: bool = False
    value: float = math.inf
    x: Tensor | None = None
    payload: object = None

    @property
    def left(self) -> int:
        """How many evaluations remain."""
        return self.max_evaluations - self.evaluations

    def offer(self, point: Point, payload: object) -> None:
        """Count an evaluation and hold it if it is the best. Raises NonFiniteError if the first is not finite."""
        self.evaluations += 1
        if point.done or (point.finite and point.value < self.value):
            self.x, self.value, self.payload, self.done = point.x, point.value, payload, point.done
        elif self.x is None:
            where = "the start" if self.row is None else f"the start of row {self.row}"
            raise NonFiniteError(
                f"Expected a finite energy and gradient at {where}, got value {point.value}, largest gradient "
                f"component {point.steepest}. Try checking the network's output for these variables, or float32 "
                "instead of half precision."
            )

    def solution(self, status: str) -> Solution:
        """The best point as a Solution, after at least one `offer`."""
        assert self.x is not None
        return Solution(
            self.x, self.value, self.payload, self.done, self.evaluations, self.iterations, Status.of(status)
        )
