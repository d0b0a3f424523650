"""The search direction from a history of steps: L-BFGS's two loops, run on coefficients instead of vectors.

Liu and Nocedal, 'On the limited memory BFGS method', Math. Programming 45 (1989); the coefficients: Chen, Wang and
Zhou, 'Large-scale L-BFGS using MapReduce', NIPS 2014. The direction is a combination of the kept steps, the kept
gradient changes and the gradient; which one follows from their inner products alone. So the long vectors never leave
the device: two matrix-vector products give the new inner products, one transfer brings them to the host, and one
product makes the direction.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class History:
    """The last `memory` steps s and gradient changes y, and their inner products s·y and y·y (host, float64).

    >>> x, gradient = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 4.0])     # of x₁² + 2 x₂²
    >>> history = History(memory=5, like=x)
    >>> direction, slope = history.direction(gradient, before=torch.tensor([4.0, 8.0]), step=torch.tensor([-1.0, -1.0]))
    >>> len(history), slope < 0
    (1, True)
    """

    def __init__(self, memory: int, like: Tensor) -> None:
        # One slot more than is kept: a pair is written first and judged by its inner products afterwards.
        self._rows = torch.empty((memory + 1, 2, like.numel()), dtype=like.dtype, device=like.device)
        self._order: list[int] = []  # slots of the kept pairs, oldest first
        self._written = 0  # slots below this one hold numbers
        self._step_change = np.zeros((memory + 1, memory + 1))  # s_i · y_j for i no newer than j
        self._change_change = np.zeros((memory + 1, memory + 1))  # y_i · y_j
        self._resolution = torch.finfo(like.dtype).eps

    def __len__(self) -> int:
        """How many pairs are kept."""
        return len(self._order)

    def forget(self) -> None:
        """Drop all pairs: the next direction builds on its own pair only."""
        self._order.clear()

    def direction(self, gradient: Tensor, before: Tensor, step: Tensor) -> tuple[Tensor, float]:
        """Take in the step (n,) from the gradient `before` to `gradient`; give the direction (n,) and its slope.

        A pair without positive curvature is not kept. Where rounding makes the direction an ascent, the history
        is forgotten and steepest descent is returned.
        """
        spare = min(set(range(len(self._rows))) - set(self._order))
        self._rows[spare, 0].copy_(step)
        torch.sub(gradient, before, out=self._rows[spare, 1])
        self._written = max(self._written, spare + 1)
        rows = self._rows[: self._written].flatten(0, 1)
        # mv twice, not one mm: matrix products may be set to reduced precision (TF32), which these numbers can't bear.
        products = torch.cat([rows.mv(rows[2 * spare + 1]), rows.mv(gradient), gradient.dot(gradient).unsqueeze(0)])
        *pairwise, square = products.tolist()  # the one host synchronisation
        with_change, with_gradient = np.asarray(pairwise).reshape(2, self._written, 2)
        self._keep(spare, with_change)
        coefficients, own = self._coefficients(with_gradient)
        slope = float(np.vdot(coefficients, with_gradient)) + own * square
        if not (slope < 0.0 and np.isfinite(slope)):
            self.forget()
            return -gradient, -square
        weights = torch.from_numpy(coefficients.reshape(-1)).to(gradient)
        return torch.addmv(gradient, rows.t(), weights, beta=own), slope

    def _keep(self, slot: int, with_change: np.ndarray) -> None:
        """Keep the pair in `slot` if its curvature is positive beyond rounding, in place of the oldest if need be."""
        curvature, square = with_change[slot]
        if not (np.isfinite(with_change).all() and curvature > self._resolution * square):
            return
        self._step_change[: self._written, slot] = with_change[:, 0]
        self._change_change[: self._written, slot] = self._change_change[slot, : self._written] = with_change[:, 1]
        self._order.append(slot)
        if len(self._order) == len(self._rows):
            self._order.pop(0)

    def _coefficients(self, with_gradient: np.ndarray) -> tuple[np.ndarray, float]:
        """The direction as coefficients of the rows (slots, 2) and of the gradient."""
        steps, changes, own = np.zeros(self._written), np.zeros(self._written), -1.0
        gradient_steps, gradient_changes = with_gradient.T
        step_change, change_change = self._step_change[: self._written], self._change_change[: self._written]
        for i in reversed(self._order):
            product = own * gradient_steps[i] + step_change[i, : self._written] @ changes
            steps[i] = product / step_change[i, i]
            changes[i] = -steps[i]
        if self._order:
            newest = self._order[-1]
            scale = float(step_change[newest, newest] / change_change[newest, newest])
            own, changes = own * scale, changes * scale
        kept = np.zeros(self._written)
        for i in self._order:
            product = own * gradient_changes[i] + change_change[i, : self._written] @ changes + step_change[:, i] @ kept
            kept[i] = steps[i] - product / step_change[i, i]
        return np.stack([kept, changes], axis=1), own
