"""The objective of a solver: the energies of several rows, evaluated together in bounded memory.

A row is one refinement: its variables, its points and their labels. Rows share the network's passes and nothing else;
the energy of each is computed from its own logits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from interactify.brs.energy import Energy, goal_at
from interactify.brs.hold import Held
from interactify.errors import InteractionError, ModelError, NonFiniteError, ran_out
from interactify.optim import RowEvaluations
from interactify.pictures.resize_pad import Corners

NO_GRADIENT = (
    "Expected logits with a gradient, got logits that do not depend on the variables. Try to keep forward "
    "differentiable: no torch.no_grad, no .detach(), no numpy inside."
)
RowsForward = Callable[[Tensor, Sequence[int]], Tensor]
"""From values (b, …) and the indices of these rows to logits (b, 1, h, w), differentiable."""


@dataclass(frozen=True, eq=False)
class PointTargets:
    """The target of one row: points and the labels that they should get.

    Attributes:
        points: (n, 2) float64, x then y, in pixels of the logits; in a volume (n, 3), x, y, z.
        labels: (n,) bool.
        weights: (n,) of the points in the energy; None for 1 each.
        required: (n,) bool, the points that have to reach the energy's goal before it may stop. If no point is
            required, it stops when all have their label. None for all.
        maps: (n,) int64, the map of the logits in which each point is read; None for the first.
        held: what the rest of the first map should stay like; None for nothing.
    """

    points: Tensor
    labels: Tensor
    weights: Tensor | None = None
    required: Tensor | None = None
    maps: Tensor | None = None
    held: Held | None = None

    def satisfied(self, logits: Tensor) -> Tensor:
        """0-d bool, whether the required points have their label (all, where none is), from the logits (n, s)."""
        right = ((logits > 0) == self.labels[:, None]).all(1)
        required = right if self.required is None or not bool(self.required.any()) else right[self.required]
        return required.all()

    def reached(self, energy: Energy, logits: Tensor) -> Tensor:
        """0-d bool, from the logits (n, s) at the points."""
        if self.required is None:
            return energy.reached(logits, self.labels)
        if bool(self.required.any()):
            return energy.reached(logits[self.required], self.labels[self.required])
        return ((logits > 0) == self.labels[:, None]).all()


@dataclass(eq=False)
class RowsEnergy:
    """E = E_C + E_H + λ·E_I of each row, with its gradient, as a solver's objective.

    Attributes:
        forward: runs some of the rows.
        like: the variables of one row: their shape, dtype and device.
        targets: of each row.
        energy, inertia: E_C and λ, and E_I.
        at_once: how many rows run together; more run in several passes.
    """

    forward: RowsForward
    like: Tensor
    targets: Sequence[PointTargets]
    energy: Energy
    inertia: Callable[[Tensor], Tensor]
    at_once: int
    begun: int = 0
    """Evaluations that each row has had before."""
    held_at_start: dict[int, Tensor] = field(default_factory=dict)
    """E_H of each row's first evaluation, where it holds anything."""
    _counts: Counter[int] = field(default_factory=Counter)  # evaluations of each row
    _evaluated: set[int] = field(default_factory=set)  # rows that had an evaluation with finite numbers
    _corners: dict[tuple[int, torch.Size], Corners] = field(
        default_factory=dict
    )  # for each row and size of maps: where its points are read

    def __call__(self, x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        """The evaluations of the rows at x (b, n)."""
        parts = [
            self._together(x[first : first + self.at_once], rows[first : first + self.at_once])
            for first in range(0, len(rows), self.at_once)
        ]
        if len(parts) == 1:
            return parts[0]
        done = [each for part in parts for each in part.done]
        gradients = [
            x.new_zeros(len(part.done), x.shape[1]) if part.gradient is None else part.gradient for part in parts
        ]
        return RowEvaluations(
            torch.cat([part.value for part in parts]),
            None if all(done) else torch.cat(gradients),
            done,
            [each for part in parts for each in part.payloads],
        )

    def _together(self, x: Tensor, rows: Sequence[int]) -> RowEvaluations:
        values = x.detach().to(self.like.dtype).view(-1, *self.like.shape).requires_grad_(True)
        replica = values.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self._maps(values, rows)
            at_points = [self._at_points(one, row) for one, row in zip(_split(logits), rows, strict=True)]
            corrective = [
                self._corrective(read, one, row) for read, one, row in zip(at_points, _split(logits), rows, strict=True)
            ]
            inertial = [self.energy.inertia * self.inertia(one) for one in _split(replica)]
        totals = [(first.detach() + second.detach()) for first, second in zip(corrective, inertial, strict=True)]
        self._counts.update(rows)
        # One transfer to the host for both flags of all rows: whether the goal is reached, and whether all is finite.
        on_device = [
            flag
            for read, row, one, total in zip(at_points, rows, logits.detach(), totals, strict=True)
            for flag in (
                self.targets[row].reached(goal_at(self.energy, self.begun + self._counts[row]), read.detach()),
                _finite(one, total),
            )
        ]
        flags = torch.stack(on_device).tolist()
        reached, finite = flags[::2], flags[1::2]
        for position, row in enumerate(rows):
            if finite[position]:
                self._evaluated.add(row)
            elif row in self._evaluated:  # too long a step: the line search shortens it
                totals[position], reached[position] = torch.full_like(totals[position], torch.inf), False
            else:
                raise _broken(row if len(self.targets) > 1 else None)
        wanted = [i for i in range(len(rows)) if finite[i] and not reached[i]]
        gradient = None
        if wanted:
            gradient = _gradient([corrective[i] for i in wanted], [inertial[i] for i in wanted], values, replica)
            gradient = gradient.reshape(x.shape).to(x.dtype)
        elif not all(reached):
            gradient = torch.zeros_like(x)
        alone = len(rows) == 1
        maps = logits.detach()
        payloads = [
            maps
            if alone
            else maps[i : i + 1].clone()
            if finite[i]
            else None  # with its own memory, since a solver may hold it
            for i in range(len(rows))
        ]
        return RowEvaluations(torch.stack(totals).to(x.dtype), gradient, reached, payloads)

    def satisfied(self, logits: Tensor, row: int) -> bool:
        """Whether a row's points have their labels in its logits (1, T, h, w)."""
        return bool(self.targets[row].satisfied(self._at_points(logits[0], row)))

    def without_gradient(self, values: Tensor, row: int) -> tuple[float, bool, Tensor]:
        """E, whether the points have their labels, and the logits (1, T, h, w), of a row at values like `like`."""
        with torch.enable_grad():  # as all other passes: a compiled network would be compiled again for one without
            logits = self._maps(values[None].detach().requires_grad_(True), (row,)).detach()
        at_points, total = self._read(values, logits, row)
        finite = math.isfinite(total)
        return total, finite and bool(self.targets[row].satisfied(at_points)), logits

    @torch.no_grad()
    def answer(self, values: Tensor, row: int, slack: float) -> tuple[float, bool, bool, Tensor]:
        """E at values like `like`, from a pass that no gradient will be taken of.

        Returns:
            E; whether the points of the row have their labels; whether the goal is reached if every logit counts as
            nearer to its label by `slack`; the logits (1, T, h, w).
        """
        logits = self._checked(self.forward(values[None].detach(), (row,)), (row,))
        at_points, total = self._read(values, logits, row)
        target, finite = self.targets[row], math.isfinite(total)
        nearer = at_points + slack * (2.0 * target.labels[:, None].to(at_points) - 1.0)
        reached = finite and bool(target.reached(goal_at(self.energy, self.begun + 1), nearer))
        return total, finite and bool(target.satisfied(at_points)), reached, logits

    def _read(self, values: Tensor, logits: Tensor, row: int) -> tuple[Tensor, float]:
        """The logits at a row's points, and E; infinite where a number is not finite."""
        at_points = self._at_points(logits[0], row)
        total = self._corrective(at_points, logits[0], row) + self.energy.inertia * self.inertia(values)
        return at_points, float(total) if bool(_finite(logits, total)) else math.inf

    def _corrective(self, at_points: Tensor, logits: Tensor, row: int) -> Tensor:
        """E_C + E_H of a row, from its logits at the points and its maps (T, h, w)."""
        corrective = self.energy.corrective(at_points, self.targets[row].labels, *self._weights(row))
        held = self.targets[row].held
        if held is None:
            return corrective
        if held.probability.shape != logits.shape[1:]:
            raise InteractionError(
                f"Expected a probability to hold of the logits' size {tuple(logits.shape[1:])}, got one of "
                f"{tuple(held.probability.shape)}. Try the sigmoid of the logits at the start."
            )
        energy = held.energy(logits)
        if row not in self.held_at_start:
            self.held_at_start[row] = energy.detach()
        return corrective + energy.to(corrective.dtype)

    def _weights(self, row: int) -> tuple[Tensor, ...]:
        """The weights as an argument; none if all are 1, so that an energy need not take them."""
        weights = self.targets[row].weights
        return () if weights is None else (weights,)

    def _maps(self, values: Tensor, rows: Sequence[int]) -> Tensor:
        logits = self._checked(self.forward(values, rows), rows)
        if not logits.requires_grad:
            raise ModelError(NO_GRADIENT)
        return logits

    def _checked(self, logits: object, rows: Sequence[int]) -> Tensor:
        several = [int(target.maps.max()) + 1 for target in self.targets if target.maps is not None]
        least, sides = max(several, default=1), self.targets[rows[0]].points.shape[1]
        if sides == 3 and isinstance(logits, Tensor) and logits.ndim == 4:
            raise InteractionError("Expected points (n, 2) for logits (1, 1, h, w), got (n, 3). Try x and y alone.")
        maps = isinstance(logits, Tensor) and logits.ndim == sides + 2 and len(logits) == len(rows)
        channels = logits.shape[1] if isinstance(logits, Tensor) and maps else 0
        if channels < least or not (channels == 1 or several):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            expected = f"({len(rows)}, {least}{' or more' if several else ''}, {'h, w' if sides == 2 else 'd, h, w'})"
            raise ModelError(f"Expected forward to return logits {expected}, got {found}.")
        return cast(Tensor, logits)

    def _at_points(self, logits: Tensor, row: int) -> Tensor:
        """Logits (n, s) at one row's points, from its maps (T, h, w)."""
        key, target = (row, logits.shape), self.targets[row]
        if key not in self._corners:  # once, since checking points on a device waits for it
            _check_inside(target.points, logits)
            self._corners[key] = squares(logits[None], target.points, self.energy.square)
        read = self._corners[key](logits[None])[0].view(len(logits), len(target.points), -1)
        if target.maps is None:
            return read[0]
        return read[target.maps, torch.arange(len(target.points), device=read.device)]


def squares(logits: Tensor, points: Tensor, square: int) -> Corners:
    """Where to read the square of (2·square + 1)² pixels around each point; in a volume, the cube.

    At a border, the outermost row or column is repeated, so that no click is ever lost.
    """
    around = torch.arange(-square, square + 1, device=points.device, dtype=points.dtype)
    sides = points.shape[1]
    offsets = torch.stack(torch.meshgrid(*[around] * sides, indexing="xy"), -1).view(1, -1, sides)
    return Corners.around((points[:, None] + offsets).view(-1, sides), logits)


def _split(batch: Tensor) -> Sequence[Tensor]:
    """The rows of a batch; a single row as a view, whose gradient costs nothing."""
    return [batch.view(batch.shape[1:])] if len(batch) == 1 else batch.unbind(0)


def _check_inside(points: Tensor, logits: Tensor) -> None:
    limit = [side - 0.5 for side in reversed(logits.shape[1:])]
    if bool((points >= points.new_tensor(limit)).any()):
        raise InteractionError(
            f"Expected points inside the logits, which are {tuple(logits.shape[1:])} "
            f"{'(h, w)' if len(limit) == 2 else '(d, h, w)'} pixels, got one outside. "
            f"Try points in pixels of the logits, {'x then y' if len(limit) == 2 else 'x, y, z'}."
        )


def _broken(row: int | None) -> NonFiniteError:
    where = "" if row is None else f" (refinement {row} of the batch)"
    return NonFiniteError(
        f"Expected finite logits and energy, got NaN or infinity from the network while a click was refined{where}; "
        "nothing was changed. Try checking its weights and input normalisation, or float32 instead of half precision."
    )


def _gradient(corrective: Sequence[Tensor], inertial: Sequence[Tensor], values: Tensor, replica: Tensor) -> Tensor:
    """The gradient of E_C + λ E_I: of E_C in `values`, of λ E_I in their copy `replica`, in one backward pass.

    Two leaves show whether the logits depend on the values; with one, the inertial energy would hide that they don't.
    """
    inertias = [each for each in inertial if each.requires_grad]
    try:
        through_network, of_inertia = torch.autograd.grad(
            [*corrective, *inertias], [values, replica], allow_unused=True
        )
    except CheckpointError as cause:
        raise ModelError(
            "Expected a network without activation checkpointing, got one that recomputes layers in its backward pass, "
            "where these variables are no longer in place. Try switching it off in the model, or variables='input'."
        ) from cause
    except RuntimeError as cause:  # an operation in the network: in-place, or without a gradient on this device
        if ran_out(cause):
            raise
        raise ModelError(
            f"Expected a differentiable network, got one that has no gradient: {cause}. Try inplace=False for layers "
            "that write over what the gradient needs, and model.float() if it computes in half precision."
        ) from cause
    if through_network is None:
        raise ModelError(NO_GRADIENT)
    return through_network if of_inertia is None else through_network + of_inertia


def _finite(logits: Tensor, total: Tensor) -> Tensor:
    # A sum is finite if all numbers are (short of overflow), and needs no second map.
    precise = torch.promote_types(logits.dtype, torch.float32)
    return torch.isfinite(logits.sum(dtype=precise)) & torch.isfinite(total)
