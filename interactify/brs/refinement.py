"""Runs BRS: minimises an energy over the variables of a function from values to logits, for one refinement or several.

Nothing here knows of sessions, photos or networks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from interactify.brs.energy import Energy, energy_named
from interactify.brs.hold import Held
from interactify.brs.objective import PointTargets, RowsForward
from interactify.brs.solving import LEAST, Inertia, Refinement, Rows, guided, refined
from interactify.errors import InteractionError, OptionError
from interactify.optim import ROW_SOLVERS, Status

Forward = Callable[[Tensor], Tensor]


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
    held: Held | None = None,
    steering: Forward | None = None,
) -> Refinement:
    """Minimise E = E_C + E_H + λ·E_I over the variables of `forward`, from `start`.

    Args:
        forward: from values, shaped like `start`, to logits (1, 1, h, w) or (h, w), differentiable; the sigmoid of a
            logit is the probability of the foreground.
        start: the first values: the identity, or the end of the last refinement. float32 or float64; not changed.
        points: (n, 2) float, x to the right and y down, in pixels of the logits, centres at integers; between
            pixels the logits are interpolated bilinearly. For logits of a volume, (1, 1, d, h, w) or (d, h, w), they
            are (n, 3), with z.
        labels: (n,) bool, True for foreground.
        energy: "margin", "settling", "brs", "fbrs" or an `Energy`.
        inertia: the inertial energy E_I of values, 0-d; the sum of their squares by default.
        solver: "lbfgs" (on the device of `start`) or "scipy" (the reference, on the host in float64).
        max_evaluations: how often `forward` may run.
        stop: called before every evaluation but the first; a text ends the refinement with that status, and the best
            result so far is returned. See `stopping`.
        weights: (n,) above 0, the points' relative weights in the energy; 1 each by default.
        required: (n,) bool, the points that have to reach the energy's goal; the others count in the energy, but the
            refinement may stop without them. If none is required, it stops when all have their label. All by default.
        maps: (n,) integers, for a `forward` that returns logits (1, T, h, w) of several classes: the map in which each
            point gets its label. The first by default.
        held: what the rest of the first map should stay like: E_H; nothing by default.
        steering: a quicker function of nearly the same logits, such as `forward` in lower precision. It finds the way;
            values, logits, energy and whether the goal is reached are those of one evaluation of `forward` at its end.
            (Of `forward` at the start, where `stop` has returned "superseded".) It may raise `SteeringEnded`.
            Where a point is short of its label there, or of the goal by more than 0.25, or it has not arrived after 12
            evaluations, `forward` goes on from there.

    Returns:
        The `Refinement`: the evaluation that reached the energy's goal, else the one with the lowest energy; or, where
        much of what is held has changed there, one on a shorter way from the start.

    Raises:
        NonFiniteError: `forward` returned NaN or infinity.
        NotEnoughMemoryError: memory ran out.
        InteractionError: points or labels of another shape, no points, not finite, or outside the map.
        ModelError: `forward` returned something else, or logits that do not depend on the values.
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
    _check_start(start)

    def row(values: Tensor, rows: Sequence[int]) -> Tensor:
        return _as_row(forward(values.view(start.shape)), target.points.shape[1])

    def steered(values: Tensor, rows: Sequence[int]) -> Tensor:
        assert steering is not None
        return _as_row(steering(values.view(start.shape)), target.points.shape[1])

    with torch.inference_mode(False):  # a caller's inference mode would forbid every gradient below
        target = _point_targets(points, labels, start, weights, required, maps, held)
        inertia = inertia or _sum_of_squares
        if steering is None or max_evaluations < LEAST:
            return refined(Rows(row, [target], energy, inertia, solver, stop), start[None], max_evaluations)[0]
        guide = Rows(steered, [target], energy, inertia, solver, stop)
        return guided(guide, replace(guide, forward=row), start, max_evaluations)


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
    held: Sequence[Held | None] | None = None,
) -> list[Refinement]:
    """`refine` for B refinements that share the passes of `forward`: objects in a photo, or photos of one size.

    Each row has its own points, minimisation and end; a finished row does not run again. A row's result is that of
    `refine` on it alone, as long as `forward` gives a row the same logits alone and together with others.

    Args:
        forward: from values (b, …) and the b indices of these rows, ascending, to logits (b, 1, h, w).
        starts: (B, …), the first values of each row.
        points, labels: B of each, as for `refine`.
        energy, inertia, solver, max_evaluations, stop: as for `refine`, the same for every row. "scipy" runs one row
            after the other.
        at_once: how many rows `forward` gets at most; memory grows with it.
        weights, required, held: B of each, or None, as for `refine`.

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
    _check_start(starts)
    if starts.ndim == 0 or not len(starts) == len(points) == len(labels):
        count = f"{len(starts)}" if starts.ndim else "no"
        raise OptionError(
            f"Expected starts (B, …) and B sets of points and of labels, got {count} rows of starts, {len(points)} "
            f"sets of points and {len(labels)} of labels. Try one set of each for every row."
        )
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise OptionError(f"Expected at_once to be a whole number of 1 or more, got {at_once!r}. Try 1.")
    none = [None] * len(starts)
    with torch.inference_mode(False):
        targets = [
            _point_targets(*each[:2], starts, *each[2:4], None, each[4])
            for each in zip(points, labels, weights or none, required or none, held or none, strict=True)
        ]
        how = Rows(forward, targets, energy, inertia or _sum_of_squares, solver, stop, at_once)
        return refined(how, starts, max_evaluations)


def stopping(max_seconds: float | None, cancelled: Callable[[], bool] = lambda: False) -> Callable[[], str | None]:
    """For `refine(stop=…)`: "time" once `max_seconds` have passed from now, "cancelled" as soon as `cancelled()`.

    >>> stopping(0.0)(), stopping(None)(), stopping(60.0, lambda: True)()
    ('time', None, 'cancelled')
    """
    end = math.inf if max_seconds is None else time.perf_counter() + max_seconds

    def stop() -> str | None:
        return Status.CANCELLED if cancelled() else Status.TIME if time.perf_counter() >= end else None

    return stop


def check_seconds(max_seconds: object) -> None:
    """Raise OptionError unless `max_seconds` is a number of 0 or more, or None."""
    number = isinstance(max_seconds, (int, float)) and not isinstance(max_seconds, bool)
    if max_seconds is not None and not (number and float(max_seconds) >= 0):  # type: ignore[arg-type]
        raise OptionError(f"Expected max_seconds to be a number of 0 or more, or None, got {max_seconds!r}. Try 1.0.")


def check_evaluations(max_evaluations: object, least: int) -> None:
    """Raise OptionError unless `max_evaluations` is a whole number of `least` or more.

    0 is for networks that read clicks, and answer them without any refinement.
    """
    if isinstance(max_evaluations, bool) or not isinstance(max_evaluations, int) or max_evaluations < 0:
        raise OptionError(f"Expected max_evaluations to be a whole number of 1 or more, got {max_evaluations!r}.")
    if max_evaluations < least:
        raise OptionError(
            "Expected max_evaluations to be a whole number of 1 or more for a network that reads no clicks, whose only "
            "answer to them is the refinement, got 0. Try 1; or click_maps=interactify.ClickMaps(…) if it reads them."
        )


def check_solver(solver: object) -> None:
    """Raise OptionError unless `solver` is the name of a solver."""
    if not isinstance(solver, str) or solver not in ROW_SOLVERS:
        raise OptionError(f"Expected solver to be one of {', '.join(ROW_SOLVERS)}, got {solver!r}. Try 'lbfgs'.")


def _as_row(logits: object, sides: int) -> Tensor:
    """The logits of one row as a batch; `RowsEnergy` refuses what is no map of that many sides."""
    return cast(Tensor, logits[None, None] if isinstance(logits, Tensor) and logits.ndim == sides else logits)


def _sum_of_squares(values: Tensor) -> Tensor:
    return values.square().sum()


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _few(values: Tensor) -> str:
    """The first numbers of a tensor, for an error message."""
    return f"{values[:4].tolist()}{' and more' if len(values) > 4 else ''}"


def _check_start(start: Tensor) -> None:
    if not isinstance(start, Tensor) or start.dtype not in (torch.float32, torch.float64):
        raise OptionError(
            f"Expected start to be a float32 or float64 tensor, the first values of the variables, got {_kind(start)}. "
            "Try torch.zeros(…), the identity."
        )


def _as_tensor(values: Any) -> Tensor:
    """A tensor as it is; numbers as one on the CPU, wherever torch puts new tensors by default."""
    return values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")


def _point_targets(
    points: Tensor,
    labels: Tensor,
    start: Tensor,
    weights: Tensor | None = None,
    required: Tensor | None = None,
    maps: Tensor | None = None,
    held: Held | None = None,
) -> PointTargets:
    try:
        points, labels = _as_tensor(points), _as_tensor(labels)
        others = [None if each is None else _as_tensor(each) for each in (weights, required, maps)]
    except (TypeError, ValueError, RuntimeError) as cause:
        raise InteractionError(
            f"Expected points (n, 2) of numbers and labels (n,), got neither: {cause}. Try lists of numbers."
        ) from cause
    if points.ndim != 2 or points.shape[1] not in (2, 3) or labels.shape != points.shape[:1] or not len(points):
        raise InteractionError(
            f"Expected points (n, 2), or (n, 3) in a volume, and labels (n,) with n of 1 or more, got "
            f"{tuple(points.shape)} and {tuple(labels.shape)}. Try one label for each point."
        )
    for name, each in zip(("weights", "required", "maps"), others, strict=True):
        if each is not None and each.shape != labels.shape:
            raise InteractionError(
                f"Expected {name} {tuple(labels.shape)}, one for each point, got {tuple(each.shape)}. Try None."
            )
    weights, required, maps = others
    if weights is not None and not bool((torch.isfinite(weights) & (weights > 0)).all()):
        raise InteractionError(
            f"Expected weights that are finite and above 0, got {_few(weights)}. Try leaving out points without weight."
        )
    if maps is not None and (maps.is_floating_point() or bool((maps < 0).any())):
        raise InteractionError(
            f"Expected maps to be whole numbers of 0 or more, indices of the logits' maps, got {_few(maps)}. Try None."
        )
    if start.device.type != "mps":  # which has no float64; its points stay on the host
        points = points.to(start.device)
    points = points.to(torch.float64)  # copied, as those below: autograd can't save tensors of inference mode
    if not bool(torch.isfinite(points).all()) or bool((points < -0.5).any()):
        raise InteractionError(
            f"Expected points in pixels of the logits, x then y, finite and not negative, got {_few(points)}. "
            "Try 0 for the first column and row."
        )
    kinds = (torch.float32 if start.device.type == "mps" else torch.float64, torch.bool, torch.int64)
    device = start.device
    weights, required, maps = (
        None if each is None else each.to(device, kind).clone() for each, kind in zip(others, kinds, strict=True)
    )
    held = None if held is None else held.on(device)
    return PointTargets(points.clone(), labels.to(device, torch.bool).clone(), weights, required, maps, held)
