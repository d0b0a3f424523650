"""Interactions in, masks out: one photo, one person, and everything they have said so far.

What holds is a tuple of steps, each with the clicks made until then, the variables' values and the result. Clicking
makes a tuple with one more step, removing or moving an earlier click one whose later steps are made anew, and undo goes
back to the tuple before (`timeline.py`). A click that fails changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
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
from interactify.request import Frame, Request, later_wins, refined
from interactify.result import Result
from interactify.resumed import LastPass
from interactify.suffix import Suffix
from interactify.timeline import Group, State, Step, Timeline, edited, outside_of
from interactify.view import sample
from interactify.window import Window, next_window, whole

if TYPE_CHECKING:
    from interactify.wrap import Interactive


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
        self.timeline = Timeline()
        self._cancelled = threading.Event()
        self._run = LastPass()

    @property
    def result(self) -> Result:
        """The current result; before the first interaction, the network's own prediction."""
        return self._last.result

    @property
    def steps(self) -> State:
        """The steps that lead to the current result."""
        return self.timeline.now

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
        return self._replayed(self.steps, [added])

    def remove(self, index: int) -> Result:
        """Take back any earlier click, and make those that came after it anew: as if it had never been made.

        Args:
            index: its place in `interactions`; negative ones count from the end.

        Returns:
            The new result. `undo` brings the click back.

        Raises:
            InteractionError: there is no such click.
            NonFiniteError, NotEnoughMemoryError: as `click`. The session is as it was.

        >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
        >>> alone = session.click(40, 30)
        >>> _ = session.undo(), session.click(5, 5, positive=False), session.click(40, 30)
        >>> result = session.remove(0)
        >>> result.clicks == alone.clicks, bool((result.mask == alone.mask).all()), len(session.undo().clicks)
        (True, True, 2)
        """
        return self._replayed(*edited(self.steps, self._place(index), ()))

    def move(self, index: int, x: float, y: float) -> Result:
        """Put an earlier click elsewhere, and make those that came after it anew: as if it had been made there.

        Args:
            index: its place in `interactions`; negative ones count from the end.
            x, y: in photo pixels, as for `click`.

        Returns, raises: as `remove` and `click`; where the new place is refused, nothing is moved.
        """
        place = self._place(index)
        moved = checked(Click(x, y, self.interactions[place].positive), self.size)
        return self._replayed(*edited(self.steps, place, (moved,)))

    def _place(self, index: int) -> int:
        count = len(self.interactions)
        whole = isinstance(index, (int, np.integer)) and not isinstance(index, bool)
        if not whole or not -count <= index < count:
            there = f"an index from 0 to {count - 1}" if count else "no index: there are none"
            raise InteractionError(f"Expected {there} of the session's clicks, got {index!r}.")
        return int(index) % count

    def _replayed(self, begun: State, groups: Sequence[Group]) -> Result:
        """Go to the state that these groups of clicks lead to from one of its earlier ones."""
        held = self.timeline
        try:
            with torch.inference_mode(False), within_memory():
                for group in groups:
                    self.timeline = held.seen_from(begun)
                    begun = (*begun, self._refined((*self._last.clicks, *group)))
        finally:
            self.timeline = held
        self.timeline = held.then(begun)
        return self.result

    def cancel(self) -> None:
        """From another thread: let the click that is being refined end after the evaluation that is running.

        It comes back with the best so far, its status "cancelled". Where no click is being refined, nothing happens.
        """
        self._cancelled.set()

    def undo(self) -> Result:
        """Take the last change back, a click, a removal or a move; nothing happens where there is none.

        Returns the result that holds now.
        """
        self.timeline = self.timeline.back()
        return self.result

    def redo(self) -> Result:
        """Make the change last undone again, from memory; nothing happens where there is none."""
        self.timeline = self.timeline.on()
        return self.result

    def reset(self) -> Result:
        """Forget every click, undone ones too. Returns the network's own prediction."""
        self.timeline = Timeline()
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
        return f"Session({width}x{height} pixels, {len(self.interactions)} clicks, {len(self.timeline.undone)} undone)"

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

    def restore(self, timeline: Timeline) -> None:
        """Put a saved history into a session that has none yet."""
        if len(self.timeline.states) > 1:
            raise InteractionError("A session is restored into a new one only; this one has clicks already.")
        self.timeline = timeline
