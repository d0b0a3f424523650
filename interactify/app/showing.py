"""What the page is told of a session: who said what, what became of it, and of each layer what changed since."""

from __future__ import annotations

import secrets
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.app.frames import Part, class_part, frame, mask_part
from interactify.app.sight import Sight
from interactify.export import voc_palette
from interactify.refinement.history import Step, groups_of
from interactify.refinement.result import Result
from interactify.session.session import Session

BACKGROUNDS: Final = ("background", "__background__", "bg")
MOST_POINTS: Final = 400  # of a stroke, in what the page draws


class Showing:
    """Remembers what was sent, so that what follows is what differs. Each frame says which it follows."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.serial = secrets.randbelow(2**40)  # no frame of another time is taken for the one before
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._classes: NDArray[np.uint8] | None = None

    def glimpse(self, name: str, mask: NDArray[np.bool_]) -> bytes:
        """A frame of what a refinement has come to."""
        return self._frame("preview", self._since({name: mask}), {})

    def seen(self, kind: str, result: Result, sight: Sight | None) -> bytes | None:
        """A frame of what a screen shows of the active object, by which nothing is remembered: all of it comes later.

        None where nothing is known of the screen, or where all of it is as soon made.
        """
        if sight is None or not sight.worth_showing_first(result.size):
            return None
        name = self.session.active
        part = sight.part(name, result, self._masks.get(name))
        told = {"kind": kind, "base": self.serial, "serial": self.serial, "ms": result.seconds * 1000}
        return frame(told, [part])

    def change(self, classes: bool, notice: str, trouble: str) -> bytes:
        """A frame of what an action has led to; `notice` is news, `trouble` what keeps files from being written."""
        shown = self._shown()
        self._masks = {name: mask for name, mask in self._masks.items() if name in shown}
        parts = [*self._since(shown), *self._class_parts(classes)]
        return self._frame("done", parts, {**self._state(), "notice": notice, "trouble": trouble})

    def everything(self, classes: bool, notice: str, trouble: str) -> bytes:
        """A frame that follows none: all that holds."""
        self._masks, self._classes = {}, None
        parts = [*self._since(self._shown()), *self._class_parts(classes)]
        return self._frame("state", parts, {**self._state(), "notice": notice, "trouble": trouble})

    def _frame(self, kind: str, parts: list[Part], state: dict[str, Any]) -> bytes:
        base, self.serial = self.serial, self.serial + 1
        return frame({"kind": kind, "base": base, "serial": self.serial, **state}, parts)

    def _shown(self) -> dict[str, NDArray[np.bool_]]:
        """The masks of the objects of which something was said, and of the one that is spoken of."""
        session = self.session
        names = [name for name in session.objects if name == session.active or session.interactions_of(name)]
        return {name: session.result_of(name).mask for name in names}

    def _since(self, masks: dict[str, NDArray[np.bool_]]) -> list[Part]:
        parts = []
        for name, mask in masks.items():
            before = self._masks.get(name)
            if before is not mask and (part := mask_part(name, mask, before)):
                parts.append(part)
            self._masks[name] = mask
        return parts

    def _class_parts(self, wanted: bool) -> list[Part]:
        if not wanted or not several(self.session):
            return []
        found = self.session.class_map().astype(np.uint8)
        part = class_part(found, self._classes, palette(self.session).tobytes(), clear_class(self.session))
        self._classes = found
        return [] if part is None else [part]

    def _state(self) -> dict[str, Any]:
        session, result = self.session, self.session.result
        tracks = session.history.now.tracks
        objects = [
            {
                "name": track.name,
                "said": len(track.interactions),
                "class": session.category(track.name, "") or None,
                "area": covered(session.result_of(track.name)) if track.interactions else None,
            }
            for track in tracks
        ]
        return {
            "objects": objects,
            "active": session.active,
            "interactions": interactions(session.steps, result),
            "can_undo": session.can_undo,
            "can_redo": session.can_redo,
            "result": {
                "status": result.status,
                "ms": result.seconds * 1000,
                "evaluations": result.evaluations,
                "satisfied": result.satisfied,
                "area": covered(result),
            },
        }


def interactions(steps: tuple[Step, ...], result: Result) -> list[dict[str, Any]]:
    """What was said of an object: each with its milliseconds, whether it holds, and why it does not."""
    reasons = [(each.interaction, each) for each in result.unsatisfied]
    found = []
    for step, group in zip(steps, groups_of(steps), strict=True):
        for each in group:
            missed = next((why for interaction, why in reasons if interaction is each or interaction == each), None)
            overruled = any(other is each or other == each for other in result.overruled)
            told = each.to_json()
            if len(told.get("points", ())) > MOST_POINTS:
                told["points"] = told["points"][:: -(-len(told["points"]) // MOST_POINTS)] + told["points"][-1:]
            told["ms"] = step.result.seconds * 1000
            told["state"] = "unsatisfied" if missed else "overruled" if overruled else "holds"
            told["reason"] = (
                f"{missed.probability:.0%} likely: {missed.reason}"
                if missed
                else "Something said later contradicts it."
                if overruled
                else ""
            )
            found.append(told)
    return found


def covered(result: Result) -> float:
    """The share of the photo that an object covers."""
    return int(np.count_nonzero(result.mask)) / result.mask.size


def several(session: Session) -> bool:
    """Whether a session's network knows several classes."""
    return session.net.spec.output.classes > 1


def palette(session: Session) -> NDArray[np.uint8]:
    """(K, 3) uint8: a colour for each class."""
    return voc_palette()[: min(256, session.net.spec.output.classes)]


def clear_class(session: Session) -> int:
    """The class that is drawn as nothing: the background, where there is one; else -1."""
    names = [name.strip().lower() for name in session.net.spec.class_names]
    return next((k for k, name in enumerate(names) if name in BACKGROUNDS), -1)
