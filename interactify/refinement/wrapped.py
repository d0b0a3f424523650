"""A wrapped network with its options: what sessions read, and may not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from interactify.brs.energy import Energy
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
        """
        own = photo.value_range if isinstance(photo, Picture) else None
        return open_picture(photo, self.spec.channels, value_range=value_range or own or self.value_range)

    def unwrap(self) -> nn.Module:
        """The user's own model, untouched."""
        return self.model
