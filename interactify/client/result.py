"""What comes back from an interaction with a served session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import interaction_from_json
from interactify.pictures.window import Window

OWN_KEYS = ("ms", "state", "reason")  # of an interaction in a state, beside its own


@dataclass(frozen=True)
class Unsatisfied:
    """An interaction whose label the mask does not have everywhere, and why, for a person to read."""

    interaction: Interaction
    reason: str


@dataclass(frozen=True, eq=False)
class Prompted:
    """What `Session.prompt` gives: a mask (H, W) bool, and its IoU in [0, 1] as the network estimates it."""

    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, eq=False)
class Result:
    """A mask, and how it came to be; as `interactify.Result`, as far as the service sends it.

    Attributes:
        number: of the session's action that it is the result of.
        mask: (H, W) bool, read-only: where the object is more likely than not.
        state: as the service sent it.
        before: the mask before the action, where it is known; else None.
        fetch: gets the probabilities of this very result.
    """

    number: int
    mask: NDArray[np.bool_]
    state: Mapping[str, Any]
    before: NDArray[np.bool_] | None
    fetch: Callable[[int], NDArray[np.float32]]

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1], asked for now. Raises ServiceError where the session has changed since."""
        return self.fetch(self.number)

    def mask_in(self, window: Window, step: int = 1) -> NDArray[np.bool_]:
        """(h, w) bool: the mask in a window of the photo, of every `step`-th row and column."""
        return self.mask[window.slices_by(step)]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        height, width = self.mask.shape
        return height, width

    @property
    def satisfied(self) -> bool:
        """Whether the mask has the label of every interaction in effect."""
        return bool(self.state["result"]["satisfied"])

    @property
    def status(self) -> str:
        """Why the refinement ended, as `interactify.Result.status`."""
        return str(self.state["result"]["status"])

    @property
    def evaluations(self) -> int:
        """How often the network was run for it."""
        return int(self.state["result"]["evaluations"])

    @property
    def seconds(self) -> float:
        """Wall time of the refinement on the server; the request, and waiting for others, not counted."""
        return float(self.state["result"]["ms"]) / 1000

    @property
    def choice(self) -> str:
        """Which alternative it is: "narrow", "usual" or "wide"."""
        return str(self.state["result"]["choice"])

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """The interactions in effect."""
        return interactions_in(self.state, self.size, "satisfied", "unsatisfied")

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks in effect."""
        return tuple(each for each in self.interactions if isinstance(each, Click))

    @property
    def overruled(self) -> tuple[Interaction, ...]:
        """The interactions that are no longer in effect, because later ones contradict them."""
        return interactions_in(self.state, self.size, "overruled")

    @property
    def unsatisfied(self) -> tuple[Unsatisfied, ...]:
        """The interactions in effect whose label the mask does not have everywhere, and why."""
        reasons = [each["reason"] for each in self.state["interactions"] if each["state"] == "unsatisfied"]
        found = interactions_in(self.state, self.size, "unsatisfied")
        return tuple(Unsatisfied(*each) for each in zip(found, reasons, strict=True))

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the mask differs from the one before the action."""
        return np.zeros(self.size, bool) if self.before is None else self.mask != self.before


def interactions_in(state: Mapping[str, Any], size: tuple[int, int], *states: str) -> tuple[Interaction, ...]:
    """The interactions of the object that a state is of, on a photo of (H, W) pixels; with `states` only those in them.

    They are "satisfied", "unsatisfied" or "overruled".
    """
    found = [each for each in state["interactions"] if not states or each["state"] in states]
    own = [{key: value for key, value in each.items() if key not in OWN_KEYS} for each in found]
    return tuple(interaction_from_json(each).within(size) for each in own)
