"""BRS: minimise an energy over variables until every clicked pixel has its label. The functional core.

Nothing here knows of sessions, photos or networks: `forward` is any function from values to logits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from interactify.brs.energy import Energy, energy_named
from interactify.brs.objective import PointTargets, RowsEnergy, RowsForward
from interactify.errors import InteractionError, OptionError, within_memory
from interactify.optim import ROW_SOLVERS

Forward = Callable[[Tensor], Tensor]
Inertia = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Refinement:
    """Where a refinement ended; `values`, `logits` and `energy` belong to one and the same evaluation.

    Attributes:
        values: the variables, shaped as they were given.
        logits: (1, 1, h, w), detached: what `forward(values)` returned.
        energy: E at `values`.
        reached: whether every point is where the energy wants it.
        evaluations: how often `forward` was run.
        status: "done", "converged", "budget", "stalled", or what `stop` said.
    """

    values: Tensor
    logits: Tensor
    energy: float
    reached: bool
    evaluations: int
    status: str


def refine(
    forward: Forward,
    start: Tensor,
    points: Tensor,
    labels: Tensor,
    *,
    energy: str | Energy = "margin",
    inertia: Inertia | None = None,
    solver: str = "lbfgs",
    max_evaluations: int = 40,
    stop: Callable[[], str | None] | None = None,
    weights: Tensor | None = None,
    required: Tensor | None = None,
    maps: Tensor | None = None,
) -> Refinement:
    """Minimise E = E_C + λ·E_I over the variables of `forward`, from `start`.

    Args:
        forward: from values, shaped like `start`, to logits (1, 1, h, w) or (h, w), differentiable; the sigmoid of a
            logit is the probability of the foreground.
        start: where to begin: the identity, or where the last refinement ended. float32 or float64; not changed.
        points: (n, 2) float, x to the right and y down, in pixels of the logits, centres at integers; between
            pixels the logits are interpolated bilinearly.
        labels: (n,) bool, True for foreground.
        energy: "margin", "brs", "fbrs" or an `Energy`.
        inertia: the inertial energy E_I of values, 0-d; the sum of their squares by default.
        solver: "lbfgs" (on the device of `start`) or "scipy" (the reference, on the host in float64).
        max_evaluations: how often `forward` may be run.
        stop: asked before every evaluation but the first; a text ends the refinement with that status, and the best
            so far comes back. See `stopping`.
        weights: (n,) above 0, how much each point counts in the energy beside the others; 1 each by default.
        required: (n,) bool, the points that have to be where the energy wants them; the others pull, but are not waited
            for. Where none is required, it is enough that all have their label. All are by default.
        maps: (n,) integers, for a `forward` that returns logits (1, T, h, w) of several classes: in which map each
            point has its label. The first by default.

    Returns:
        The `Refinement`. Where the energy's goal was reached, the point that reached it; else the lowest seen.

    Raises:
        NonFiniteError: `forward` returned NaN or infinity.
        NotEnoughMemoryError: it asked for more memory than there is.
        InteractionError: points or labels of another shape, none of them, not finite, or outside the map.
        ModelError: `forward` returned something else, or nothing that depends on the values.
        OptionError: an unknown energy or solver.

    Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019, section 3.2.

    >>> image = torch.zeros(1, 1, 8, 8)
    >>> result = interactify.brs.refine(
    ...     lambda v: image + v - 1, torch.zeros(1, 1, 8, 8), torch.tensor([[2.0, 3.0]]), torch.tensor([True])
    ... )
    >>> result.reached, bool(result.logits[0, 0, 3, 2] > 0), bool(result.logits[0, 0, 0, 0] > 0)
    (True, True, False)
    """
    energy = energy_named(energy)
    check_solver(solver)
    _checked_start(start)

    def row(values: Tensor, rows: Sequence[int]) -> Tensor:
        return _as_row(forward(values.view(start.shape)))

    with torch.inference_mode(False):  # a caller's inference mode would forbid every gradient below
        (found,) = _refined(
            row,
            start[None],
            [_checked(points, labels, start, weights, required, maps)],
            energy,
            inertia or _sum_of_squares,
            solver,
            max_evaluations,
            stop,
            1,
        )
    return found


def refine_rows(
    forward: RowsForward,
    starts: Tensor,
    points: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    energy: str | Energy = "margin",
    inertia: Inertia | None = None,
    solver: str = "lbfgs",
    max_evaluations: int = 40,
    stop: Callable[[], str | None] | None = None,
    at_once: int = 1,
    weights: Sequence[Tensor | None] | None = None,
    required: Sequence[Tensor | None] | None = None,
) -> list[Refinement]:
    """`refine` for B refinements that share the passes of `forward`: objects in a photo, or photos of one size.

    Each row has its own points, minimisation and end; one that is finished is not run again. The result of a row is
    that of `refine` on it, as far as `forward` gives a row the same logits whoever else is run with it.

    Args:
        forward: from values (b, …) and b ascending indices, saying which rows these are, to logits (b, 1, h, w).
        starts: (B, …), where each begins.
        points, labels: B of each, as for `refine`.
        energy, inertia, solver, max_evaluations, stop: as for `refine`; the same for every row. "scipy" runs one row
            after the other.
        at_once: how many rows `forward` is given at most; memory grows with it.
        weights, required: B of each, or None, as for `refine`.

    Returns:
        B `Refinement`s, in the order of the rows.

    Raises:
        As `refine`; OptionError also where starts, points and labels differ in number.

    >>> image = torch.zeros(1, 1, 8, 8)
    >>> results = interactify.brs.refine_rows(
    ...     lambda values, rows: image + values - 1, torch.zeros(2, 1, 8, 8),
    ...     [torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 5.0]])], [torch.tensor([True]), torch.tensor([False])],
    ...     at_once=2,
    ... )
    >>> [(result.reached, result.evaluations) for result in results]
    [(True, 2), (True, 2)]
    """
    energy = energy_named(energy)
    check_solver(solver)
    _checked_start(starts)
    if starts.ndim == 0 or not len(starts) == len(points) == len(labels):
        count = f"{len(starts)}" if starts.ndim else "no"
        raise OptionError(
            f"Expected starts (B, …) and B sets of points and of labels, got {count} rows of starts, {len(points)} "
            f"sets of points and {len(labels)} of labels."
        )
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise OptionError(f"Expected at_once to be a whole number of 1 or more, got {at_once!r}.")
    none = [None] * len(starts)
    with torch.inference_mode(False):
        asked = [
            _checked(*each[:2], starts, *each[2:])
            for each in zip(points, labels, weights or none, required or none, strict=True)
        ]
        return _refined(
            forward, starts, asked, energy, inertia or _sum_of_squares, solver, max_evaluations, stop, at_once
        )


def stopping(max_seconds: float | None, cancelled: Callable[[], bool] = lambda: False) -> Callable[[], str | None]:
    """For `refine(stop=…)`: "time" once `max_seconds` have passed from now, "cancelled" as soon as `cancelled()`.

    >>> stopping(0.0)(), stopping(None)(), stopping(60.0, lambda: True)()
    ('time', None, 'cancelled')
    """
    end = math.inf if max_seconds is None else time.perf_counter() + max_seconds

    def stop() -> str | None:
        return "cancelled" if cancelled() else "time" if time.perf_counter() >= end else None

    return stop


def check_seconds(max_seconds: object) -> None:
    """Raise OptionError for what is no span of time."""
    number = isinstance(max_seconds, (int, float)) and not isinstance(max_seconds, bool)
    if max_seconds is not None and not (number and float(max_seconds) >= 0):  # type: ignore[arg-type]
        raise OptionError(f"Expected max_seconds to be a number of 0 or more, or None, got {max_seconds!r}.")


def check_solver(solver: object) -> None:
    """Raise OptionError for what is not the name of a solver."""
    if not isinstance(solver, str) or solver not in ROW_SOLVERS:
        raise OptionError(f"Expected solver to be one of {', '.join(ROW_SOLVERS)}, got {solver!r}.")


def _refined(
    forward: RowsForward,
    starts: Tensor,
    asked: Sequence[PointTargets],
    energy: Energy,
    inertia: Inertia,
    solver: str,
    max_evaluations: int,
    stop: Callable[[], str | None] | None,
    at_once: int,
) -> list[Refinement]:
    objective = RowsEnergy(forward, starts[0], asked, energy, inertia, at_once)
    flat = starts.detach().clone().reshape(len(starts), -1)
    with within_memory():
        solutions = ROW_SOLVERS[solver](
            objective, flat, max_evaluations=max_evaluations, lower_bound=energy.lower_bound, stop=stop
        )
    return [
        Refinement(
            solution.x.to(starts.dtype).view(starts.shape[1:]),
            cast(Tensor, solution.payload),
            solution.value,
            solution.done,
            solution.evaluations,
            solution.status,
        )
        for solution in solutions
    ]


def _as_row(logits: object) -> Tensor:
    """One row's logits as a batch; what is no map is left for `RowsEnergy` to refuse."""
    return cast(Tensor, logits[None, None] if isinstance(logits, Tensor) and logits.ndim == 2 else logits)


def _sum_of_squares(values: Tensor) -> Tensor:
    return values.square().sum()


def _checked_start(start: Tensor) -> None:
    if not isinstance(start, Tensor) or start.dtype not in (torch.float32, torch.float64):
        raise OptionError("Expected start to be a float32 or float64 tensor: the variables' values to begin from.")


def _checked(
    points: Tensor,
    labels: Tensor,
    start: Tensor,
    weights: Tensor | None = None,
    required: Tensor | None = None,
    maps: Tensor | None = None,
) -> PointTargets:
    try:
        points, labels = torch.as_tensor(points), torch.as_tensor(labels)
        given = [None if each is None else torch.as_tensor(each) for each in (weights, required, maps)]
    except (TypeError, ValueError, RuntimeError) as cause:
        raise InteractionError(f"Expected points (n, 2) of numbers and labels (n,): {cause}.") from cause
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not len(points):
        raise InteractionError(
            f"Expected points (n, 2) and labels (n,) with n of 1 or more, got {tuple(points.shape)} and "
            f"{tuple(labels.shape)}."
        )
    for name, each in zip(("weights", "required", "maps"), given, strict=True):
        if each is not None and each.shape != labels.shape:
            raise InteractionError(
                f"Expected {name} {tuple(labels.shape)}, one for each point, got {tuple(each.shape)}."
            )
    weights, required, maps = given
    if weights is not None and not bool((torch.isfinite(weights) & (weights > 0)).all()):
        raise InteractionError("Expected weights that are finite and above 0: a point of no weight is better left out.")
    if maps is not None and (maps.is_floating_point() or bool((maps < 0).any())):
        raise InteractionError("Expected maps to be indices of the logits' maps, 0 or more.")
    if start.device.type != "mps":  # which has no float64; its points stay on the host
        points = points.to(start.device)
    points = points.to(torch.float64)  # a copy, as are those below: tensors of inference mode can't be saved
    if not bool(torch.isfinite(points).all()) or bool((points < -0.5).any()):
        raise InteractionError("Expected points in pixels of the logits, x then y, finite and not negative.")
    kinds = (torch.float32 if start.device.type == "mps" else torch.float64, torch.bool, torch.int64)
    device = start.device
    rest = [None if each is None else each.to(device, kind).clone() for each, kind in zip(given, kinds, strict=True)]
    return PointTargets(points.clone(), labels.to(device, torch.bool).clone(), *rest)
