"""The reference solver: SciPy's L-BFGS-B without bounds, stopped by exceptions so that its budget is exact.

Byrd, Lu, Nocedal and Zhu, 'A limited memory algorithm for bound constrained optimization', SIAM J. Sci. Comput. 16
(1995).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

from .best_so_far import BestSoFar, Stop
from .solution import Objective, Solution, check_options


def minimise(
    objective: Objective,
    x0: Tensor,
    *,
    max_evaluations: int = 20,
    memory: int = 20,
    gradient_tolerance: float = 1e-9,
    lower_bound: float | None = None,
) -> Solution:
    """Minimise from x0 (n,); every vector takes the way over the host, in float64.

    Arguments, result and errors are those of `lbfgs.minimise`, with BRS's settings m = memory, factr = 0, pgtol =
    gradient_tolerance (Jang and Kim, CVPR 2019, released code). lower_bound is checked and then not used: SciPy chooses
    its own first step. A later point that is not finite ends it as "stalled".

    >>> from interactify.optim import Evaluation
    >>> solution = minimise(lambda x: Evaluation((x**2).sum(), 2 * x, done=False), torch.tensor([3.0, 4.0]))
    >>> round(solution.value, 6), solution.status
    (0.0, 'converged')
    """
    check_options(x0, max_evaluations, memory, gradient_tolerance, lower_bound)
    watch = BestSoFar(objective, max_evaluations)
    iterations = 0

    def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        point = watch(torch.from_numpy(vector.copy()).to(x0))  # a copy: SciPy writes into its vector again
        if not point.finite:  # SciPy would interpolate through it and carry it into the variables
            raise Stop("stalled")
        return point.value, point.gradient.to("cpu", torch.float64).numpy()

    def count(_: np.ndarray) -> None:
        nonlocal iterations
        iterations += 1

    start = x0.detach().to("cpu", torch.float64).numpy()
    limit = max_evaluations + 1  # never reached: the watch counts, SciPy would only between iterations
    try:
        _, _, outcome = fmin_l_bfgs_b(
            value_and_gradient, start, m=memory, factr=0.0, pgtol=gradient_tolerance,
            maxfun=limit, maxiter=limit, callback=count,
        )  # fmt: skip
    except Stop as stop:
        return watch.solution(stop.status, iterations)
    converged = float(np.abs(outcome["grad"]).max()) <= gradient_tolerance
    return watch.solution("converged" if converged else "stalled", iterations)
