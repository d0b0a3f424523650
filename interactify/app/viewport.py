"""What the screen shows: a part of a photo, whose mask is sent first in no more pixels than it has, or a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from interactify.app.frames import Part, runs
from interactify.app.sessions import AnyResult
from interactify.errors import OptionError
from interactify.pictures.window import Window, extent_of, whole

if TYPE_CHECKING:  # it loads torch, which a page at a service does without
    from interactify.app.volumes.planes import Cut

WORTH_SHARE: Final = 0.4  # of a photo's pixels: if the screen shows more, the whole mask is ready as soon
MAX_STEP: Final = 4096  # photo pixels from one screen pixel to the next


@dataclass(frozen=True)
class Viewport:
    """A window of a photo, of which the screen has room for every `step`-th row and column."""

    window: Window
    step: int

    @property
    def pixels(self) -> int:
        """The number of pixels to send."""
        return -(-self.window.height // self.step) * -(-self.window.width // self.step)

    def worth_sending_first(self, size: tuple[int, int]) -> bool:
        """Whether this is so much less than the photo of (H, W) that it is worth a frame of its own."""
        return self.pixels <= WORTH_SHARE * size[0] * size[1]

    def part(self, name: str, result: AnyResult, before: NDArray[np.bool_] | None) -> Part:
        """An object's mask in this viewport; `before`, (H, W), is the mask that the page has."""
        mask = result.mask_in(self.window, self.step)
        return Part("viewport", name, self.window, runs(mask), self.step, self._changed(mask, before))

    def _changed(self, mask: NDArray[np.bool_], before: NDArray[np.bool_] | None) -> Window:
        """The window to draw again: around the pixels that differ, up to the pixels sent beside them."""
        if before is None:
            return self.window
        found = extent_of(mask != before[self.window.slices_by(self.step)])
        if found is None:
            return Window(self.window.top, self.window.left, 0, 0)
        step = self.step
        return Window(
            self.window.top + (found.top - 1) * step,
            self.window.left + (found.left - 1) * step,
            (found.height + 2) * step,
            (found.width + 2) * step,
        )


@dataclass(frozen=True)
class Shown:
    """What a page shows of what it has open.

    Attributes:
        classes: whether it shows the map of classes too.
        viewport: the part of a photo, where it is known; its mask is sent first.
        cut: the slice of a volume.
    """

    classes: bool = False
    viewport: Viewport | None = None
    cut: Cut | None = None


NOTHING: Final = Shown()


def read_viewport(text: str | None, size: tuple[int, int]) -> Viewport | None:
    """Read the viewport that a page sends for a photo of (H, W): "left,top,width,height,step", or nothing.

    Raises:
        OptionError: the text is something else, or the window is not in the photo.

    >>> read_viewport("10,20,40,30,2", (60, 80)), read_viewport(None, (60, 80))
    (Viewport(window=Window(top=20, left=10, height=30, width=40), step=2), None)
    """
    if text is None:
        return None
    words = text.split(",")
    if len(text) < 80 and len(words) == 5 and all(word.isascii() and word.isdigit() for word in words):
        left, top, width, height, step = map(int, words)
        window = Window(top, left, height, width)
        if 1 <= step <= MAX_STEP and height and width and window.common(whole(size)) == window:
            return Viewport(window, step)
    raise OptionError(
        f"Expected viewport=left,top,width,height,step with a window in the photo of {size[1]} by {size[0]} pixels and "
        f"a step from 1 to {MAX_STEP}, got {text[:80]!r}."
    )
