"""A wrapped network with its options: what sessions read, and may not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from interactify.brs.energy import Energy
from interactify.errors import ModelChangedError, ModelError
from interactify.inspection.model_state import ModelState
from interactify.inspection.portable import portable
from interactify.inspection.replica import independent_copy_of
from interactify.inspection.spec import ModelSpec
from interactify.network.network import Network
from interactify.network.variables import Variables
from interactify.pictures.picture import Picture, PictureLike, open_picture
from interactify.pictures.value_range import ValueRange
from interactify.propagation.propagation import Propagation
from interactify.runtime.runtime import Runtime


@dataclass(frozen=True, eq=False, repr=False)
class Wrapped:
    """A network with its variables, energy, solver and limits; see `interactify.wrap` for what each means.

    Attributes:
        model: the user's own network, untouched.
        network: its replica, as the library runs it.
        runtime: runs the replica's passes.
        variables, energy, solver: what refinement moves, what it minimises, and how.
        target: the class of a positive click; None for the class under the first click.
        max_evaluations, max_seconds: limits of a click.
        zoom, propagation: whether the network zooms in, and how a correction spreads over the picture.
        options: all arguments of `wrap` beside the model.
        state: the model's weights, modules and hooks, as they were when it was wrapped.
        wrap_again: wraps a model with options, for a copy and in another process.
    """

    model: nn.Module
    network: Network
    runtime: Runtime
    variables: Variables
    energy: Energy
    solver: str
    target: int | None
    max_evaluations: int
    max_seconds: float | None
    zoom: bool
    propagation: Propagation
    options: Mapping[str, Any]
    state: ModelState
    wrap_again: Callable[[nn.Module, Mapping[str, Any]], Wrapped]

    @property
    def spec(self) -> ModelSpec:
        """What was found of the network."""
        return self.network.spec

    @property
    def value_range(self) -> ValueRange | None:
        """The values of photos that are black and white, as given to `wrap`; None for those of their types."""
        found: ValueRange | None = self.options.get("value_range")
        return found

    def picture(self, photo: PictureLike, value_range: ValueRange | None = None) -> Picture:
        """Open a photo in the network's channels, with a range of values: the given one, the photo's own, or `wrap`'s.

        Raises:
            PhotoError, OptionError: as `open_picture`.
            ModelError: the network is one of volumes.
        """
        self.check_reads_images()
        own = photo.value_range if isinstance(photo, Picture) else None
        return open_picture(photo, self.spec.channels, value_range=value_range or own or self.value_range)

    def check_reads_images(self) -> None:
        """Raise ModelError for a network of volumes, where only photos are shown."""
        if self.spec.sides == 3:
            raise ModelError(
                "Expected a network of images to open a photo, got one of volumes, which this part of the library "
                "can't show. Try net.session(volume)."
            )

    def unwrap(self) -> nn.Module:
        """The user's own model, untouched."""
        return self.model

    def now(self) -> Wrapped:
        """What a new session runs: this network, which has not changed.

        Raises:
            ModelChangedError: the model has changed since it was wrapped.
        """
        self.check_unchanged(every_value=True)
        return self

    def check_unchanged(self, every_value: bool = False) -> None:
        """Raise ModelChangedError where the model is not as it was when it was wrapped.

        Args:
            every_value: compare all weights, and not only a sample of each tensor (`ModelState.change`).
        """
        change = self.state.change(every_value)
        if change:
            raise ModelChangedError(
                f"Expected the network as it was when this session was opened, got one that has changed since: "
                f"{change}. The session keeps its results and its log. Try a new session, "
                "net.session(photo), which follows the network as it is now; interactify.replay(session.log(), net, "
                "photo) repeats all interactions in one."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """The model and the options; all else is found again, since caches and locks belong to a process."""
        return self.wrap_again, (portable(self.model), dict(self.options))

    def __deepcopy__(self, memo: dict[int, Any]) -> Wrapped:
        """A wrap of a copy of the model, with the same options."""
        copied = memo[id(self)] = self.wrap_again(independent_copy_of(self.model), self.options)
        return copied
