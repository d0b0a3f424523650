"""Transfers evaluations from the device to the host: one transfer for all rows of a round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..errors import OptionError
from .solution import Evaluation


@dataclass(frozen=True)
class Query:
    """A point x (n,) to evaluate, and what is needed besides value and gradient.

    along: a direction (n,) in which the slope is needed. products: from the gradient there to inner products (k,) that
    are needed if the point is accepted; computing them at once saves a transfer.
    """

    x: Tensor
    along: Tensor | None = None
    products: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Point:
    """An evaluated point without its payload, with its scalars on the host. If it is done, only the value is set."""

    x: Tensor
    gradient: Tensor
    value: float
    steepest: float = math.nan  # the largest gradient component, by magnitude
    square: float = math.nan  # |gradient|²
    slope: float = 0.0  # gradient · along, 0 where no direction was given
    products: Sequence[float] = ()  # as the query asks
    resolution: float = 0.0  # the relative spacing of numbers in the value's and gradient's dtype
    done: bool = False

    @property
    def finite(self) -> bool:
        """Whether the value and every component of the gradient are numbers."""
        return math.isfinite(self.value) and math.isfinite(self.steepest)


def measure(queries: Sequence[Query], evaluations: Sequence[Evaluation]) -> list[Point]:
    """The points of the queries, with one transfer to the host for all.

    Raises OptionError if a gradient has another shape than its point, or is missing though the point is not done.
    """
    gradients = [_gradient(query, evaluation) for query, evaluation in zip(queries, evaluations, strict=True)]
    wanted = [_numbers(*row) for row in zip(queries, evaluations, gradients, strict=True)]
    dtype = reduce(torch.promote_types, [piece.dtype for row in wanted for piece in row])
    counts = [sum(piece.numel() for piece in row) for row in wanted]
    flat = torch.cat([piece.to(dtype) for row in wanted for piece in row]).tolist()  # the one host synchronisation
    points, first = [], 0
    for query, evaluation, gradient, count in zip(queries, evaluations, gradients, counts, strict=True):
        points.append(_point(query, evaluation, gradient, flat[first : first + count]))
        first += count
    return points


def _gradient(query: Query, evaluation: Evaluation) -> Tensor:
    """The gradient in the dtype of x; empty for a point that is done."""
    if evaluation.done:
        return query.x.new_empty(0)
    gradient = evaluation.gradient
    if gradient is None or gradient.shape != query.x.shape:
        came = "none" if gradient is None else f"shape {tuple(gradient.shape)}"
        raise OptionError(
            f"Expected the objective to give a gradient of shape {tuple(query.x.shape)} unless it is done, got {came}. "
            "Try returning one for each point."
        )
    return gradient.detach().to(query.x.dtype)


def _numbers(query: Query, evaluation: Evaluation, gradient: Tensor) -> list[Tensor]:
    """What the host needs to know about the point, as 1-d tensors."""
    numbers = [evaluation.value.detach().reshape(1)]
    if evaluation.done:
        return numbers
    scalars = [torch.linalg.vector_norm(gradient, ord=torch.inf), gradient.dot(gradient)]
    if query.along is not None:
        scalars.append(gradient.dot(query.along))
    numbers += [scalar.unsqueeze(0) for scalar in scalars]
    if query.products is not None:
        numbers.append(query.products(gradient))
    return numbers


def _point(query: Query, evaluation: Evaluation, gradient: Tensor, numbers: list[float]) -> Point:
    if evaluation.done:
        return Point(query.x, gradient, numbers[0], done=True)
    assert evaluation.gradient is not None
    value, steepest, square, *others = numbers
    slope = others.pop(0) if query.along is not None else 0.0
    resolution = max(torch.finfo(tensor.dtype).eps for tensor in (evaluation.value, evaluation.gradient))
    return Point(query.x, gradient, value, steepest, square, slope, others, resolution)
