"""The reference solver: SciPy's L-BFGS-B without bounds; an exception stops it, so that its budget is exact.

Byrd, Lu, Nocedal and Zhu, 'A limited memory algorithm for bound constrained optimization', SIAM J. Sci. Comput. 16
(1995).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

from .best_so_far import BestSoFar
from .points import Query, measure
from .rows import Evaluate, apart
from .solution import Objective, RowsObjective, Solution, StopAsked, check_options
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
    """Minimise from x0 (n,); every vector goes through the host, in float64.

    Arguments, result and errors are those of `lbfgs.minimise`, with BRS's settings m = memory, factr = 0, pgtol =
    gradient_tolerance (Jang and Kim, CVPR 2019, released code). lower_bound is checked but not used: SciPy chooses its
    own first step. A later point that is not finite ends the minimisation as "stalled".

    >>> from interactify.optim import Evaluation
    >>> solution = minimise(lambda x: Evaluation((x**2).sum(), 2 * x, done=False), torch.tensor([3.0, 4.0]))
    >>> round(solution.value, 6), solution.status
    (0.0, 'converged')
    """
    check_options(x0, max_evaluations, memory, gradient_tolerance, lower_bound)
    return _run(objective, x0, BestSoFar(max_evaluations), memory, gradient_tolerance, stop)


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
    """Minimise from every row of x0 (B, n), one after the other: the objective gets one row at a time.

    Arguments, result and errors are those of `lbfgs.minimise_rows`. `stop` is not called before a row's first
    evaluation, which every row needs for a result; once it has returned a status, later rows end after that one.

    >>> from interactify.optim import RowEvaluations
    >>> def objective(x, rows):
    ...     return RowEvaluations((x**2).sum(1), 2 * x, done=[row == 1 for row in rows], payloads=rows)
    >>> [solution.status for solution in minimise_rows(objective, torch.tensor([[3.0, 4.0], [1.0, 2.0]]))]
    ['converged', 'done']
    """
    check_options(x0, max_evaluations, memory, gradient_tolerance, lower_bound, shape=("B", "n"))
    evaluate = apart(objective)
    status: str | None = None

    def stop_once() -> str | None:
        nonlocal status
        if status is None and stop is not None:
            status = stop()
        return status

    solutions = []
    for row, start in enumerate(x0):
        best = BestSoFar(max_evaluations, row if len(x0) > 1 else None)
        solutions.append(_run(_objective_of(evaluate, row), start, best, memory, gradient_tolerance, stop_once))
    return solutions


def _objective_of(evaluate: Evaluate, row: int) -> Objective:
    """One row of a batch's objective."""
    return lambda x: evaluate([x], [row])[0]


class _Stop(Exception):
    """Internal signal, raised through SciPy: the minimisation ends here. Never leaves this file."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def _run(
    objective: Objective,
    x0: Tensor,
    best: BestSoFar,
    memory: int,
    gradient_tolerance: float,
    stop: StopAsked | None,
) -> Solution:
    """SciPy's minimisation, with every evaluation offered to `best`."""

    def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        if not best.left:
            raise _Stop(Status.BUDGET)
        status = stop() if stop is not None and best.evaluations else None
        if status is not None:
            raise _Stop(status)
        query = Query(torch.from_numpy(vector.copy()).to(x0))  # a copy: SciPy reuses its vector
        evaluation = objective(query.x)
        (point,) = measure([query], [evaluation])
        best.offer(point, evaluation.payload)
        if point.done:
            raise _Stop(Status.DONE)
        if not point.finite:  # SciPy would interpolate through it, and the variables would not be finite
            raise _Stop(Status.STALLED)
        return point.value, point.gradient.to("cpu", torch.float64).numpy()

    def count(_: np.ndarray) -> None:
        best.iterations += 1

    start = x0.detach().to("cpu", torch.float64).numpy()
    limit = best.max_evaluations + 1  # never reached: `best` counts exactly, SciPy between iterations only
    try:
        _, _, outcome = fmin_l_bfgs_b(
            value_and_gradient, start, m=memory, factr=0.0, pgtol=gradient_tolerance,
            maxfun=limit, maxiter=limit, callback=count,
        )  # fmt: skip
    except _Stop as signal:
        return best.solution(signal.status)
    converged = float(np.abs(outcome["grad"]).max()) <= gradient_tolerance
    return best.solution(Status.CONVERGED if converged else Status.STALLED)
