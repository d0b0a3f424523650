"""What a page is sent of a session: objects, interactions and their states, and what changed in each mask."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from interactify.app.frames import Part, class_part, frame, mask_part
from interactify.app.sessions import AnyResult, AnySession, Sessions
from interactify.app.viewport import Shown, Viewport
from interactify.export import voc_palette
from interactify.web.about import About

BACKGROUNDS: Final = ("background", "__background__", "bg")
MAX_POINTS: Final = 400  # of a stroke, in what the page draws


class Updates(Protocol):
    """What a page is sent of what it has open: frames with serial numbers."""

    def first(self, shown: Shown) -> bytes | None:
        """A frame with the part of the mask that is wanted first; None where all is ready as soon."""

    def preview(self, shown: Shown) -> Callable[[], bytes] | None:
        """What makes a frame with the mask so far of an action that still runs; None where there is none.

        The function is called where no other frame is being made.
        """

    def after_action(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the state after an action and what it changed."""

    def full_state(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the whole state, which builds on no other."""


class PageUpdates:
    """The updates of a photo. Remembers the masks that were sent, so that a frame holds only the differences.

    Each frame has a serial number, and names the frame that it builds on as its `base`.
    """

    def __init__(self, session: AnySession, about: About, sessions: Sessions) -> None:
        self.session, self.about, self.sessions = session, about, sessions
        self.serial = secrets.randbelow(2**40)  # after a restart no old frame is taken for the base of a new one
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._classes: NDArray[np.uint8] | None = None

    def first(self, shown: Shown) -> bytes | None:
        """A frame with the active object's mask in the viewport, where that is much faster than the whole mask."""
        return self._in_viewport("first", self.session.result, shown.viewport)

    def preview(self, shown: Shown) -> Callable[[], bytes] | None:
        """What makes a frame with the mask so far of a refinement that still runs; None where none does."""
        session: Any = self.session  # one here: a service sends none
        preview = session.preview()
        if preview.status != "preview":
            return None
        frame = self._in_viewport("preview", preview, shown.viewport)
        if frame is not None:
            return lambda: frame
        mask = preview.mask
        return lambda: self._frame("preview", self._changed_parts({session.active: mask}), {})

    def _in_viewport(self, kind: str, result: AnyResult, viewport: Viewport | None) -> bytes | None:
        """A frame with the active object's mask in the viewport only; not remembered, since the whole mask follows.

        None where the viewport is unknown, or where the whole mask is ready as soon.
        """
        if viewport is None or not viewport.worth_sending_first(result.size):
            return None
        name = self.session.active
        part = viewport.part(name, result, self._masks.get(name))
        header = {"kind": kind, "base": self.serial, "serial": self.serial, "ms": result.seconds * 1000}
        return frame(header, [part])

    def after_action(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the state after an action and what it changed; with the map of classes where it is shown."""
        masks = self._visible_masks()
        self._masks = {name: mask for name, mask in self._masks.items() if name in masks}
        parts = [*self._changed_parts(masks), *self._class_parts(shown.classes)]
        return self._frame("done", parts, self._state(notice, write_error))

    def full_state(self, shown: Shown, notice: str, write_error: str) -> bytes:
        """A frame with the whole state, which builds on no other."""
        self._masks, self._classes = {}, None
        parts = [*self._changed_parts(self._visible_masks()), *self._class_parts(shown.classes)]
        return self._frame("state", parts, self._state(notice, write_error))

    def _state(self, notice: str, write_error: str) -> dict[str, Any]:
        state = self.sessions.state_of(self.session, MAX_POINTS)
        return {**state, "notice": notice, "write_error": write_error}

    def _frame(self, kind: str, parts: list[Part], state: dict[str, Any]) -> bytes:
        base, self.serial = self.serial, self.serial + 1
        return frame({"kind": kind, "base": base, "serial": self.serial, **state}, parts)

    def _visible_masks(self) -> dict[str, NDArray[np.bool_]]:
        """The masks of the active object and of all objects with interactions."""
        session = self.session
        names = [name for name in session.objects if name == session.active or session.interactions_of(name)]
        return {name: session.result_of(name).mask for name in names}

    def _changed_parts(self, masks: dict[str, NDArray[np.bool_]]) -> list[Part]:
        parts = []
        for name, mask in masks.items():
            before = self._masks.get(name)
            if before is not mask and (part := mask_part(name, mask, before)):
                parts.append(part)
            self._masks[name] = mask
        return parts

    def _class_parts(self, wanted: bool) -> list[Part]:
        if not wanted or self.about.count < 2:
            return []
        found = self.session.class_map().astype(np.uint8)
        part = class_part(found, self._classes, palette(self.about).tobytes(), transparent_class(self.about))
        self._classes = found
        return [] if part is None else [part]


def palette(about: About) -> NDArray[np.uint8]:
    """(K, 3) uint8: a colour for each class."""
    return voc_palette()[: min(256, about.count)]


def transparent_class(about: About) -> int:
    """The index of the background class, which is drawn transparent; -1 where there is none."""
    names = [name.strip().lower() for name in about.class_names]
    return next((k for k, name in enumerate(names) if name in BACKGROUNDS), -1)
