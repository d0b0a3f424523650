"""Energies: what it costs that a click has the wrong label, and when all have the right one.

Each gives E_C from the logits at the clicks; the whole energy is E = E_C + λ·E_I, where E_I is the variables' own
(`variables.py`) and λ is the energy's `inertia`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import OptionError


class Energy(Protocol):
    """A corrective energy. `logits` are (n, s): n clicks, each a square of s pixels; `labels` (n,) bool.

    `weights` (n,) say how much each counts beside the others; None for 1 each.
    """

    name: str
    square: int
    inertia: float
    lower_bound: float | None  # known, it gives the solver its first step; None where energies saturate

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """E_C, 0-d, differentiable."""

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """0-d bool: every click is where this energy wants it; the minimisation may stop."""


@dataclass(frozen=True)
class SumOfSquares:
    """BRS's energy: Σ (l − y)² over the clicked pixels, λ = 1e-3 (Jang & Kim, CVPR 2019, section 3.2).

    Stops as soon as every clicked pixel has |y − l| < 0.5.
    """

    name: str = "brs"
    square: int = 0
    inertia: float = 1e-3
    lower_bound: float | None = None

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return _weighted(_error(logits, labels).square(), weights).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (_signed(logits, labels) > 0).all()


@dataclass(frozen=True)
class MeanPerPolarity:
    """f-BRS's energy: the mean of (l − y)² over the foreground clicks plus that over the background ones.

    Each click is a 3 × 3 square (Sofiiuk et al., CVPR 2020; settings of the released code). Stops when every pixel of
    every square is past 0.51 on its side, so that the clicked pixels themselves certainly are.
    """

    name: str = "fbrs"
    square: int = 1
    inertia: float = 1e-3
    lower_bound: float | None = None
    past: float = 0.51

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        squares = _error(logits, labels).square().mean(1)
        each = torch.ones_like(squares) if weights is None else weights.to(squares.dtype)
        least = torch.finfo(squares.dtype).tiny  # of a polarity that no click has, the mean is 0
        shares = [own / own.sum().clamp(min=least) for own in (each * labels, each * ~labels)]
        return (squares * (shares[0] + shares[1])).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (torch.sigmoid(_signed(logits, labels)) > self.past).all()


@dataclass(frozen=True)
class Margin:
    """A squared hinge on the logits: Σ max(0, aim − ±z)², stopping when every ±z is past the margin.

    Probabilities saturate, logits do not, so a click deep on the wrong side still pulls; and a click pushed past 0.5
    by a margin takes its surroundings along. The aim lies beyond the margin because inertia keeps the minimum of
    the whole energy short of it.
    """

    margin: float = 3.0
    aim: float = 4.0
    name: str = "margin"
    square: int = 0
    inertia: float = 1e-3
    lower_bound: float | None = 0.0

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return _weighted(F.relu(self.aim - _signed(logits, labels)).square(), weights).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (_signed(logits, labels) >= self.margin).all()


def _signed(logits: Tensor, labels: Tensor) -> Tensor:
    """Positive where a pixel has its label."""
    return torch.where(labels[:, None], logits, -logits)


def _weighted(squares: Tensor, weights: Tensor | None) -> Tensor:
    return squares if weights is None else squares * weights[:, None].to(squares.dtype)


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """|l − y| without the cancellation of 1 − y near 1."""
    return torch.sigmoid(-_signed(logits, labels))


ENERGIES = {"brs": SumOfSquares, "fbrs": MeanPerPolarity, "margin": Margin}


def energy_named(energy: str | Energy) -> Energy:
    """The energy of that name ("margin", "brs", "fbrs"), or the one given.

    Raises:
        OptionError: for anything else.
    """
    if isinstance(energy, str) and energy in ENERGIES:
        return ENERGIES[energy]()
    if (
        not isinstance(energy, (str, type))
        and callable(getattr(energy, "corrective", None))
        and callable(getattr(energy, "reached", None))
    ):
        return energy
    raise OptionError(f"Expected energy to be one of {', '.join(ENERGIES)}, or an Energy; got {energy!r}.")
