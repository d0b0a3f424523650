"""What a page is sent of a volume's session: its state, and the mask of the slice that the page shows."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.app.frames import Part, frame, mask_part
from interactify.app.viewport import Shown
from interactify.app.volumes.open_volume import NAME, OpenVolume
from interactify.app.volumes.planes import Cut, read_cut
from interactify.pictures.bare_png import INDEXED, bare_png
from interactify.pictures.window import whole

UNCERTAIN: Final = b"\xff\x8c\x00"  # red, green, blue


class VolumeUpdates:
    """Frames with a serial number, each of which names the one before it as its `base`. They hold whole masks."""

    def __init__(self, opened: OpenVolume[Any]) -> None:
        self.opened = opened
        self.serial = secrets.randbelow(2**40)  # after a restart no old frame is taken for the base of a new one

    def first(self, shown: Shown) -> bytes | None:
        """None: the mask of a slice is ready as soon as a part of it."""
        return None

    def preview(self, shown: Shown) -> Callable[[], bytes] | None:
        """What makes a frame with the mask so far of an action that still runs; None where there is nothing new."""
        cut = self._cut(shown)
        mask = self.opened.preview_of(cut)
        return None if mask is None else lambda: self._frame("preview", cut, mask, {})

    def after_action(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the state after an action, and the mask of the slice that is shown."""
        return self._state("done", self._cut(shown), notice, write_error)

    def full_state(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the whole state, which builds on no other."""
        return self._state("state", self._cut(shown), notice, write_error)

    def _cut(self, shown: Shown) -> Cut:
        return read_cut(None, self.opened.planes) if shown.cut is None else shown.cut

    def _state(self, kind: str, cut: Cut, notice: str, write_error: str) -> bytes:
        state = {**self.opened.state(), "notice": notice, "write_error": write_error}
        return self._frame(kind, cut, self.opened.mask_of(cut), state)

    def _frame(self, kind: str, cut: Cut, mask: NDArray[np.bool_], state: dict[str, Any]) -> bytes:
        base, self.serial = self.serial, self.serial + 1
        header = {"kind": kind, "base": base, "serial": self.serial, "cut": [cut.plane.axis, cut.index], **state}
        return frame(header, _parts(mask))


def mask_frame(opened: OpenVolume[Any], cut: Cut, *, initial: bool = False, uncertainty: bool = False) -> bytes:
    """A frame with the mask of a slice alone, or the network's own; on no other, and no other on it.

    With `uncertainty`, where it is known, a second part has that, as a picture that is drawn over the slice.
    """
    mask = opened.initial_mask_of(cut) if initial else opened.mask_of(cut)
    parts = _parts(mask)
    uncertain = opened.uncertainty_of(cut) if uncertainty else None
    if uncertain is not None:
        parts.append(Part("uncertainty", "", whole(mask.shape), _tinted(uncertain)))
    return frame({"kind": "initial" if initial else "slice", "cut": [cut.plane.axis, cut.index]}, parts)


def _tinted(uncertain: NDArray[np.float32]) -> bytes:
    """A PNG of one colour, more opaque where the result is less certain."""
    levels = (uncertain * 255).round().astype(np.uint8)
    return bare_png(levels, levels.shape[1], INDEXED, (b"PLTE", UNCERTAIN * 256), (b"tRNS", bytes(range(256))))


def _parts(mask: NDArray[np.bool_]) -> list[Part]:
    part = mask_part(NAME, mask, None)
    return [] if part is None else [part]
