"""Corrective energies: what a click with the wrong label costs, and when all clicks are satisfied.

Each gives the corrective energy E_C from the logits at the clicks. The whole energy is E = E_C + E_H + λ·E_I, where
E_I is the inertial energy of the variables (`network/variables.py`), λ is the energy's `inertia`, and E_H holds the
mask before the click (`hold.py`) where the energy has a `hold`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, Final, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import OptionError

FAR: Final = 6.0  # how far from 0 the logits of most networks reach at least; margins are chosen for them


class Energy(Protocol):
    """A corrective energy. `logits` are (n, s): n clicks, each a square of s pixels; `labels` (n,) bool.

    `weights` (n,) are the clicks' relative weights in the energy; None for 1 each. All members are required, as
    attributes or properties; `energy_named` checks them. An energy may also have a number `hold`, as `Margin` has.
    """

    @property
    def name(self) -> str:
        """How results and `describe()` call it."""

    @property
    def square(self) -> int:
        """How many pixels the square around a click extends to each side: 0 for 1 × 1, 1 for 3 × 3."""

    @property
    def inertia(self) -> float:
        """λ, the weight of the inertial energy."""

    @property
    def lower_bound(self) -> float | None:
        """A value that E can't fall below, from which the solver guesses its first step.

        None if none helps, as for energies that saturate.
        """

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """E_C, 0-d, differentiable."""

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """0-d bool: the energy's goal is reached at every click, and the minimisation may stop."""


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
    every square has a probability above 0.51 of its label, so the clicked pixels have too.
    """

    name: str = "fbrs"
    square: int = 1
    inertia: float = 1e-3
    lower_bound: float | None = None
    past: float = 0.51

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        squares = _error(logits, labels).square().mean(1)
        each = torch.ones_like(squares) if weights is None else weights.to(squares.dtype)
        least = torch.finfo(squares.dtype).tiny  # so that the mean of a polarity without clicks is 0, not 0 / 0
        shares = [own / own.sum().clamp(min=least) for own in (each * labels, each * ~labels)]
        return (squares * (shares[0] + shares[1])).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (torch.sigmoid(_signed(logits, labels)) > self.past).all()


@dataclass(frozen=True)
class Margin:
    """A squared hinge on the logits: Σ max(0, aim − ±z)², stopping when every ±z is past the margin.

    Probabilities saturate and logits do not, so a click far on the wrong side still has a gradient; and a click pushed
    past 0.5 by a margin takes its surroundings along. The aim lies beyond the margin because inertia keeps the minimum
    of the whole energy short of the aim.

    `hold` is how much the mask before a click is held away from it, in `interactify.refinement.held`; 0 for not at all.

    `gain` is what logits are multiplied by first; None for 1, or what sessions find for a photo by `reaching`:
    a network whose own logits are small everywhere may never get past the margin, or only by many evaluations.
    """

    margin: float = 3.0
    aim: float = 4.0
    name: str = "margin"
    square: int = 0
    inertia: float = 1e-3
    lower_bound: float | None = 0.0
    hold: float = 10.0
    gain: float | None = field(default=None, repr=False)  # not in the text by which session files compare energies

    def reaching(self, reach: float) -> Margin:
        """This energy for a network whose own logits reach that far from 0: with a gain above 1 where that is short.

        >>> Margin().reaching(9.0).gain, Margin().reaching(2.0).gain, Margin(gain=1.0).reaching(2.0).gain
        (1.0, 3.0, 1.0)
        """
        if self.gain is not None:
            return self
        return replace(self, gain=gain_for(reach))

    def corrective(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return _weighted(F.relu(self.aim - self._scaled(logits, labels)).square(), weights).sum()

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (self._scaled(logits, labels) >= self.margin).all()

    def _scaled(self, logits: Tensor, labels: Tensor) -> Tensor:
        signed = _signed(logits, labels)
        return signed if self.gain is None or self.gain == 1 else self.gain * signed


@dataclass(frozen=True)
class Settling(Margin):
    """A margin that settles for less after some evaluations: clicks that crowd keep each other short of the whole one.

    `patience` is how many evaluations the whole margin is waited for; from the next one on, `enough` will do. Sessions
    wait for the whole one unless a click repairs a part of a steady mask (`interactify.refinement.careful`).

    >>> energy, logits, labels = Settling(), torch.tensor([[2.0]]), torch.tensor([True])
    >>> [bool(goal_at(energy, evaluation).reached(logits, labels)) for evaluation in (1, 3, 4)]
    [False, False, True]
    """

    name: str = "settling"
    enough: float = 1.0
    patience: int = 3


def goal_at(energy: Energy, evaluation: int) -> Energy:
    """The energy whose goal is to be reached at an evaluation of a refinement, counted from 1."""
    if isinstance(energy, Settling) and evaluation > energy.patience:
        return replace(energy, margin=min(energy.margin, energy.enough))
    return energy


def _signed(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits with their sign changed for background clicks: positive where a pixel has its label."""
    return torch.where(labels[:, None], logits, -logits)


def _weighted(squares: Tensor, weights: Tensor | None) -> Tensor:
    return squares if weights is None else squares * weights[:, None].to(squares.dtype)


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """|l − y| without the cancellation of 1 − y near 1."""
    return torch.sigmoid(-_signed(logits, labels))


def _is_number(value: object, kind: type = Real) -> bool:
    """Whether a value is a finite number of that kind; numpy's scalars are numbers too, booleans are not."""
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]


# What each member of an `Energy` has to be, in words and as a check.
_MEMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a text", lambda value: isinstance(value, str)),
    "square": ("a whole number of 0 or more", lambda value: _is_number(value, Integral) and value >= 0),
    "inertia": ("a number of 0 or more", lambda value: _is_number(value) and value >= 0),
    "lower_bound": ("a number, or None", lambda value: value is None or _is_number(value)),
    "corrective": ("a method (logits, labels, weights=None) that gives a 0-d tensor", callable),
    "reached": ("a method (logits, labels) that gives a 0-d tensor of bool", callable),
}
ENERGIES = {"brs": SumOfSquares, "fbrs": MeanPerPolarity, "margin": Margin, "settling": Settling}


def usual_energy(sides: int) -> Energy:
    """The best one for networks of pictures, of 2 sides, and of volumes, of 3, in which settling was not measured.

    >>> usual_energy(2).name, usual_energy(3).name
    ('settling', 'margin')
    """
    return Settling() if sides == 2 else Margin()


def energy_named(energy: str | Energy) -> Energy:
    """The energy of that name ("margin", "settling", "brs", "fbrs"), or the given one, with all its members checked.

    Raises:
        OptionError: an unknown name, or an object that lacks a member of `Energy` or has one of another kind.

    >>> energy_named("fbrs").square
    1
    """
    if isinstance(energy, str) and energy in ENERGIES:
        return ENERGIES[energy]()
    missing = [member for member in _MEMBERS if not hasattr(energy, member)]
    if isinstance(energy, (str, type)) or len(missing) == len(_MEMBERS):
        raise OptionError(
            f"Expected energy to be one of {', '.join(ENERGIES)}, or an Energy object, got {energy!r}. Try 'margin'."
        )
    if missing:
        raise OptionError(
            f"Expected an energy with {', '.join(_MEMBERS)}, got {type(energy).__name__} without {', '.join(missing)}. "
            f"Try adding {missing[0]}: {_MEMBERS[missing[0]][0]}."
        )
    for member, (kind, is_valid) in _MEMBERS.items():
        if not is_valid(value := getattr(energy, member)):
            raise OptionError(
                f"Expected {member} of an energy to be {kind}, got {value!r}. Try {', '.join(ENERGIES)} to compare."
            )
    gain = getattr(energy, "gain", None)
    if gain is not None and not (_is_number(gain) and gain > 0):
        raise OptionError(f"Expected gain of an energy to be a number above 0, or None, got {gain!r}. Try None.")
    hold = hold_of(energy)
    if not _is_number(hold) or hold < 0:
        raise OptionError(
            f"Expected hold of an energy to be a number of 0 or more, got {hold!r}. Try 0 to hold nothing."
        )
    return energy


def gain_for(reach: float) -> float:
    """By how much logits that reach that far from 0 have to be multiplied to reach as far as most networks' do.

    >>> gain_for(9.0), gain_for(2.0), gain_for(0.0)
    (1.0, 3.0, 1.0)
    """
    return FAR / reach if 0 < reach < FAR else 1.0


def energy_reaching(energy: Energy, reach: float) -> Energy:
    """An energy for a network whose own logits reach that far from 0: `Margin.reaching`, others as they are."""
    return cast(Energy, energy.reaching(reach)) if isinstance(energy, Margin) else energy


def energy_settling(energy: Energy, part: bool) -> Energy:
    """An energy for clicks that repair a part of a steady mask, or more: only the former may settle for less.

    >>> energy_settling(Settling(), False).enough, energy_settling(Settling(), True).enough
    (3.0, 1.0)
    """
    return energy if part or not isinstance(energy, Settling) else replace(energy, enough=energy.margin)


def hold_of(energy: Energy) -> float:
    """How much an energy holds of the mask before a click: its `hold`, 0 for one that has none."""
    hold: float = getattr(energy, "hold", 0.0)
    return hold
