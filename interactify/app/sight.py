"""What a screen shows of a photo: a mask in no more pixels than it has, sent before all of the mask is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interactify.app.frames import Part, runs
from interactify.errors import OptionError
from interactify.pictures.window import Window, extent_of, whole
from interactify.refinement.result import Result

WORTH: Final = 0.4  # of a photo's pixels: where a screen shows more, all of the mask is as soon made
FURTHEST: Final = 4096  # pixels of a photo from one of the screen's to the next, at most


@dataclass(frozen=True)
class Sight:
    """A window of a photo, of which a screen has room for every `step`-th row and column."""

    window: Window
    step: int

    @property
    def pixels(self) -> int:
        """How many there are to be shown."""
        return -(-self.window.height // self.step) * -(-self.window.width // self.step)

    def worth_showing_first(self, size: tuple[int, int]) -> bool:
        """Whether that is so much less than the photo of (H, W) that it is worth a frame of its own."""
        return self.pixels <= WORTH * size[0] * size[1]

    def part(self, name: str, result: Result, before: NDArray[np.bool_] | None) -> Part:
        """An object's mask as it is seen; `before`, (H, W), is what the page has of it."""
        mask = result.mask_in(self.window, self.step)
        return Part("seen", name, self.window, runs(mask), self.step, self._changed(mask, before))

    def _changed(self, mask: NDArray[np.bool_], before: NDArray[np.bool_] | None) -> Window:
        """What has to be drawn again: a window around the pixels that differ, up to those seen beside them."""
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


def read_sight(text: str | None, size: tuple[int, int]) -> Sight | None:
    """Read what a page says that it shows of a photo of (H, W): "left,top,width,height,step", or nothing.

    Raises:
        OptionError: it is something else, or no part of the photo.

    >>> read_sight("10,20,40,30,2", (60, 80)), read_sight(None, (60, 80))
    (Sight(window=Window(top=20, left=10, height=30, width=40), step=2), None)
    """
    if text is None:
        return None
    words = text.split(",")
    if len(text) < 80 and len(words) == 5 and all(word.isascii() and word.isdigit() for word in words):
        left, top, width, height, step = map(int, words)
        window = Window(top, left, height, width)
        if 1 <= step <= FURTHEST and height and width and window.common(whole(size)) == window:
            return Sight(window, step)
    raise OptionError(
        f"Expected see=left,top,width,height,step: a part of the photo, {size[1]} by {size[0]} pixels, and a step from "
        f"1 to {FURTHEST}."
    )
