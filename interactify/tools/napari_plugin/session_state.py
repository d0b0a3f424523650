"""The state of a session that the window displays, computed outside the window's thread; and photos from layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from interactify.errors import PhotoError
from interactify.interactions.click import Click

if TYPE_CHECKING:  # a session at a service needs no torch, which the other one brings with it
    from interactify import client
    from interactify.refinement.result import Result
    from interactify.session.session import Session

AnySession: TypeAlias = "Session | client.Session"
AnyResult: TypeAlias = "Result | client.Result"


@dataclass(frozen=True, eq=False)
class SessionState:
    """All that the window displays of a session at one time.

    Attributes:
        labels: (H, W) int32, k for the k-th object; of a volume (D, H, W) uint8, 1 for its only one.
        clicks: of the active object.
        objects: the names of all.
        active: the index of the active object in `objects`, from 0.
        text: a summary of the last result.
        waiting: whether corrections of slices are not carried to their neighbours yet.
    """

    labels: NDArray[np.int32] | NDArray[np.uint8]
    clicks: tuple[Click, ...]
    objects: tuple[str, ...]
    active: int
    can_undo: bool
    can_redo: bool
    text: str
    waiting: bool = False


def state_of(session: AnySession, result: AnyResult) -> SessionState:
    """A session's current state; `result` is that of the last change."""
    labels = session.label_map()
    active = session.objects.index(session.active)
    if not session.interactions:  # of an object without interactions, the network's own prediction
        labels[(labels == 0) & session.result.mask] = active + 1
    clicks = tuple(each for each in session.interactions if isinstance(each, Click))
    return SessionState(labels, clicks, session.objects, active, session.can_undo, session.can_redo, summary(result))


def summary(result: AnyResult) -> str:
    """A line about a result: the number of clicks, the time, and which are not satisfied and why."""
    count = len(result.interactions)
    if not count:
        return "The network's own prediction. Click where it is wrong."
    line = f"{count} click{'s' * (count > 1)}, {result.seconds * 1000:.0f} ms"
    if result.satisfied:
        return f"{line}: {'all are satisfied' if count > 1 else 'it is satisfied'}."
    unsatisfied = result.unsatisfied
    clicks = [each.interaction for each in unsatisfied if isinstance(each.interaction, Click)]
    pixels = ", ".join(f"({click.x}, {click.y})" for click in clicks[:3])
    verb = "is" if len(unsatisfied) == 1 else "are"
    return f"{line}: {len(unsatisfied)} {verb} not satisfied, at {pixels}. Why: {unsatisfied[0].reason}."


def photo_of(layer: Any) -> NDArray[Any]:
    """The picture of an image layer: colours (H, W, 3 or 4), or (H, W) in [0, 1] by the layer's contrast limits.

    Raises:
        PhotoError: the layer is no single picture.
    """
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    array = np.asarray(data)
    if array.ndim != (3 if layer.rgb else 2):
        raise PhotoError(
            f"Expected a layer with one picture, rows by columns, got {layer.name!r} of shape {array.shape}. "
            "Try one slice of it: viewer.add_image(layer.data[0])."
        )
    if layer.rgb:
        return array
    low, high = layer.contrast_limits
    return np.clip((array.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
