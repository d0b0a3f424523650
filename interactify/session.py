"""Interactions in, masks out: one photo, one person, and everything they have said so far.

A session is a tuple of steps, each with the clicks made until then, the variables' values and the result. Clicking
appends a step, undo moves one to the redo side; a failed click appends nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.errors import InteractionError
from interactify.interactions import Click, checked
from interactify.memory import within_memory
from interactify.photo import PhotoLike, read_photo, to_uint8
from interactify.propagation import Spread
from interactify.request import Frame, Request, Run, later_wins
from interactify.result import Result
from interactify.resumed import LastPass
from interactify.suffix import Suffix
from interactify.view import sample
from interactify.window import Window, next_window, whole

if TYPE_CHECKING:
    from interactify.wrap import Interactive


@dataclass(frozen=True, eq=False)
class Step:
    """The state after one interaction: all clicks so far, where the variables are, and what they give."""

    clicks: tuple[Click, ...]
    frame: Frame
    values: Tensor
    result: Result


class Session:
    """Clicks on one photo. Made by `Interactive.session`; not to be shared between threads, one for each.

    >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
    >>> result = session.click(x=40, y=30)
    >>> result.mask.shape, result.satisfied, session.undo().clicks
    ((60, 80), True, ())
    """

    def __init__(
        self, net: Interactive, photo: PhotoLike, target: int | str | None = None, *, ready: bool = True
    ) -> None:
        """With `ready`, the pass that the first click begins with is run too: the click need not wait for it."""
        # A caller's inference mode would forbid every gradient to come.
        with torch.inference_mode(False), within_memory():
            self._begin(net, photo, target)
            if ready:
                self._run.ready(self.first.frame.suffix)

    def _begin(self, net: Interactive, photo: PhotoLike, target: int | str | None) -> None:
        network = net.network
        self.net = net
        self.target = net.target if target is None else network.target(target)
        self.pixels = read_photo(photo, network.spec.channels)
        frame = self._frame(whole((self.pixels.shape[1], self.pixels.shape[2])))
        self._plain = frame.suffix.plain()
        result = Result(network.log_odds(self._plain, self._class(()), frame.image), frame.view, frame.window)
        self.first = Step((), frame, frame.start, result)
        self.steps: tuple[Step, ...] = ()
        self.undone: tuple[Step, ...] = ()
        self._cancelled = threading.Event()
        self._run = LastPass()

    @property
    def result(self) -> Result:
        """The current result; before the first interaction, the network's own prediction."""
        return self._last.result

    @property
    def interactions(self) -> tuple[Click, ...]:
        """The clicks that hold now, in the order they were made."""
        return self._last.clicks

    @property
    def photo(self) -> NDArray[np.uint8]:
        """The photo as it is seen here, (H, W, 3) uint8, for drawing."""
        return to_uint8(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.first.frame.view.photo_size

    def click(self, x: float, y: float, positive: bool = True) -> Result:
        """Say that a pixel belongs to the object (`positive`) or does not, and refine until it is so.

        Args:
            x: pixels to the right, 0 at the left border's centre; rounded to the nearest pixel.
            y: pixels down, 0 at the top.
            positive: False for "not this".

        Returns:
            The new result. Look at `result.satisfied`: where the network can't be brought to agree, it is False.

        Raises:
            InteractionError: outside the photo, or not a number. The session is as it was.
            NonFiniteError: the network returned NaN or infinity. The session is as it was.
            NotEnoughMemoryError: the network asked for more memory than there is. The session is as it was.
        """
        return self.add([Click(x, y, positive)])

    def add(self, clicks: Sequence[Click]) -> Result:
        """Say several things at once, and refine until all of them are so: one step, which one undo takes back.

        Args:
            clicks: in photo pixels, in the order they were meant; none leaves everything as it is.

        Returns, raises: as `click`; where one of the clicks is refused, none is taken.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> result = session.add([interactify.Click(40, 30), interactify.Click(5, 5, positive=False)])
        >>> result.satisfied, len(session.interactions), session.undo().clicks
        (True, 2, ())
        """
        if not isinstance(clicks, (list, tuple)):
            raise InteractionError(f"Expected a list of clicks, [Click(…), …], got {type(clicks).__name__}.")
        added = tuple(checked(click, self.size) for click in clicks)
        if not added:
            return self.result
        with torch.inference_mode(False):
            step = self._refined((*self._last.clicks, *added))
        self.steps, self.undone = (*self.steps, step), ()
        return step.result

    def cancel(self) -> None:
        """From another thread: let the click that is being refined end after the evaluation that is running.

        It comes back with the best so far, its status "cancelled". Where no click is being refined, nothing happens.
        """
        self._cancelled.set()

    def undo(self) -> Result:
        """Take the last click back; nothing happens where there is none. Returns the result that holds now."""
        if self.steps:
            self.undone = (*self.undone, self.steps[-1])
            self.steps = self.steps[:-1]
        return self.result

    def redo(self) -> Result:
        """Make the click last undone again, from memory; nothing happens where there is none."""
        if self.undone:
            self.steps = (*self.steps, self.undone[-1])
            self.undone = self.undone[:-1]
        return self.result

    def reset(self) -> Result:
        """Forget every click, undone ones too. Returns the network's own prediction."""
        self.steps = self.undone = ()
        return self.result

    def save(self, path: str | Path) -> Path:
        """Write the session to an .npz file that `interactify.load_session` goes on from; returns its path.

        The file holds the clicks, the variables, the view and fingerprints of network and photo, but neither of the
        two themselves. It is replaced as a whole: an interrupted save leaves the old file.

        Raises:
            OptionError: where the file can't be written.
        """
        from interactify.session_file import save_session  # the file format reads sessions, and is read by few

        return save_session(self, path)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Session({width}x{height} pixels, {len(self.interactions)} clicks, {len(self.undone)} undone)"

    @property
    def _last(self) -> Step:
        return self.steps[-1] if self.steps else self.first

    def frame(self, window: Window) -> Frame:
        """The photo's window as the network sees it; the whole photo's is kept."""
        return self.first.frame if window == self.first.frame.window else self._frame(window)

    def _frame(self, window: Window) -> Frame:
        network = self.net.network
        size = (window.height, window.width)
        view = network.view(size)
        rows, columns = window.slices
        image = network.image(self.pixels[:, rows, columns], view)
        start = self.net.variables.start(network, image)
        suffix = Suffix(network, self.net.variables, image, start)
        return Frame(window, view, image, start, suffix, self.net.propagation)

    def _class(self, clicks: tuple[Click, ...]) -> int | None:
        """What a positive click means: the class asked for, or that under the first click (of two, the second)."""
        classes = self._plain.shape[1]
        if self.target is not None:
            return self.target
        if classes <= 2:
            return classes - 1
        if not clicks:
            return None
        point = self.first.frame.view.points_to_network([(clicks[0].x, clicks[0].y)])
        # From the image's pixels to the map's, whose centres lie at whole numbers too.
        high, wide = self._plain.shape[-2:]
        scale = torch.tensor([wide / self.first.frame.image.shape[-1], high / self.first.frame.image.shape[-2]])
        on_grid = ((point + 0.5) * scale.to(point) - 0.5).clamp(min=0)
        on_grid = torch.minimum(on_grid, torch.tensor([wide - 1, high - 1]).to(on_grid))
        return int(sample(self._plain, on_grid)[0, :, 0].argmax())

    def _refined(self, clicks: tuple[Click, ...]) -> Step:
        self._cancelled.clear()
        stop = brs.stopping(self.net.max_seconds, self._cancelled.is_set)
        request = self.request(clicks)
        return self.settled(request, refined(self.net, request, self._run, stop))

    def request(self, clicks: tuple[Click, ...]) -> Request:
        """What is to be refined so that all these clicks hold, the newest last."""
        begun = time.perf_counter()
        net, last = self.net, self._last
        holding, overruled = later_wins(clicks)
        window = last.frame.window
        if net.zoom and self.steps:  # several clicks at the beginning are answered where all of them are seen
            window = next_window(window, last.result.mask, holding, net.spec.resolution)
        frame = last.frame if window == last.frame.window else self.frame(window)
        # Back in an earlier window, go on from where it was left; in a new one, from the identity.
        values = next((s.values for s in reversed(self.steps) if s.frame.window == window), frame.start)
        inside = tuple(c for c in holding if window.holds(c))
        offset = np.array([window.left, window.top], float)
        points = frame.view.points_to_network(np.array([(c.x, c.y) for c in inside], float) - offset)
        labels, target = tuple(c.positive for c in inside), self._class(clicks)
        spread = Spread()
        if frame.propagation.active:
            before = self._believed(frame, target)
            spread = frame.propagation.spread(frame.guide, frame.view.content_size, frame.along, before, points, labels)
        return Request(clicks, holding, overruled, frame, values, points, labels, target, spread, begun)

    def _believed(self, frame: Frame, target: int | None) -> Tensor:
        """Log-odds (1, 1, h', w') of the target in a frame, as they are before the newest click."""
        last = self._last
        if last is self.first and frame is last.frame:  # only now it is known which class is meant
            return self.net.network.log_odds(self._plain, target, frame.image)
        if frame is last.frame:
            return last.result.logits
        return frame.view.to_network(last.result.window_logits(frame.window))

    def settled(self, request: Request, refinement: brs.Refinement) -> Step:
        """The step that a refinement of a request of this session leads to; it is not taken yet."""
        last, window = self._last, request.frame.window
        result = Result(
            request.spread(refinement.logits),
            request.frame.view,
            window,
            outside_of(last, window, self.first),
            request.holding,
            request.overruled,
            refinement.evaluations,
            refinement.status,
            time.perf_counter() - request.begun,
            last.result.mask,
        )
        return Step(request.clicks, request.frame, refinement.values, result)

    def restore(self, steps: tuple[Step, ...], undone: tuple[Step, ...]) -> None:
        """Put a saved history into a session that has none yet."""
        if self.steps or self.undone:
            raise InteractionError("A session is restored into a new one only; this one has clicks already.")
        self.steps, self.undone = steps, undone


def refined(net: Interactive, request: Request, run: Run, stop: Callable[[], str | None]) -> brs.Refinement:
    """Minimise what a request asks for, as the network was wrapped to; `run` runs the suffix."""
    return brs.refine(
        partial(request.logits, run=run),
        request.start,
        request.points,
        request.labels,
        energy=net.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=net.max_evaluations,
        stop=stop,
    )


def outside_of(last: Step, window: Window, first: Step) -> Result | None:
    """What holds outside a step's window: what held when the window was opened."""
    if window == first.frame.window:
        return None
    return last.result.outside if window == last.frame.window else last.result
