"""The training loop: draws batches, moves weights, averages them, validates, and goes on after any interruption.

Each step's random numbers come from the seed and the step alone. So a training that was killed and goes on draws the
same batches as one that was not.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from interactify.errors import OptionError, TrainingError
from interactify.export.files import prepare_folder
from interactify.learning import checkpoint
from interactify.learning.checkpoint import Progress
from interactify.learning.curves import draw_curves
from interactify.learning.parts import Group, in_training_mode, only_trained, optimiser_groups

STATE = "training.pt"
CURVES = "curves.svg"
_AHEAD = 2  # batches drawn while the network trains
_LOG_EVERY = 20  # steps


class Task(Protocol):
    """What is learned: where batches come from, what their loss is, and how good a network is."""

    def draw(self, generator: torch.Generator, count: int, done: float) -> Any:
        """A batch of `count` samples on the CPU; `done` is the share of the training that is over, 0 to 1."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """The loss of a batch, 0-d, differentiable in the network's weights."""

    def score(self, network: nn.Module) -> float:
        """How good a network in evaluation mode is on the validation part: the higher the better."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training.

    Attributes:
        steps: how many steps; or
        minutes: how long, counted over all runs. One of both is given: with minutes the schedule follows the clock, so
            that it fits any machine, and two trainings differ.
        batch: samples for each forward pass.
        accumulate: forward passes for each step, whose gradients are added.
        learning_rate: at its highest. It rises over `warmup` steps and falls along a cosine to a thousandth.
        weight_decay: of AdamW, for weights of convolutions and matrices.
        warmup: steps.
        clip: the largest norm of a gradient.
        average: how much of the averaged weights stays in each step; the averaged weights are what a training gives.
        precision: "auto" for bfloat16 where the hardware has it, else "float32" or "bfloat16".
        seed: of the batches.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    average: float = 0.998
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        lengths = [each for each in (self.steps, self.minutes) if each is not None]
        if len(lengths) != 1 or not 0 < lengths[0] < math.inf:
            raise OptionError(
                f"Expected a number of steps or of minutes above 0, got steps={self.steps!r}, minutes={self.minutes!r}."
            )
        for name in ("batch", "accumulate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"Expected {name} to be a whole number of 1 or more, got {value!r}.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise OptionError(f"Expected precision to be auto, float32 or bfloat16, got {self.precision!r}.")

    def done(self, progress: Progress) -> float:
        """The share of the training that is over, 0 to 1."""
        if self.steps is not None:
            return progress.step / self.steps
        assert self.minutes is not None
        return progress.seconds / (60 * self.minutes)

    def rate(self, progress: Progress) -> float:
        """The learning rate now, relative to the highest."""
        warm = min(1.0, (progress.step + 1) / max(1, self.warmup))
        return warm * (0.5 * (1 + math.cos(math.pi * min(1.0, self.done(progress)))) + 1e-3)


def train(
    network: nn.Module,
    task: Task,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    groups: Sequence[Group],
    device: torch.device | str | None = None,
    validate_every: int = 500,
    save_every: float = 60.0,
    progress_bar: bool = True,
) -> Progress:
    """Train a network in place; at the end its weights are the averaged ones, and it is in evaluation mode.

    Where `folder` holds the state of an unfinished training with the same recipe, that training goes on.

    Args:
        network: the network; it moves to `device` for the training and back afterwards.
        task: what it learns.
        recipe: the settings.
        folder: for `training.pt`, from which a training goes on, and `curves.svg`, loss and score over the steps.
        groups: which weights are trained (`groups_of`).
        device: where; by default CUDA where there is one.
        validate_every: steps between two scores of the averaged weights; the last one is always given.
        save_every: seconds between two savings of the state.
        progress_bar: show a progress bar.

    Returns:
        How it went: steps, seconds, losses and scores.

    Raises:
        OptionError: the folder can't be written to.
        CheckpointError: the state in the folder is damaged, or of another recipe.
        TrainingError: the loss is no longer a finite number. The state of the last saving is kept.
    """
    into = prepare_folder(folder)
    home = next(network.parameters()).device
    there = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network.to(there, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _Run(network, task, recipe, into / STATE, tuple(groups), there)
    try:
        with only_trained(network, groups):
            run.to_the_end(validate_every, save_every, progress_bar)
    finally:
        network.to(home)
    return run.progress


class _Run:
    """One process's part of a training."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        path: Path,
        groups: tuple[Group, ...],
        device: torch.device,
    ) -> None:
        self.network, self.task, self.recipe, self.path, self.groups = network, task, recipe, path, groups
        self.device = device
        self.averaged = copy.deepcopy(network)
        self.optimiser = torch.optim.AdamW(optimiser_groups(network, groups, recipe.learning_rate, recipe.weight_decay))
        self.progress = Progress()
        self.autocast = _autocast(recipe.precision, device)
        found = checkpoint.load(path, asdict(recipe))
        if found is not None:
            self.progress, states = found
            network.load_state_dict(states["network"])
            self.averaged.load_state_dict(states["averaged"])
            self.optimiser.load_state_dict(states["optimiser"])

    def to_the_end(self, validate_every: int, save_every: float, progress_bar: bool) -> None:
        recipe, progress = self.recipe, self.progress
        in_training_mode(self.network, self.groups)
        bar = tqdm(total=100, desc="training", disable=not progress_bar, bar_format=_BAR)
        bar.update(round(100 * min(1.0, recipe.done(progress)), 1))
        recent: list[float] = []
        saved = started = time.monotonic()
        before = progress.seconds
        batches = self._batches()
        while recipe.done(progress) < 1:
            recent.append(self._step(next(batches)))
            progress.step += 1
            progress.seconds = before + time.monotonic() - started
            last = recipe.done(progress) >= 1
            if progress.step % _LOG_EVERY == 0 or last:
                progress.losses.append((progress.step, sum(recent) / len(recent)))
                recent.clear()
                bar.update(round(100 * min(1.0, recipe.done(progress)) - bar.n, 1))
                bar.set_postfix(step=progress.step, loss=f"{progress.losses[-1][1]:.3f}", **self._last_score())
            if progress.step % validate_every == 0 or last:
                progress.scores.append((progress.step, self.task.score(self.averaged.eval())))
                draw_curves(self.path.with_name(CURVES), progress.losses, progress.scores)
            if time.monotonic() - saved > save_every or last:
                self._save()
                saved = time.monotonic()
        bar.close()
        batches.close()
        self.network.load_state_dict(self.averaged.state_dict())
        self.network.eval()

    def _step(self, batch: Sequence[Any]) -> float:
        """One step of the optimiser; returns the mean loss of its batches."""
        rate, total = self.recipe.rate(self.progress), 0.0
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * rate
        self.optimiser.zero_grad(set_to_none=True)
        for part in batch:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                loss = self.task.loss(self.network, _moved(part, self.device)) / len(batch)
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise TrainingError(
                f"Expected a finite loss, got {total} at step {self.progress.step}. Try a lower learning rate; the "
                f"state before it is in {self.path}."
            )
        trained = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(trained, self.recipe.clip)
        self.optimiser.step()
        step = self.progress.step
        average(self.averaged, self.network, min(self.recipe.average, (step + 1) / (step + 10)))
        return total

    def _batches(self) -> Generator[Sequence[Any], None, None]:
        """The batches from the present step on, drawn ahead in another thread."""
        recipe = self.recipe

        def drawn(step: int, done: float) -> list[Any]:
            # torch looks at 32 bits of a seed only: both numbers are mixed into them.
            mixed = int(np.random.SeedSequence([recipe.seed, step]).generate_state(1)[0])
            generator = torch.Generator().manual_seed(mixed)
            return [self.task.draw(generator, recipe.batch, done) for _ in range(recipe.accumulate)]

        with ThreadPoolExecutor(1) as pool:
            first = self.progress.step
            ahead: list[Future[list[Any]]] = []
            try:
                while True:
                    while len(ahead) <= _AHEAD:
                        step = first + len(ahead)
                        done = recipe.done(Progress(step, self.progress.seconds))
                        ahead.append(pool.submit(drawn, step, min(1.0, done)))
                    first += 1
                    yield ahead.pop(0).result()
            finally:
                for each in ahead:
                    each.cancel()

    def _save(self) -> None:
        states = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        checkpoint.save(self.path, asdict(self.recipe), self.progress, states)

    def _last_score(self) -> dict[str, str]:
        return {"score": f"{self.progress.scores[-1][1]:.3f}"} if self.progress.scores else {}


_BAR = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    """Exponential moving average of weights and statistics: what `averaged` has moves towards `network`."""
    for old, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        wide = batch.ndim == 4 and batch.shape[1] > 1
        return batch.to(device, memory_format=torch.channels_last if wide else torch.preserve_format)
    if isinstance(batch, (list, tuple)):
        return [_moved(each, device) for each in batch]
    return batch.to(device) if callable(getattr(batch, "to", None)) else batch


def _autocast(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: by itself only where the hardware has it, since elsewhere it is slower."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private, but there is no public question: without these instructions a convolution in bfloat16 is emulated.
    has = (getattr(torch.cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(bool(each()) for each in has)
