"""BRS: minimise an energy over variables until every clicked pixel has its label. The functional core.

Nothing here knows of sessions, photos or networks: `forward` is any function from values to logits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from interactify.energy import Energy, energy_named
from interactify.errors import InteractionError, ModelError, NonFiniteError, OptionError
from interactify.optim import SOLVERS, Evaluation
from interactify.view import sample

NO_GRADIENT = (
    "The logits do not depend on the variables: no gradient reaches them. Keep forward differentiable (no "
    "torch.no_grad, no .detach(), no numpy inside)."
)
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

    Returns:
        The `Refinement`. Where the energy's goal was reached, the point that reached it; else the lowest seen.

    Raises:
        NonFiniteError: `forward` returned NaN or infinity.
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
    with torch.inference_mode(False):  # a caller's inference mode would forbid every gradient below
        return _refine(
            forward, start, points, labels, energy, inertia or _sum_of_squares, solver, max_evaluations, stop
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
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise OptionError(f"Expected solver to be one of {', '.join(SOLVERS)}, got {solver!r}.")


def _refine(
    forward: Forward,
    start: Tensor,
    points: Tensor,
    labels: Tensor,
    energy: Energy,
    inertia: Inertia,
    solver: str,
    max_evaluations: int,
    stop: Callable[[], str | None] | None,
) -> Refinement:
    points, labels = _checked(points, labels, start)

    inside: list[bool] = []
    finite_before: list[bool] = []

    def objective(x: Tensor) -> Evaluation:
        values = x.detach().to(start.dtype).view(start.shape).requires_grad_(True)
        with torch.enable_grad():
            logits = _as_map(forward(values))
            if not inside:  # asked once: looking at points that lie on a device waits for it
                _check_inside(points, logits)
                inside.append(True)
            clicked = sample_squares(logits, points, energy.square)
            corrective, held = energy.corrective(clicked, labels), energy.inertia * inertia(values)
        total = corrective.detach() + held.detach()
        # One transfer tells both: whether the click is settled, and whether any number is broken.
        reached, finite = torch.stack([energy.reached(clicked.detach(), labels), _finite(logits, total)]).tolist()
        if not finite and finite_before:  # a step too far: the line search comes back from there
            return Evaluation(total.new_tensor(torch.inf).to(x.dtype), torch.zeros_like(x), False, None)
        if not finite:
            raise NonFiniteError(
                "The network returned NaN or infinity while a click was refined; nothing was changed. Check its "
                "weights and input normalisation, or use float32 instead of half precision."
            )
        finite_before.append(True)
        gradient = None
        if not reached:
            gradient = _gradient(corrective, held, values).reshape(-1).to(x.dtype)
        return Evaluation(total.to(x.dtype), gradient, reached, logits.detach())

    flat = start.detach().clone().reshape(-1)
    solution = SOLVERS[solver](
        objective, flat, max_evaluations=max_evaluations, lower_bound=energy.lower_bound, stop=stop
    )
    values = solution.x.to(start.dtype).view(start.shape)
    logits = cast(Tensor, solution.payload)
    return Refinement(values, logits, solution.value, solution.done, solution.evaluations, solution.status)


def sample_squares(logits: Tensor, points: Tensor, square: int) -> Tensor:
    """Logits (n, (2·square + 1)²) of the square around each point; at a border it is the part inside that counts.

    A point on the outermost row repeats that row instead of sampling nothing, so that no click is ever lost.
    """
    around = torch.arange(-square, square + 1, device=points.device, dtype=points.dtype)
    offsets = torch.stack(torch.meshgrid(around, around, indexing="xy"), -1).view(1, -1, 2)
    spread = (points[:, None] + offsets).view(-1, 2)
    limit = torch.tensor([logits.shape[-1] - 1, logits.shape[-2] - 1], device=points.device, dtype=points.dtype)
    spread = torch.minimum(spread.clamp(min=0), limit)
    return sample(logits, spread)[0, 0].view(len(points), -1)


def _check_inside(points: Tensor, logits: Tensor) -> None:
    limit = logits.shape[-1] - 0.5, logits.shape[-2] - 0.5
    if bool((points >= points.new_tensor(limit)).any()):
        raise InteractionError(f"A point lies outside the logits, which are {tuple(logits.shape[-2:])} (h, w) pixels.")


def _as_map(logits: Tensor) -> Tensor:
    if isinstance(logits, Tensor) and logits.ndim == 2:
        logits = logits[None, None]
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[:2] != (1, 1):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"Expected forward to return logits (1, 1, h, w) or (h, w), got {found}.")
    if not logits.requires_grad:
        raise ModelError(NO_GRADIENT)
    return logits


def _gradient(corrective: Tensor, held: Tensor, values: Tensor) -> Tensor:
    """The gradient of E_C + λ E_I; asked for apart, so that logits which do not depend on the values are noticed."""
    try:
        (through_network,) = torch.autograd.grad(corrective, values, allow_unused=True)
    except CheckpointError as cause:
        raise ModelError(
            "The network recomputes layers in its backward pass (activation checkpointing), where these variables are "
            "no longer in place. Switch that off in the model, or use variables='input'."
        ) from cause
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as cause:  # the network's own operations: written over in place, or without a gradient here
        raise ModelError(
            f"The network runs, but has no gradient: {cause}. Let it write over nothing that its gradient needs "
            "(inplace=False), and if it computes in half precision, try model.float()."
        ) from cause
    if through_network is None:
        raise ModelError(NO_GRADIENT)
    if not held.requires_grad:
        return through_network
    (of_inertia,) = torch.autograd.grad(held, values, allow_unused=True)
    return through_network if of_inertia is None else through_network + of_inertia


def _finite(logits: Tensor, total: Tensor) -> Tensor:
    # The sum of a map is finite where all of it is, short of overflow, and costs one pass and no second map.
    precise = torch.promote_types(logits.dtype, torch.float32)
    return torch.isfinite(logits.detach().sum(dtype=precise)) & torch.isfinite(total)


def _sum_of_squares(values: Tensor) -> Tensor:
    return values.square().sum()


def _checked(points: Tensor, labels: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(start, Tensor) or start.dtype not in (torch.float32, torch.float64):
        raise OptionError("Expected start to be a float32 or float64 tensor: the variables' values to begin from.")
    try:
        points, labels = torch.as_tensor(points), torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise InteractionError(f"Expected points (n, 2) of numbers and labels (n,): {cause}.") from cause
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not len(points):
        raise InteractionError(
            f"Expected points (n, 2) and labels (n,) with n of 1 or more, got {tuple(points.shape)} and "
            f"{tuple(labels.shape)}."
        )
    if start.device.type != "mps":  # which has no float64; its points stay on the host
        points = points.to(start.device)
    points = points.to(torch.float64)  # a copy, as are the labels below: tensors of inference mode can't be saved
    if not bool(torch.isfinite(points).all()) or bool((points < -0.5).any()):
        raise InteractionError("Expected points in pixels of the logits, x then y, finite and not negative.")
    return points.clone(), labels.to(start.device, torch.bool).clone()
