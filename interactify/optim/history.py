"""The search direction from a history of steps: L-BFGS's two loops, run on coefficients instead of vectors.

Liu and Nocedal, 'On the limited memory BFGS method', Math. Programming 45 (1989); the coefficients: Chen, Wang and
Zhou, 'Large-scale L-BFGS using MapReduce', NIPS 2014. The direction is a linear combination of the stored steps, the
stored gradient changes and the gradient; its coefficients follow from inner products alone. So the long vectors never
leave the device: two matrix-vector products give the new inner products, which are transferred to the host together
with the point's other numbers, and one more product gives the direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class History:
    """The last `memory` steps s and gradient changes y, and their inner products s·y and y·y (host, float64).

    A pair is written as soon as the point at its end is evaluated. If the step is accepted, `direction` decides by the
    inner products whether to keep the pair. A later `write` before that overwrites it.

    >>> x, gradient = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 4.0])     # of x₁² + 2 x₂²
    >>> history = History(memory=5, like=x)
    >>> history.write((torch.tensor([2.0, 2.0]), torch.tensor([4.0, 8.0])), (x, gradient))
    >>> products = history.products(gradient).tolist()
    >>> direction, slope = history.direction(gradient, float(gradient @ gradient), products)
    >>> len(history), slope < 0
    (1, True)
    """

    def __init__(self, memory: int, like: Tensor) -> None:
        self._most = memory + 1  # one slot more than pairs: for the pair that is written and not yet stored
        self._dtype = like.dtype
        # The slots (k, 2, n), in pieces: when all are in use, their number doubles. Most clicks take few steps.
        self._pieces: list[Tensor] = []
        self._order: list[int] = []  # slots of the stored pairs, oldest first
        self._spare = 0  # the slot of the pair written last; it and the stored ones are the first `_written` slots
        self._written = 0
        self._step_change = np.zeros((self._most, self._most))  # s_i · y_j for i no newer than j
        self._change_change = np.zeros((self._most, self._most))  # y_i · y_j
        self._resolution = torch.finfo(like.dtype).eps

    def __len__(self) -> int:
        """How many pairs are stored."""
        return len(self._order)

    def forget(self) -> None:
        """Drop all pairs: the next direction builds on its own pair only."""
        self._order.clear()

    def write(self, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor]) -> None:
        """Write the step and the gradient change between two points, each (x, gradient) of (n,)."""
        self._spare = min(set(range(self._most)) - set(self._order))
        self._written = len(self._order) + 1
        slots = sum(map(len, self._pieces))
        if self._spare == slots:
            more = min(max(1, slots), self._most - slots)
            self._pieces.append(there[0].new_empty((more, 2, there[0].numel()), dtype=self._dtype))
        for row, after, before in zip(self._pair(self._spare), there, here, strict=True):
            torch.sub(after, before, out=row)

    def products(self, gradient: Tensor) -> Tensor:
        """The inner products that `direction` needs to keep the written pair and to use it with this gradient."""
        change = self._pair(self._spare)[1]
        # mv twice, not one mm: matrix products may be set to reduced precision (TF32), too inexact here.
        return torch.cat([rows.mv(vector) for vector in (change, gradient) for rows in self._rows()])

    def _pair(self, slot: int) -> Tensor:
        """The step and the gradient change in a slot, (2, n)."""
        for piece in self._pieces:
            if slot < len(piece):
                return piece[slot]
            slot -= len(piece)
        raise IndexError(slot)

    def _rows(self) -> Iterator[Tensor]:
        """The written slots as matrices (2 k, n), steps and gradient changes in turn."""
        left = self._written
        for piece in self._pieces:
            if left > 0:
                yield piece[:left].flatten(0, 1)
            left -= len(piece)

    def direction(self, gradient: Tensor, square: float, products: Sequence[float]) -> tuple[Tensor, float]:
        """Store the written pair and give the direction (n,) from `gradient`, with its slope; no host synchronisation.

        square is |gradient|², products the result of `products` for the written pair and this gradient. A pair without
        positive curvature is dropped. If rounding makes the direction an ascent, the history is forgotten and steepest
        descent is returned.
        """
        with_change, with_gradient = np.asarray(products).reshape(2, self._written, 2)
        self._store(with_change)
        coefficients, own = self._coefficients(with_gradient)
        slope = float(np.vdot(coefficients, with_gradient)) + own * square
        if not (slope < 0.0 and np.isfinite(slope)):
            self.forget()
            return -gradient, -square
        # non_blocking: so few numbers are copied at once, and the host need not wait for the other rows' kernels.
        weights = torch.from_numpy(coefficients.reshape(-1)).to(gradient, non_blocking=gradient.is_cuda)
        direction, first = gradient * own, 0
        for rows in self._rows():
            direction.addmv_(rows.t(), weights[first : first + len(rows)])
            first += len(rows)
        return direction, slope

    def _store(self, with_change: np.ndarray) -> None:
        """Store the written pair if its curvature is positive beyond rounding, in place of the oldest if need be."""
        slot = self._spare
        curvature, square = with_change[slot]
        if not (np.isfinite(with_change).all() and curvature > self._resolution * square):
            return
        self._step_change[: self._written, slot] = with_change[:, 0]
        self._change_change[: self._written, slot] = self._change_change[slot, : self._written] = with_change[:, 1]
        self._order.append(slot)
        if len(self._order) == self._most:
            self._order.pop(0)

    def _coefficients(self, with_gradient: np.ndarray) -> tuple[np.ndarray, float]:
        """The direction as coefficients of the rows (slots, 2) and of the gradient."""
        steps, changes, own = np.zeros(self._written), np.zeros(self._written), -1.0
        gradient_steps, gradient_changes = with_gradient.T
        step_change = self._step_change[: self._written, : self._written]
        change_change = self._change_change[: self._written, : self._written]
        for i in reversed(self._order):
            product = own * gradient_steps[i] + step_change[i] @ changes
            steps[i] = product / step_change[i, i]
            changes[i] = -steps[i]
        if self._order:
            newest = self._order[-1]
            scale = float(step_change[newest, newest] / change_change[newest, newest])
            own, changes = own * scale, changes * scale
        of_steps = np.zeros(self._written)
        for i in self._order:
            product = own * gradient_changes[i] + change_change[i] @ changes + step_change[:, i] @ of_steps
            of_steps[i] = steps[i] - product / step_change[i, i]
        return np.stack([of_steps, changes], axis=1), own
