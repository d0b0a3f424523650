"""What of a session is shown, worked out beside the window: labels, clicks, objects, and how the last click went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.errors import PhotoError
from interactify.interactions.click import Click
from interactify.refinement.result import Result
from interactify.session.session import Session


@dataclass(frozen=True, eq=False)
class Shown:
    """All that the window shows of a session at a time.

    Attributes:
        labels: (H, W) int32, k for the k-th object.
        clicks: those of the object that is spoken of.
        objects: the names of all.
        active: the place in `objects` of the one that is spoken of, from 0.
        text: how the last click went.
    """

    labels: NDArray[np.int32]
    clicks: tuple[Click, ...]
    objects: tuple[str, ...]
    active: int
    can_undo: bool
    can_redo: bool
    text: str


def shown(session: Session, result: Result) -> Shown:
    """A session as it is now; `result` is what the last thing that was said gave."""
    labels = session.label_map()
    active = session.objects.index(session.active)
    if not session.interactions:  # of an object of which nothing was said, the network's own prediction
        labels[(labels == 0) & session.result.mask] = active + 1
    clicks = tuple(each for each in session.interactions if isinstance(each, Click))
    return Shown(labels, clicks, session.objects, active, session.can_undo, session.can_redo, told(result))


def told(result: Result) -> str:
    """A line about a result: how many clicks hold, what they took, and what does not hold and why."""
    count = len(result.interactions)
    if not count:
        return "The network's own prediction. Click where it is wrong."
    line = f"{count} click{'s' * (count > 1)}, {result.seconds * 1000:.0f} ms"
    if result.satisfied:
        return f"{line}: {'all hold' if count > 1 else 'it holds'}."
    missed = result.unsatisfied
    clicks = [each.interaction for each in missed if isinstance(each.interaction, Click)]
    places = ", ".join(f"({click.x}, {click.y})" for click in clicks[:3])
    verb = "does" if len(missed) == 1 else "do"
    return f"{line}: {len(missed)} {verb} not hold, at {places}. Why: {missed[0].reason}."


def photo_of(layer: Any) -> NDArray[Any]:
    """An image layer as a network is to see it: colours (H, W, 3 or 4), or (H, W) in the layer's contrast limits.

    Raises:
        PhotoError: a layer that is no single picture.
    """
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    array = np.asarray(data)
    if array.ndim != (3 if layer.rgb else 2):
        raise PhotoError(
            f"Expected a layer with one picture, rows by columns; {layer.name!r} has the shape {array.shape}. "
            "Try one slice of it: viewer.add_image(layer.data[0])."
        )
    if layer.rgb:
        return array
    low, high = layer.contrast_limits
    return np.clip((array.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
