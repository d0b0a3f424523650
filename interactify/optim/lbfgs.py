"""Our own L-BFGS, for one problem or a batch of them: vectors stay on their device, few numbers go to the host.

Every row of a batch descends by itself (`descent.descend`); this file evaluates the points that they yield in rounds. A
round is one evaluation of all unfinished rows, and one transfer to the host.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .best_so_far import BestSoFar
from .descent import descend
from .points import Point, Query, measure
from .rows import Evaluate, apart
from .solution import Evaluation, Objective, RowsObjective, Solution, StopAsked, check_options
from .status import Status


def minimise(
    objective: Objective,
    x0: Tensor,
    *,
    max_evaluations: int = 20,
    memory: int = 20,
    gradient_tolerance: float = 1e-9,
    lower_bound: float | None = None,
    stop: StopAsked | None = None,
) -> Solution:
    """Minimise from x0 (n,), with one host synchronisation per evaluation.

    Args:
        objective: from x to its `Evaluation`; what it raises passes through.
        x0: where to begin, (n,) float32 or float64 on any device; not changed.
        max_evaluations: how often the objective may be called, exactly.
        memory: how many steps the direction is built from.
        gradient_tolerance: it has converged when no component of the gradient is larger.
        lower_bound: a value the objective can't fall below, 0 for a sum of squares; it sets the length of the first
            step (see `descent.first_step`). Without it, the steps are SciPy's to within rounding.
        stop: called before every evaluation but the first; a string ends the minimisation with that status.

    Returns:
        The `Solution`: the point where the objective is done, else the one with the lowest value.

    Raises:
        OptionError: an option out of range, x0 of another kind or empty, a gradient missing or of another shape.
        NonFiniteError: no finite value or gradient at x0. At later points the step is shortened instead.

    >>> import torch
    >>> from interactify.optim import Evaluation
    >>> solution = minimise(lambda x: Evaluation((x**2).sum(), 2 * x, done=False), torch.tensor([3.0, 4.0]))
    >>> round(solution.value, 6), solution.status
    (0.0, 'converged')
    """
    check_options(x0, max_evaluations, memory, gradient_tolerance, lower_bound)

    def evaluate(points: Sequence[Tensor], rows: Sequence[int]) -> list[Evaluation]:
        return [objective(points[0])]

    row = Row(x0, BestSoFar(max_evaluations), memory, gradient_tolerance, lower_bound)
    return solve(evaluate, [row], stop)[0]


def minimise_rows(
    objective: RowsObjective,
    x0: Tensor,
    *,
    max_evaluations: int = 20,
    memory: int = 20,
    gradient_tolerance: float = 1e-9,
    lower_bound: float | None = None,
    stop: StopAsked | None = None,
) -> list[Solution]:
    """Minimise from every row of x0 (B, n) at once, with one host synchronisation per round.

    The rows share nothing but the evaluations: each has its own history, step length and end, and its result is that of
    `minimise` on it alone. A finished row is not evaluated again.

    Args:
        objective: from x (b, n), and which rows of x0 these are in ascending order, to their `RowEvaluations`.
        x0: where to begin, (B, n) float32 or float64 on any device; not changed.
        max_evaluations: how often each row may be evaluated, exactly.
        memory, gradient_tolerance, lower_bound: as for `minimise`, for every row.
        stop: called before every round but the first; a string ends all unfinished rows with that status.

    Returns:
        B solutions, in the order of the rows.

    Raises:
        OptionError: as for `minimise`, and if the objective does not return one evaluation for each row of x.
        NonFiniteError: no finite value or gradient at the start of any row.

    >>> import torch
    >>> from interactify.optim import RowEvaluations
    >>> def objective(x, rows):
    ...     return RowEvaluations((x**2).sum(1), 2 * x, done=[row == 1 for row in rows], payloads=rows)
    >>> [solution.status for solution in minimise_rows(objective, torch.tensor([[3.0, 4.0], [1.0, 2.0]]))]
    ['converged', 'done']
    """
    check_options(x0, max_evaluations, memory, gradient_tolerance, lower_bound, shape=("B", "n"))
    names = range(len(x0)) if len(x0) > 1 else [None]
    rows = [
        Row(start, BestSoFar(max_evaluations, name), memory, gradient_tolerance, lower_bound)
        for start, name in zip(x0, names, strict=True)
    ]
    return solve(apart(objective), rows, stop)


class Row:
    """One problem of a batch: `query` is to be evaluated next; when it is None, there is a `solution`."""

    def __init__(
        self, x0: Tensor, best: BestSoFar, memory: int, gradient_tolerance: float, lower_bound: float | None
    ) -> None:
        self.best = best
        self._descent = descend(x0.detach().clone(), best, memory, gradient_tolerance, lower_bound)
        self.query: Query | None = next(self._descent)
        self.solution: Solution | None = None

    def tell(self, point: Point, payload: object) -> None:
        """Take the point of the query; afterwards there is another query, or a solution."""
        self.query = None
        self.best.offer(point, payload)
        if point.done:
            self.end(Status.DONE)
            return
        try:
            self.query = self._descent.send(point)
        except StopIteration as returned:
            self.end(returned.value)
        else:
            if not self.best.left:
                self.end(Status.BUDGET)

    def end(self, status: str) -> None:
        """End with the best point so far and free all other vectors."""
        self._descent.close()
        self.query, self.solution = None, self.best.solution(status)


def solve(evaluate: Evaluate, rows: Sequence[Row], stop: StopAsked | None) -> list[Solution]:
    """Run rounds until every row has its solution."""
    started = False
    while active := [row for row in range(len(rows)) if rows[row].query is not None]:
        status = stop() if stop is not None and started else None
        if status is None:
            run_round(evaluate, rows, active)
            started = True
        else:
            for row in active:
                rows[row].end(status)
    return [row.solution for row in rows if row.solution is not None]


def run_round(evaluate: Evaluate, rows: Sequence[Row], active: Sequence[int]) -> None:
    """Evaluate the queries of the active rows and pass the points on. On return, only the best payloads are held."""
    queries = [query for row in active if (query := rows[row].query) is not None]
    evaluations = evaluate([query.x for query in queries], active)
    for row, point, evaluation in zip(active, measure(queries, evaluations), evaluations, strict=True):
        rows[row].tell(point, evaluation.payload)
