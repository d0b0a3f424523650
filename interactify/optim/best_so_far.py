"""What is kept of one row's evaluations: how many there were, and the best of them with its payload."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import NonFiniteError
from .points import Point
from .solution import Solution


@dataclass
class BestSoFar:
    """The best point of a row: its payload is held, and no other.

    The lowest finite value is the best, until the objective is done at some point: that one is the best whatever its
    value. row: which row of a batch this is, for error messages; None where it is the only one.
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
        """How many evaluations the row may still have."""
        return self.max_evaluations - self.evaluations

    def offer(self, point: Point, payload: object) -> None:
        """Count an evaluation and keep it if it is the best. Raises NonFiniteError where the first is not finite."""
        self.evaluations += 1
        if point.done or (point.finite and point.value < self.value):
            self.x, self.value, self.payload, self.done = point.x, point.value, payload, point.done
        elif self.x is None:
            where = "the start" if self.row is None else f"the start of row {self.row}"
            raise NonFiniteError(
                f"Expected a finite energy and gradient at {where}, got value {point.value}, largest gradient "
                f"component {point.steepest}. Check the network's output for these variables, or try float32 instead "
                "of half precision."
            )

    def solution(self, status: str) -> Solution:
        """The best point as a Solution; at least one evaluation must have been offered."""
        assert self.x is not None
        return Solution(self.x, self.value, self.payload, self.done, self.evaluations, self.iterations, status)
