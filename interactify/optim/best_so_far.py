"""The watch every solver keeps on its objective: count evaluations, keep the best point, say when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import NonFiniteError, OptionError
from .solution import Objective, Solution


class Stop(Exception):
    """A signal through a solver, however deep it calls the objective: nothing is left to evaluate. Never leaves it."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Point:
    """An evaluated point without its payload; the scalars are on the host already."""

    x: Tensor
    gradient: Tensor
    value: float
    steepest: float  # the largest gradient component, by magnitude
    square: float  # |gradient|²
    slope: float  # gradient · along, 0 where no direction was given
    resolution: float  # the relative spacing of numbers in the value's and gradient's dtype

    @property
    def finite(self) -> bool:
        """Whether the value and every component of the gradient are numbers."""
        return math.isfinite(self.value) and math.isfinite(self.steepest)


class BestSoFar:
    """The objective, watched: the payload of the best point is held, and of no other.

    Calling it evaluates the objective once. Raises Stop("done") where the objective is done, after making that point
    the best whatever its value, Stop("budget") instead of an evaluation too many, and NonFiniteError where already
    the first point has no finite value and gradient. What the objective raises passes through.
    """

    def __init__(self, objective: Objective, max_evaluations: int) -> None:
        self.objective = objective
        self.max_evaluations = max_evaluations
        self.evaluations = 0
        self._x: Tensor | None = None
        self._value = math.inf
        self._payload: object = None
        self._done = False

    def __call__(self, x: Tensor, along: Tensor | None = None) -> Point:
        """Evaluate at x (n,), with the slope along a direction (n,): one host synchronisation."""
        if self.evaluations >= self.max_evaluations:
            raise Stop("budget")
        evaluation = self.objective(x)
        self.evaluations += 1
        value = evaluation.value.detach()
        if evaluation.done:
            self._x, self._value, self._payload, self._done = x, float(value), evaluation.payload, True
            raise Stop("done")
        if evaluation.gradient is None or evaluation.gradient.shape != x.shape:
            came = "none" if evaluation.gradient is None else f"shape {tuple(evaluation.gradient.shape)}"
            raise OptionError(
                f"Expected the objective to give a gradient of shape {tuple(x.shape)} unless it is done, got {came}."
            )
        gradient = evaluation.gradient.detach()
        scalars = [value, torch.linalg.vector_norm(gradient, ord=torch.inf), gradient.dot(gradient)]
        if along is not None:
            scalars.append(gradient.dot(along))
        dtype = torch.promote_types(value.dtype, gradient.dtype)
        number, steepest, square, *slope = torch.stack([scalar.to(dtype) for scalar in scalars]).tolist()
        resolution = max(torch.finfo(value.dtype).eps, torch.finfo(gradient.dtype).eps)
        point = Point(x, gradient, number, steepest, square, slope[0] if slope else 0.0, resolution)
        if point.finite and point.value < self._value:
            self._x, self._value, self._payload = x, point.value, evaluation.payload
        elif self._x is None:
            raise NonFiniteError(
                f"Expected a finite energy and gradient at the start, got value {number}, largest gradient component "
                f"{steepest}. Check the network's output for these variables, or try float32 instead of half precision."
            )
        return point

    def solution(self, status: str, iterations: int) -> Solution:
        """The best point as a Solution; at least one evaluation must have been made."""
        assert self._x is not None
        return Solution(self._x, self._value, self._payload, self._done, self.evaluations, iterations, status)
