"""A session on a volume as the page uses it: what is drawn on a slice becomes an interaction, and masks are of slices.

Two kinds of sessions are behind it, in `in_space.py` and `in_slices.py`. In messages an interaction is that of a photo,
drawn on the picture of a slice; in the journal it is in voxels, so that no later way of drawing can change it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from interactify.app.volumes.planes import Cut, Plane
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.errors import InteractionError, with_type
from interactify.interactions.click import Interaction
from interactify.optim.status import Status
from interactify.slices.session import SliceSession
from interactify.volumes.session import VolumeSession
from interactify.web.actions import Action, read_action, read_interactions

S = TypeVar("S", VolumeSession, SliceSession)

NAME: Final = "object 1"  # of the one object of a session
HISTORY: Final = ("undo", "redo", "reset")
ACTIONS: Final = ("add", "remove", "move", *HISTORY)
BY_TIME: Final = {Status.CANCELLED, Status.TIME}  # ends of a refinement that would come elsewhere another time

Run = Callable[[Any], object]


class VolumeAction(Action):
    """A change of a session on a volume; one that comes while another one runs waits for it."""

    @property
    def supersedes(self) -> bool:
        return False


class OpenVolume(ABC, Generic[S]):
    """A session on a volume, and the volume as it is shown.

    Attributes:
        session: the session.
        shown: the volume's slices.
    """

    kinds: ClassVar[tuple[str, ...]]  # of interactions that the session takes
    knows_probability: ClassVar[bool] = False  # whether its result has more than a mask

    def __init__(self, session: S, shown: ShownVolume) -> None:
        self.session: S = session
        self.shown = shown

    @property
    def result(self) -> Any:
        """The session's current result."""
        return self.session.result

    @property
    @abstractmethod
    def planes(self) -> tuple[Plane, ...]:
        """The ways to cut the volume in which there are masks."""

    @property
    @abstractmethod
    def version(self) -> object:
        """What differs from its value before exactly where an action has changed the session."""

    @abstractmethod
    def is_repeatable(self, added: bool) -> bool:
        """Whether the last action, an addition or another one, would give the same again: nothing ended it early."""

    @abstractmethod
    def mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        """(H, W) bool: the mask in the picture of a slice."""

    @abstractmethod
    def initial_mask_of(self, cut: Cut) -> NDArray[np.bool_]:
        """The same of the network's own mask, before any interaction."""

    def uncertainty_of(self, cut: Cut) -> NDArray[np.float32] | None:
        """(H, W) float32: 1 where object and background are as likely, 0 where one is certain; None if unknown."""
        return None

    @abstractmethod
    def interactions(self) -> list[dict[str, Any]]:
        """All interactions for the page: kind, positive, points (x, y, z) of the volume, state and milliseconds."""

    @abstractmethod
    def preview_of(self, cut: Cut) -> NDArray[np.bool_] | None:
        """The mask so far of an action that still runs; None where there is none that was not asked for before."""

    @abstractmethod
    def _drawn(self, interactions: Sequence[Interaction], cut: Cut) -> dict[str, Any]:
        """Interactions drawn on a slice, for the journal: what `_adding` takes."""

    @abstractmethod
    def _adding(self, content: Mapping[str, Any]) -> Run:
        """What adds the interactions of an action in the journal. Raises InteractionError."""

    def read(self, content: Any, cut: Cut) -> VolumeAction:
        """An action from the page, whose interactions are drawn on a slice. Raises InteractionError, OptionError."""
        if not isinstance(content, dict) or content.get("do") not in ACTIONS:
            raise InteractionError(
                f"Expected an action on a volume, one of {', '.join(ACTIONS)}, got {with_type(content)}."
            )
        if content["do"] == "move":
            read_action(content)  # its keys and its index
            z, y, x = _at(cut, content["x"], content["y"])
            return self.stored({"do": "move", "index": content["index"], "x": x, "y": y, "z": z})
        if content["do"] != "add":
            return self.stored(content)
        read_action(content)
        for each in content["interactions"]:
            if each["kind"] not in self.kinds:
                raise InteractionError(
                    f"Expected interactions of the kinds {', '.join(self.kinds)}, got {with_type(each)}."
                )
        interactions = read_interactions(content["interactions"])
        return self.stored({"do": "add", **self._drawn(interactions, cut)})

    def stored(self, content: Mapping[str, Any]) -> VolumeAction:
        """An action from the journal. Raises InteractionError."""
        name = content.get("do")
        if name == "add":
            return VolumeAction(content, True, self._adding(content))
        if name == "move":
            index, x, y, z = (content.get(key) for key in ("index", *"xyz"))
            return VolumeAction(content, True, lambda opened: opened.session.move(index, x, y, z))
        if name == "remove":
            action = read_action(dict(content))
            return VolumeAction(content, True, lambda opened: action.run(opened.session))
        if name not in HISTORY or list(content) != ["do"]:
            raise InteractionError(
                f"Expected an action on a volume, one of {', '.join(ACTIONS)}, got {with_type(content)}."
            )
        action = read_action(dict(content))
        return VolumeAction(content, False, lambda opened: action.run(opened.session))

    def state(self) -> dict[str, Any]:
        """The session's state as JSON, as a photo's; what would take the whole mask is left out."""
        session, result, interactions = self.session, self.session.result, self.interactions()
        return {
            "objects": [{"name": NAME, "interactions": len(interactions), "class": None, "area": None}],
            "active": NAME,
            "interactions": interactions,
            "can_undo": session.can_undo,
            "can_redo": session.can_redo,
            "result": {
                "status": result.status,
                "ms": result.seconds * 1000,
                "evaluations": result.evaluations,
                "satisfied": result.satisfied,
                "choice": "usual",
                "area": None,
            },
        }

    @property
    def count(self) -> int:
        """How many interactions there are."""
        return len(self.session.interactions)

    def make_way(self) -> None:
        """Nothing: an action on a volume waits for the one before it."""

    def cancel(self) -> None:
        """End the running change with what was reached."""
        self.session.cancel()

    def copied(self) -> OpenVolume[S]:
        """A copy of the session as it is now."""
        copied = copy.copy(self)
        copied.session = copy.copy(self.session)
        return copied

    def save(self, path: str | Path) -> Path:
        """Write the session to a file; as `VolumeSession.save`."""
        return self.session.save(path)

    def save_mask(self, path: Path) -> None:
        """Write the whole mask to a volume's file; as `VolumeResult.save`."""
        result = self.session.result
        result.save(path)
        result.release_arrays()


def _at(cut: Cut, x: Any, y: Any) -> tuple[int, int, int]:
    """The voxel z, y, x at a pixel of a slice's picture. Raises InteractionError."""
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in (x, y)):
        raise InteractionError(f"Expected x and y as numbers, got {with_type((x, y))}.")
    return cut.plane.voxel(x, y, cut.index)


def points_on(cut: Cut, points: Sequence[Sequence[float]]) -> list[tuple[int, int, int]]:
    """The voxels x, y, z at pixels (x, y) of a slice's picture, each once in a row. Raises InteractionError."""
    voxels = [_at(cut, *point)[::-1] for point in points]
    return [voxel for k, voxel in enumerate(voxels) if not k or voxel != voxels[k - 1]]
