"""What a click costs with a user's network on a photo: passes a click, seconds, evaluations, memory.

A pass is one plain forward pass of the network. Measured in passes, a click can be compared between networks and
machines: the network's own size and the processor's speed cancel out.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Final, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from interactify.brs import SteeringEnded
from interactify.errors import OptionError
from interactify.evaluation.timing import Clock, allocation, spread
from interactify.interactions.click import Click
from interactify.interactions.next_click import next_click
from interactify.interactive import Interactive
from interactify.network.network import Network
from interactify.pictures.picture import Picture, PictureLike
from interactify.runtime.pass_cache import Passes

SECONDS: Final = 40.0  # what it takes by default: with the wrapping, all is over within a minute
_PASSES: Final = 3  # plain passes for each round, of which the median counts
_ROUNDS: Final = 8  # more would not change the medians of a machine that does nothing else


@dataclass(frozen=True)
class ClickCost:
    """The cost of a click; prints as a table. Spreads have a "median" and the quartiles "q1" and "q3".

    Attributes:
        size: (H, W) of the photo.
        seen: (h', w'), the size at which the network saw it whole.
        device, threads, dtype: where, with how many processor threads, and in which type the network computes.
        clicks, rounds: how many clicks in a row, and how often they were repeated.
        warm: False where time was too short to repeat them: then the first clicks are what was measured.
        passes: seconds of a click ÷ seconds of a plain pass of the same round.
        seconds: of a click, until its mask is there.
        plain: seconds of one forward pass of the network alone, without gradients.
        opening: seconds to open the photo, without reading its file.
        evaluations: how often a click ran the network, or the part that it needs, with gradient.
        steering: seconds of a pass with its gradient that steers a click in bfloat16 ÷ seconds of one in float32. None
            where nothing steers, or time was too short.
        unsteered: why nothing steers; "" where something does.
        peak, kept: bytes; what the first click needs while it runs, beyond what is there before it, and what the open
            photo keeps. None where time was too short.
    """

    size: tuple[int, int]
    seen: tuple[int, int]
    device: str
    threads: int
    dtype: str
    clicks: int
    rounds: int
    warm: bool
    passes: dict[str, float]
    seconds: dict[str, float]
    plain: dict[str, float]
    opening: dict[str, float]
    evaluations: dict[str, float]
    steering: float | None
    unsteered: str
    peak: int | None
    kept: int | None

    def __str__(self) -> str:
        (height, width), (high, wide) = self.size, self.seen
        where = f"{self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else self.device
        made = f"{self.clicks} click{'s' if self.clicks > 1 else ''}"
        rounds = f"{self.rounds} rounds" if self.rounds > 1 else "one round"
        memory = "not measured: the time was over"
        if self.peak is not None and self.kept is not None:
            memory = f"{self.peak / 1e6:.3g} MB while it runs; {self.kept / 1e6:.3g} MB stay with the open photo"
        lines = [
            f"  passes a click  {_text(self.passes)}: a click's time ÷ one forward pass of the network in {self.dtype}",
            f"  a click         {_text(self.seconds, 1000)} ms",
            f"  one pass        {_text(self.plain, 1000)} ms",
            f"  evaluations     {_text(self.evaluations)}",
            f"  opening         {_text(self.opening, 1000)} ms",
            f"  in bfloat16     {_steering_text(self.steering, self.unsteered)}",
            f"  memory          {memory}",
            f"  medians (quartiles) of {made} in {rounds}; {width}×{height} pixels, seen as {wide}×{high}; {where}",
        ]
        if not self.warm:
            lines.append("  time was too short to repeat them: first clicks, for which the network is prepared, count")
        return "\n".join(lines)


def click_cost(
    net: Interactive,
    photo: PictureLike,
    *,
    clicks: int = 5,
    seconds: float = SECONDS,
    progress: bool = False,
) -> ClickCost:
    """Measure what a click costs on a photo.

    The simulated user of the literature clicks, whose object is an ellipse in the middle, as in docs/speed.md: so there
    is something to correct on any photo. All clicks are made once to warm up, then again and again in new sessions,
    each time beside some plain passes.

    Args:
        net: a wrapped network.
        photo: in any form that `Interactive.session` takes; it is seen whole.
        clicks: how many in a row.
        seconds: after which no more rounds are begun. Of a network whose clicks are slower, fewer are made, at least
            one.
        progress: show a progress bar.

    Raises:
        OptionError: no clicks, or no time.
        PhotoError, ModelError, NonFiniteError, NotEnoughMemoryError: as `Interactive.session` and `Session.click`.

    >>> net = interactify.wrap(interactify.zoo.load(), resolution=64)
    >>> cost = click_cost(net, np.zeros((60, 80, 3), np.uint8), clicks=1, seconds=0.5)
    >>> cost.passes["median"] > 0, cost.seen
    (True, (64, 64))
    """
    if isinstance(clicks, bool) or not isinstance(clicks, int) or clicks < 1:
        raise OptionError(f"Expected at least one click, got {clicks!r}. Try 5.")
    if not 0 < seconds < float("inf"):
        raise OptionError(f"Expected a number of seconds above 0, got {seconds!r}. Try {SECONDS:g}.")
    end = time.monotonic() + seconds
    picture = net.picture(photo)  # read once: files and decoding are not what is measured
    clock = Clock(str(net.spec.device))
    memory: tuple[int | None, int | None] = None, None
    with tqdm(total=clicks * (1 + _ROUNDS), desc="clicks", disable=not progress, leave=False) as bar:
        first = _round(net, picture, clock, clicks, bar, until=end - 2 * seconds / 3)
        if 4 * first.total < end - time.monotonic():  # the profiler slows it down
            memory = _memory(net, picture, first.clicks[0], clock.device)
        rounds: list[_Round] = []
        steering, unsteered = _steering(net, picture, clock, until=end - seconds / 2)
        while len(rounds) < _ROUNDS and time.monotonic() + (rounds or [first])[-1].total < end:
            rounds.append(_round(net, picture, clock, len(first.clicks), bar))
    measured = rounds or [first]
    return ClickCost(
        size=picture.size,
        seen=first.seen,
        device=clock.device,
        threads=torch.get_num_threads(),
        dtype=str(net.spec.dtype).removeprefix("torch."),
        clicks=len(first.clicks),
        rounds=len(measured),
        warm=bool(rounds),
        passes=spread([each / one.plain for one in measured for each in one.seconds]),
        seconds=spread([each for one in measured for each in one.seconds]),
        plain=spread([one.plain for one in measured]),
        opening=spread([one.opening for one in measured]),
        evaluations=spread([float(each) for one in measured for each in one.evaluations]),
        steering=steering,
        unsteered=unsteered,
        peak=memory[0],
        kept=memory[1],
    )


def middle_ellipse(size: tuple[int, int]) -> NDArray[np.int8]:
    """An object that every photo has room for: (H, W) int8, 1 in an ellipse in the middle, 0 outside.

    >>> middle_ellipse((5, 7)).tolist()[2]
    [0, 1, 1, 1, 1, 1, 0]
    """
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    down, across = (rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5
    return ((down / 0.3) ** 2 + (across / 0.35) ** 2 < 1).astype(np.int8)


@dataclass(frozen=True)
class _Round:
    """The clicks made once on a newly opened photo: seconds, and those of the plain pass beside them."""

    opening: float
    plain: float
    clicks: list[Click]
    seconds: list[float]
    evaluations: list[int]
    seen: tuple[int, int]

    @property
    def total(self) -> float:
        """Seconds of all of it, roughly."""
        return self.opening + sum(self.seconds) + _PASSES * self.plain


def _round(
    net: Interactive, picture: Picture, clock: Clock, most: int, bar: tqdm[NoReturn], until: float = math.inf
) -> _Round:
    """Open the photo and make at most `most` clicks, at least one; none is begun after `until`."""
    opening, session = clock(lambda: net.session(picture, tile=False))
    with session:
        image = session.initial_step.crop.image
        alone = Network(session.wrapped.network.replica, session.wrapped.spec)  # without autocast
        plain = median(clock(lambda: alone.plain_logits(image))[0] for _ in range(_PASSES))
        found = _Round(opening, plain, [], [], [], (image.shape[-2], image.shape[-1]))
        mask = session.result.mask
        truth = middle_ellipse(picture.size)
        if np.array_equal(truth == 1, mask):  # nothing to correct
            truth = 1 - truth
        clicked = np.zeros(mask.shape, bool)
        while len(found.clicks) < most and (not found.clicks or time.monotonic() < until):
            click = next_click(truth, mask, clicked)
            if click is None:
                break
            clicked[int(click.y), int(click.x)] = True
            took, mask = clock(lambda click=click: session.click(click.x, click.y, click.positive).mask)  # type: ignore[misc]
            found.clicks.append(click)
            found.seconds.append(took)
            found.evaluations.append(session.result.evaluations)
            bar.update()
    return found


def _steering(net: Interactive, picture: Picture, clock: Clock, until: float) -> tuple[float | None, str]:
    """Seconds of a pass that steers ÷ of one in float32, both with gradients, in turn; and why nothing steers."""
    with net.session(picture, tile=False) as session:
        crop = session.initial_step.crop
        if crop.suffix.unsteered:
            return None, crop.suffix.unsteered
        took: list[list[float]] = [[], []]
        for _ in range(1 + _PASSES):  # the first ones prepare the kernels, and don't count
            for passes, seconds in zip((crop.suffix, crop.steering), took, strict=True):
                if time.monotonic() > until:
                    return None, ""
                try:
                    seconds.append(clock(lambda passes=passes: _gradient(passes, crop.start))[0])  # type: ignore[misc]
                except SteeringEnded:
                    return None, crop.suffix.unsteered
    plain, steering = (median(seconds[1:]) for seconds in took)
    return steering / plain, ""


def _gradient(passes: Passes, values: Tensor) -> Tensor:
    """A pass and its gradient in the variables."""
    with torch.inference_mode(False), torch.enable_grad():
        values = values.clone().requires_grad_(True)
        return torch.autograd.grad(passes(values, ()).sum(), values)[0]


def _steering_text(ratio: float | None, why_not: str) -> str:
    """What passes in bfloat16 bring, as people read it.

    >>> print(_steering_text(0.321, ""))
    what only steers a click: a pass with its gradient takes 0.32 times as long
    >>> print(_steering_text(None, "precision is 'float32'"))
    nothing: precision is 'float32'
    """
    if ratio is None:
        return f"nothing: {why_not}" if why_not else "what only steers a click; not measured: the time was over"
    return f"what only steers a click: a pass with its gradient takes {ratio:.2g} times as long"


def _memory(net: Interactive, picture: Picture, click: Click, device: str) -> tuple[int, int]:
    """Bytes that a first click needs beyond what was there before it, and that an open photo keeps."""
    _, kept, session = allocation(lambda: net.session(picture, tile=False), device)
    with session:
        peak, _, _ = allocation(lambda: session.click(click.x, click.y, click.positive).mask, device)
    return peak, kept


def _text(values: dict[str, float], unit: float = 1.0) -> str:
    """A median and its quartiles, as people read them.

    >>> _text({"median": 0.4123, "q1": 0.4, "q3": 1.25}, 1000)
    '412 (400–1250)'
    """
    middle, low, high = (f"{each:.3g}" if each < 1000 else f"{each:.0f}" for each in (unit * values[k] for k in _SHOWN))
    return f"{middle} ({low}–{high})"


_SHOWN = ("median", "q1", "q3")
