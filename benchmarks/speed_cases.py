"""Clicks on one network, point and size, all contestants in turn: seconds, evaluations, operations, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import interactify
from benchmarks.speed_contestants import OURS, Contestant, Ours, Outcome, contestants, part_of
from benchmarks.speed_cuts import Cut, built, normalised, photo_of
from benchmarks.speed_measure import operations
from interactify.evaluation import next_click
from interactify.evaluation.click_cost import middle_ellipse
from interactify.evaluation.timing import Clock, allocation, paired, spread


@dataclass(frozen=True)
class Effort:
    """How often a case is repeated: from `least` to `most` times, and not again after `seconds`."""

    least: int = 5
    most: int = 25
    seconds: float = 20.0

    def repetitions(self) -> Iterator[int]:
        start = time.perf_counter()
        for repetition in range(self.most):
            if repetition >= self.least and time.perf_counter() - start > self.seconds:
                return
            yield repetition


@dataclass(frozen=True)
class Clicks:
    """A case: `clicks` in a row on one photo of size × size pixels, at `point` ("input", "A", "B", "C")."""

    network: str
    point: str
    size: int
    clicks: int = 1

    @property
    def name(self) -> str:
        more = f", {self.clicks} clicks" if self.clicks > 1 else ""
        return f"{self.network} {self.point} {self.size}{more}"


@dataclass
class Played:
    """A script of clicks played once: seconds to open the photo, seconds of each click, and its outcome."""

    opening: float
    seconds: list[float]
    outcomes: list[Outcome]

    @property
    def passes(self) -> tuple[int, int]:
        """The numbers of forward and backward passes."""
        forward = sum(outcome.evaluations for outcome in self.outcomes)
        return forward, forward - sum(outcome.settled for outcome in self.outcomes)


def script(user_of: Contestant, photo: Tensor, clicks: int) -> list[interactify.Click]:
    """Clicks of the literature's simulated user, whose object is an ellipse in the middle; fewer without errors.

    The user sees the masks of one contestant, not the library, and all contestants get the same clicks.
    """
    truth = middle_ellipse((photo.shape[1], photo.shape[2]))
    clicked = np.zeros(truth.shape, bool)
    user_of.open(photo)
    mask, chosen = user_of.plain, []
    for _ in range(clicks):
        click = next_click(truth, mask, clicked)
        if click is None:
            break
        chosen.append(click)
        clicked[int(click.y), int(click.x)] = True
        mask = user_of.click(click).mask
    return chosen


def play(contestant: Contestant, photo: Tensor, clicks: Sequence[interactify.Click], clock: Clock) -> Played:
    """Open the photo and apply the clicks, each timed until its mask is computed."""
    opening, _ = clock(lambda: contestant.open(photo))
    played = Played(opening, [], [])
    for click in clicks:
        seconds, outcome = clock(lambda click=click: contestant.click(click))  # type: ignore[misc]
        played.seconds.append(seconds)
        played.outcomes.append(outcome)
    return played


@dataclass
class Bare:
    """The part that depends on the variables, run alone: the least cost of an evaluation."""

    cut: Cut
    cached: Any
    start: Tensor
    ones: Tensor

    @classmethod
    def of(cls, cut: Cut, image: Tensor) -> Bare:
        cached = cut.cached(image)
        return cls(cut, cached, cut.start(cached), torch.ones(1, 1, *image.shape[2:], device=image.device))

    def forward(self) -> Tensor:
        return self.cut.logits(self.cached, self.start.clone().requires_grad_(True))

    def both(self) -> Tensor:
        values = self.start.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.cut.logits(self.cached, values), values, self.ones)
        return gradient

    def seconds(self, clock: Clock, times: int = 5) -> tuple[float, float]:
        """Medians of a forward pass, and of one with its backward pass."""
        forward = [clock(self.forward)[0] for _ in range(times)]
        both = [clock(self.both)[0] for _ in range(times)]
        return spread(forward)["median"], spread(both)["median"]


def measure_clicks(case: Clicks, effort: Effort, peak: float, device: str = "cpu") -> dict[str, Any]:
    """One row of the table. `peak` is the device's floating-point operations a second."""
    clock, model, photo = Clock(device), built(case.network, case.size, device), photo_of((case.size, case.size))
    everyone = contestants(model, case.network, case.point, case.size, device)
    bare = Bare.of(part_of(model, case.point), normalised(photo, device))
    clicks = script(everyone[-1], photo, case.clicks)
    first = {each.name: play(each, photo, clicks, clock) for each in everyone}  # also warms all of them up
    for each in everyone:
        play(each, photo, clicks[:1], clock)
    bare.seconds(clock)
    image = normalised(photo, device)
    plain_seconds(model, image, clock)
    runs: dict[str, list[Played]] = {each.name: [] for each in everyone}
    bares: list[tuple[float, float]] = []
    plains: list[float] = []
    for repetition in effort.repetitions():
        turn = repetition % len(everyone)
        for each in everyone[turn:] + everyone[:turn]:
            runs[each.name].append(play(each, photo, clicks, clock))
        bares.append(bare.seconds(clock))
        plains.append(plain_seconds(model, image, clock))
    ours = everyone[0]
    found: dict[str, Any] = {
        "case": {**asdict(case), "name": case.name},
        "script": [click.to_json() for click in clicks],
        "repetitions": len(bares),
        "plain": spread(plains),
        "bare": {"forward": spread([f for f, _ in bares]), "both": spread([b for _, b in bares])},
        "contestants": {name: _row(played, runs[OURS], bares, plains, first[OURS]) for name, played in runs.items()},
    }
    found["operations"] = _operations(ours, photo, clicks, bare, device)
    total = spread([sum(played.seconds) for played in runs[OURS]])["median"]
    found["share_of_peak"] = found["operations"]["dependent"] / total / peak
    found["memory"] = measure_memory(case, photo, clicks[0], model, device)
    return found


@torch.no_grad()
def plain_seconds(model: torch.nn.Module, image: Tensor, clock: Clock, times: int = 5) -> float:
    """The median of plain forward passes of the whole network: what a click is compared with."""
    return spread([clock(lambda: model(image))[0] for _ in range(times)])["median"]


def _row(
    runs: list[Played],
    ours: list[Played],
    bares: list[tuple[float, float]],
    plains: list[float],
    judge: Played,
) -> dict[str, Any]:
    totals, count = [sum(played.seconds) for played in runs], len(runs[0].seconds)
    marks = [k for k in (1, 5, 20) if k < count] + [count]
    last = runs[-1].outcomes
    agreeing = [a.satisfied == b.satisfied for a, b in zip(last, judge.outcomes, strict=True)]
    exact = [forward * f + backward * (b - f) for (f, b), (forward, backward) in _with_passes(runs, bares)]
    return {
        "opening": spread([played.opening for played in runs]),
        "per_click": spread([total / count for total in totals]),
        "passes": paired([total / count for total in totals], plains),
        "after": {str(k): spread([sum(played.seconds[:k]) for played in runs]) for k in marks},
        "times_ours": paired(totals, [sum(played.seconds) for played in ours]),
        "evaluations": [outcome.evaluations for outcome in last],
        "settled": [outcome.settled for outcome in last],
        "satisfied_at_the_end": sum(last[-1].satisfied),
        "agrees_with_ours": all(agreeing),
        "overhead": paired(totals, [forward * b for (_, b), (forward, _) in _with_passes(runs, bares)]),
        "overhead_of_passes_made": paired(totals, exact),
        "seconds": [[round(value, 6) for value in played.seconds] for played in runs],
    }


def _with_passes(
    runs: list[Played], bares: list[tuple[float, float]]
) -> list[tuple[tuple[float, float], tuple[int, int]]]:
    return [(bare, played.passes) for bare, played in zip(bares, runs, strict=True)]


def _operations(
    ours: Contestant, photo: Tensor, clicks: Sequence[interactify.Click], bare: Bare, device: str
) -> dict[str, Any]:
    """Operations of our clicks, and those of the dependent part for as many passes."""
    ours.open(photo)
    outcomes: list[Outcome] = []
    run = operations(lambda: outcomes.extend(ours.click(click) for click in clicks))
    forward, backward = Played(0.0, [], outcomes).passes
    once, both = operations(bare.forward), operations(bare.both)
    dependent = forward * once + backward * (both - once)
    # A counter in Python doesn't see the operations of a replayed CUDA graph.
    counted = not (device.startswith("cuda") and isinstance(ours, Ours) and ours.net.options["cuda_graphs"])
    return {"run": run if counted else None, "dependent": dependent, "ratio": run / dependent if counted else None}


def measure_memory(
    case: Clicks, photo: Tensor, click: interactify.Click, model: torch.nn.Module, device: str
) -> dict[str, Any]:
    """Bytes kept for a network and a photo, and the most that a click, or one bare evaluation, needs in addition."""

    def opened() -> Ours:
        net = Ours(model, "input" if case.point == "input" else f"scale_bias@{case.point}", case.size)
        net.open(photo)
        net.click(click)
        return net

    image = normalised(photo, device)
    _, kept, ours = allocation(opened, device)
    ours.open(photo)
    working, _, _ = allocation(lambda: ours.click(click), device)
    _, kept_bare, bare = allocation(lambda: Bare.of(part_of(model, case.point), image), device)
    bare.both()
    working_bare, _, _ = allocation(bare.both, device)
    return {
        "kept": kept,
        "click": working,
        "kept_bare": kept_bare,
        "bare": working_bare,
        "ratio": working / working_bare,
        "ratio_with_kept": (kept + working) / (kept_bare + working_bare),
    }
