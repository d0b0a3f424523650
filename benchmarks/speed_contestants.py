"""The timed contestants: this library by its public API, the published method, and torch's own L-BFGS.

All minimise the same energy of the same clicks, from the variables of the last click. They end at the evaluation at
which every clicked logit is past the margin, without its backward pass, or after 40, and return a mask. They differ in
the part of the network they run for an evaluation, and in their solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor, nn

import interactify
from benchmarks.speed_cuts import MEAN, STD, Cut, Head, Whole, inertia, normalised, points_of
from interactify.brs.energy import Margin

MARGIN, AIM, INERTIA, MOST_EVALUATIONS = 3.0, 4.0, 1e-3, 40
OURS = "interactify"


@dataclass(frozen=True)
class Outcome:
    """The result of a click.

    Attributes:
        evaluations: how many it took.
        settled: whether the last one reached the goal, and so had no backward pass.
        mask: (H, W) bool.
        satisfied: for each click whether it has its label in the mask.
    """

    evaluations: int
    settled: bool
    mask: NDArray[np.bool_]
    satisfied: tuple[bool, ...]


class Contestant(Protocol):
    """A program that follows clicks on one photo at a time; `plain` (H, W) is the open photo's mask before them."""

    name: str
    plain: NDArray[np.bool_]

    def open(self, photo: Tensor) -> None:
        """Open a photo (3, H, W) in [0, 1]: run all that is possible before a click, with the plain mask."""

    def click(self, click: interactify.Click) -> Outcome:
        """Add a click to all earlier ones."""


class Ours:
    """The library, by its public API; one wrapped network for all photos, as in normal use."""

    name = OURS

    def __init__(self, model: nn.Module, variables: str, size: int, **options: Any) -> None:
        # The photo has the size of the network's input, is used as a whole, and the network's map is not changed
        # afterwards: the other contestants work like that. Nor do they hold the mask before a click.
        self.net = interactify.wrap(
            model,
            variables=variables,
            energy=Margin(hold=0.0),
            resolution=size,
            mean=MEAN,
            std=STD,
            zoom=False,
            propagation="none",
            max_evaluations=MOST_EVALUATIONS,
            **options,
        )

    def open(self, photo: Tensor) -> None:
        self.session = self.net.session(photo)
        self.plain = self.session.result.mask

    def click(self, click: interactify.Click) -> Outcome:
        result = self.session.click(x=click.x, y=click.y, positive=click.positive)
        unsatisfied = result.unsatisfied
        right = tuple(c not in unsatisfied for c in result.clicks)
        return Outcome(result.evaluations, result.status == "done", result.mask, right)


class Settled(Exception):
    """Every clicked logit is past the margin; raised to end the minimisation."""


class Exhausted(Exception):
    """The maximum number of evaluations is reached."""


class Problem:
    """The energy of some clicks over the variables of a cut, and the best point so far."""

    def __init__(self, cut: Cut, cached: Any, clicks: list[interactify.Click], device: torch.device) -> None:
        self.cut, self.cached = cut, cached
        self.rows = torch.tensor([int(click.y) for click in clicks], device=device)
        self.columns = torch.tensor([int(click.x) for click in clicks], device=device)
        self.signs = torch.tensor([1.0 if click.positive else -1.0 for click in clicks], device=device)
        self.evaluations = 0
        self.value = 0.0  # of the last evaluation, on the host
        self.best: tuple[float, Tensor, Tensor] | None = None

    def energy(self, values: Tensor) -> Tensor:
        """E of values that require a gradient, 0-d. Raises Settled at the goal."""
        self.evaluations += 1
        logits = self.cut.logits(self.cached, values)
        signed = self.signs * logits[0, 0, self.rows, self.columns]
        energy = (AIM - signed).relu().square().sum() + INERTIA * inertia(values)
        # One transfer for both, so that the host waits for the device once.
        self.value, past = torch.stack([energy.detach(), (signed.detach() >= MARGIN).all().to(energy.dtype)]).tolist()
        if past or self.best is None or self.value < self.best[0]:
            self.best = self.value, values.detach().clone(), logits.detach()
        if past:
            raise Settled
        if self.evaluations == MOST_EVALUATIONS:
            raise Exhausted
        return energy


Solve = Callable[[Problem, Tensor], None]


def with_scipy(problem: Problem, start: Tensor) -> None:
    """SciPy's L-BFGS-B on the host in float64, with the settings of f-BRS's released code."""

    def fun(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        values = torch.from_numpy(x).to(start.device, start.dtype).view(start.shape).requires_grad_(True)
        energy = problem.energy(values)
        (gradient,) = torch.autograd.grad(energy, values)
        return problem.value, gradient.reshape(-1).cpu().numpy().astype(np.float64)

    x0 = start.reshape(-1).cpu().numpy().astype(np.float64)
    fmin_l_bfgs_b(fun, x0, m=20, factr=0, pgtol=1e-8, maxfun=MOST_EVALUATIONS, maxiter=MOST_EVALUATIONS)


def with_torch(problem: Problem, start: Tensor) -> None:
    """torch.optim.LBFGS with its strong Wolfe line search."""
    values = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [values],
        lr=1,
        max_iter=MOST_EVALUATIONS,
        max_eval=MOST_EVALUATIONS,
        history_size=20,
        tolerance_grad=1e-8,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        energy = problem.energy(values)
        energy.backward()
        return energy

    optimiser.step(closure)


class Others:
    """A cut of the network with a solver."""

    def __init__(self, name: str, cut: Cut, solve: Solve, device: str = "cpu") -> None:
        self.name, self.cut, self.solve, self.device = name, cut, solve, torch.device(device)

    def open(self, photo: Tensor) -> None:
        self.cached = self.cut.cached(normalised(photo, self.device))
        self.values = self.cut.start(self.cached)
        self.clicks: list[interactify.Click] = []
        with torch.no_grad():
            self.plain = (self.cut.logits(self.cached, self.values)[0, 0] > 0).cpu().numpy()

    def click(self, click: interactify.Click) -> Outcome:
        self.clicks.append(click)
        problem = Problem(self.cut, self.cached, self.clicks, self.device)
        settled = False
        try:
            self.solve(problem, self.values)
        except Settled:
            settled = True
        except Exhausted:
            pass
        assert problem.best is not None
        _, self.values, logits = problem.best
        mask = (logits[0, 0] > 0).cpu().numpy()
        right = tuple(bool(mask[int(c.y), int(c.x)]) == c.positive for c in self.clicks)
        return Outcome(problem.evaluations, settled, mask, right)


def contestants(model: nn.Module, network: str, point: str, size: int, device: str = "cpu") -> list[Contestant]:
    """All contestants for a network and a point of the variables ("input", "A", "B", "C"), the library first."""
    variables = "input" if point == "input" else f"scale_bias@{point}"
    layer = None if point == "input" else points_of(network)[point]
    forms: list[Cut] = [Whole(model, layer)]
    if point != "input":  # at the input, the head is the whole network
        forms.append(Head(model, point))
    solvers: list[tuple[str, Solve]] = [("SciPy", with_scipy), ("torch.optim", with_torch)]
    rest = [Others(f"{solver}, {cut.form}", cut, solve, device) for solver, solve in solvers for cut in forms]
    return [Ours(model, variables, size), *rest]


def part_of(model: nn.Module, point: str) -> Cut:
    """The part that depends on the variables, run without solver and energy."""
    return Whole(model, None) if point == "input" else Head(model, point)
