"""What a solver minimises: the energy of rows, each with clicks of its own, evaluated together in bounded memory.

A row is one refinement: its variables, its points and their labels. Rows share the network's passes and nothing else;
the energy of each is worked out from its own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from interactify.brs.energy import Energy
from interactify.errors import InteractionError, ModelError, NonFiniteError, ran_out
from interactify.optim import RowEvaluations
from interactify.pictures.resize_pad import Corners

NO_GRADIENT = (
    "The logits do not depend on the variables: no gradient reaches them. Keep forward differentiable (no "
    "torch.no_grad, no .detach(), no numpy inside)."
)
RowsForward = Callable[[Tensor, Sequence[int]], Tensor]
"""From values (b, …), and which rows these are, to logits (b, 1, h, w), differentiable."""


@dataclass(frozen=True, eq=False)
class PointTargets:
    """What one row is to bring about: the labels of points.

    Attributes:
        points: (n, 2) float64, x then y, in pixels of the logits.
        labels: (n,) bool.
        weights: (n,) of the points in the energy; None for 1 each.
        required: (n,) bool, which of them have to be where the energy wants them before it may stop: where none is, all
            have to have their label. None for all.
        maps: (n,) int64, in which of the logits' maps each is read; None for the first.
    """

    points: Tensor
    labels: Tensor
    weights: Tensor | None = None
    required: Tensor | None = None
    maps: Tensor | None = None

    def reached(self, energy: Energy, logits: Tensor) -> Tensor:
        """0-d bool, from the logits (n, s) at the points."""
        if self.required is None:
            return energy.reached(logits, self.labels)
        if bool(self.required.any()):
            return energy.reached(logits[self.required], self.labels[self.required])
        return ((logits > 0) == self.labels[:, None]).all()


@dataclass(eq=False)
class RowsEnergy:
    """E = E_C + λ·E_I of each row, with its gradient, as a solver's objective.

    Attributes:
        forward: runs some of the rows.
        like: the variables of one row: their shape, dtype and device.
        asked: of each row.
        energy, inertia: E_C and λ, and E_I.
        at_once: how many rows are run together; more are run in turn.
    """

    forward: RowsForward
    like: Tensor
    asked: Sequence[PointTargets]
    energy: Energy
    inertia: Callable[[Tensor], Tensor]
    at_once: int
    _seen: set[int] = field(default_factory=set)  # rows that have been evaluated
    _corners: dict[tuple[int, torch.Size], Corners] = field(default_factory=dict)  # where a row's maps are read

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
            torch.zeros(len(part.done), x.shape[1]).to(x) if part.gradient is None else part.gradient for part in parts
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
            clicked = [self._clicked(one, row) for one, row in zip(_apart(logits), rows, strict=True)]
            corrective = [
                self.energy.corrective(seen, self.asked[row].labels, *self._weights(row))
                for seen, row in zip(clicked, rows, strict=True)
            ]
            held = [self.energy.inertia * self.inertia(one) for one in _apart(replica)]
        totals = [(own.detach() + kept.detach()) for own, kept in zip(corrective, held, strict=True)]
        # One transfer tells both of every row: whether its clicks are settled, and whether any number is broken.
        told = [
            flag
            for seen, row, one, total in zip(clicked, rows, logits.detach(), totals, strict=True)
            for flag in (self.asked[row].reached(self.energy, seen.detach()), _finite(one, total))
        ]
        flags = torch.stack(told).tolist()
        reached, finite = flags[::2], flags[1::2]
        for position, row in enumerate(rows):
            if finite[position]:
                self._seen.add(row)
            elif row in self._seen:  # a step too far: the line search comes back from there
                totals[position], reached[position] = torch.full_like(totals[position], torch.inf), False
            else:
                raise _broken(row if len(self.asked) > 1 else None)
        wanted = [i for i in range(len(rows)) if finite[i] and not reached[i]]
        gradient = None
        if wanted:
            gradient = _gradient([corrective[i] for i in wanted], [held[i] for i in wanted], values, replica)
            gradient = gradient.reshape(x.shape).to(x.dtype)
        elif not all(reached):
            gradient = torch.zeros_like(x)
        alone = len(rows) == 1
        maps = logits.detach()
        payloads = [
            maps if alone else maps[i : i + 1].clone() if finite[i] else None  # of its own memory: it may be kept
            for i in range(len(rows))
        ]
        return RowEvaluations(torch.stack(totals).to(x.dtype), gradient, reached, payloads)

    def _weights(self, row: int) -> tuple[Tensor, ...]:
        """Given only where they are not all 1, so that an energy need not know of them."""
        weights = self.asked[row].weights
        return () if weights is None else (weights,)

    def _maps(self, values: Tensor, rows: Sequence[int]) -> Tensor:
        logits = self.forward(values, rows)
        several = [int(asked.maps.max()) + 1 for asked in self.asked if asked.maps is not None]
        least = max(several, default=1)
        maps = isinstance(logits, Tensor) and logits.ndim == 4 and len(logits) == len(rows)
        if not maps or not (logits.shape[1] == 1 or several) or logits.shape[1] < least:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            expected = f"({len(rows)}, {least}{' or more' if several else ''}, h, w)"
            raise ModelError(f"Expected forward to return logits {expected}, got {found}.")
        if not logits.requires_grad:
            raise ModelError(NO_GRADIENT)
        return logits

    def _clicked(self, logits: Tensor, row: int) -> Tensor:
        """Logits (n, s) at one row's points, from its maps (T, h, w)."""
        key, asked = (row, logits.shape), self.asked[row]
        if key not in self._corners:  # asked once: looking at points that lie on a device waits for it
            _check_inside(asked.points, logits)
            self._corners[key] = squares(logits[None], asked.points, self.energy.square)
        seen = self._corners[key](logits[None])[0].view(len(logits), len(asked.points), -1)
        if asked.maps is None:
            return seen[0]
        return seen[asked.maps, torch.arange(len(asked.points), device=seen.device)]


def squares(logits: Tensor, points: Tensor, square: int) -> Corners:
    """Where to read the square of (2·square + 1)² pixels around each point; at a border the part inside counts.

    A point on the outermost row repeats that row instead of sampling nothing, so that no click is ever lost.
    """
    around = torch.arange(-square, square + 1, device=points.device, dtype=points.dtype)
    offsets = torch.stack(torch.meshgrid(around, around, indexing="xy"), -1).view(1, -1, 2)
    return Corners.around((points[:, None] + offsets).view(-1, 2), logits)


def _apart(batch: Tensor) -> Sequence[Tensor]:
    """Its rows; of one row a view, whose gradient costs nothing."""
    return [batch.view(batch.shape[1:])] if len(batch) == 1 else batch.unbind(0)


def _check_inside(points: Tensor, logits: Tensor) -> None:
    limit = logits.shape[-1] - 0.5, logits.shape[-2] - 0.5
    if bool((points >= points.new_tensor(limit)).any()):
        raise InteractionError(f"A point lies outside the logits, which are {tuple(logits.shape[-2:])} (h, w) pixels.")


def _broken(row: int | None) -> NonFiniteError:
    where = "" if row is None else f" (refinement {row} of the batch)"
    return NonFiniteError(
        f"The network returned NaN or infinity while a click was refined{where}; nothing was changed. Check its "
        "weights and input normalisation, or use float32 instead of half precision."
    )


def _gradient(corrective: Sequence[Tensor], held: Sequence[Tensor], values: Tensor, replica: Tensor) -> Tensor:
    """The gradient of E_C + λ E_I: of the first in `values`, of the second in their `replica`.

    Two leaves, so that logits which do not depend on the values are noticed, and yet one backward pass.
    """
    inertias = [each for each in held if each.requires_grad]
    try:
        through_network, of_inertia = torch.autograd.grad(
            [*corrective, *inertias], [values, replica], allow_unused=True
        )
    except CheckpointError as cause:
        raise ModelError(
            "The network recomputes layers in its backward pass (activation checkpointing), where these variables are "
            "no longer in place. Switch that off in the model, or use variables='input'."
        ) from cause
    except RuntimeError as cause:  # the network's own operations: written over in place, or without a gradient here
        if ran_out(cause):
            raise
        raise ModelError(
            f"The network runs, but has no gradient: {cause}. Let it write over nothing that its gradient needs "
            "(inplace=False), and if it computes in half precision, try model.float()."
        ) from cause
    if through_network is None:
        raise ModelError(NO_GRADIENT)
    return through_network if of_inertia is None else through_network + of_inertia


def _finite(logits: Tensor, total: Tensor) -> Tensor:
    # The sum of a map is finite where all of it is, short of overflow, and costs one pass and no second map.
    precise = torch.promote_types(logits.dtype, torch.float32)
    return torch.isfinite(logits.sum(dtype=precise)) & torch.isfinite(total)
