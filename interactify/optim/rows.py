"""Splits a batch into its rows: each row's gradient is independent of the rows evaluated with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import OptionError
from .solution import Evaluation, RowEvaluations, RowsObjective

Evaluate = Callable[[Sequence[Tensor], Sequence[int]], list[Evaluation]]
"""From points (n,) and the indices of their rows to their Evaluations."""


def apart(objective: RowsObjective) -> Evaluate:
    """The objective of a batch as a function from points (n,) to an `Evaluation` for each; its shapes are checked.

    Every gradient gets its own memory: a view would keep the whole batch alive, and the last bits of a dot product
    depend on the memory address of its vectors, which must be as when the row is solved alone.

    >>> double = apart(lambda x, rows: RowEvaluations(2 * x.sum(1), 2 * torch.ones_like(x), [False] * len(x), rows))
    >>> [(float(row.value), row.payload) for row in double([torch.ones(3), torch.zeros(3)], [4, 7])]
    [(6.0, 4), (0.0, 7)]
    """

    def evaluate(points: Sequence[Tensor], rows: Sequence[int]) -> list[Evaluation]:
        alone = len(points) == 1
        x = points[0].unsqueeze(0) if alone else torch.stack(list(points))
        batch = objective(x, rows)
        _check(batch, x)
        gradient = batch.gradient
        return [
            Evaluation(
                batch.value[i],
                None if batch.done[i] or gradient is None else gradient[i] if alone else gradient[i].clone(),
                batch.done[i],
                batch.payloads[i],
            )
            for i in range(len(points))
        ]

    return evaluate


def _check(batch: RowEvaluations, x: Tensor) -> None:
    """Raise OptionError if the objective did not return one evaluation for each point."""
    count = len(x)
    came = {
        f"value of shape ({count},)": (tuple(batch.value.shape), (count,)),
        f"{count} booleans done": (len(batch.done), count),
        f"{count} payloads": (len(batch.payloads), count),
    }
    if batch.gradient is not None:
        came[f"gradient of shape {tuple(x.shape)}"] = (tuple(batch.gradient.shape), tuple(x.shape))
    for name, (got, expected) in came.items():
        if got != expected:
            raise OptionError(
                f"Expected the objective to give {name} for x of shape {tuple(x.shape)}, got {got}. "
                "Try evaluating exactly the given rows."
            )
