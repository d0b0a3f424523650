"""Spread the correction of a click over the picture: to pixels of the object's colours, and up to the edges around it.

A network that was not trained for clicks returns soft maps, and the effect of one pixel spreads by its filters, not
by the object's shape. So the result for its log-odds z is G(z + w·c). Here c are the log-odds of each pixel's colour
(`colour_model.py`), learnt at each click from the mask before it, and G is the guided filter (`guided_filter.py`),
which moves borders to edges. Around the clicks the result is z itself, since refinement made the network satisfy them:
so they are satisfied in the mask. Before the first click, the result is the network's own prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import torch
from torch import Tensor

from interactify.errors import OptionError
from interactify.propagation.change_gate import ChangeGate
from interactify.propagation.click_reach import Reach
from interactify.propagation.colour_model import evidence
from interactify.propagation.guided_filter import GuidedFilter

AT = 1.5  # network pixels around a click where the result is z alone: its pixel is read from these
NEAR = 3.0  # network pixels: the standard deviation of the decrease of z's share beyond


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Propagation:
    """How far a click's correction follows the picture.

    Attributes:
        name: "none", "edges", "colour", "careful" or "near".
        colour: w, the weight of the colours' log-odds; 0 for none.
        radius: of the guided filter, in network pixels; 0 for none.
        edge: of the guided filter: the square of the contrast of an edge, in photos in [0, 1].
        adapts: whether sessions choose radius and colour anew for each photo, no higher than these (`suited.py`).
        alike: how far colours, in [0, 1], may be from those of the newest clicks for a large change of a steady mask to
            be displayed there (`change_gate.py`), where colours have a weight; 0 for any change.
        reach: how far around itself a click close to the mask's border changes it, where anything is propagated
            (`click_reach.py`); None for any distance.

    Raises:
        OptionError: a weight or a distance below 0, a radius that is not a whole number of 0 or more, an edge that is
            not above 0.
    """

    name: str
    colour: float = 0.0
    radius: int = 0
    edge: float = 1e-3
    adapts: bool = False
    alike: float = 0.0
    reach: Reach | None = None

    def __post_init__(self) -> None:
        if not _number(self.colour) or self.colour < 0:
            raise OptionError(f"Expected colour to be a weight of 0 or more, such as 1.5, got {self.colour!r}.")
        if isinstance(self.radius, bool) or not isinstance(self.radius, int) or self.radius < 0:
            raise OptionError(f"Expected radius to be a whole number of pixels, 0 or more, got {self.radius!r}.")
        if not _number(self.edge) or self.edge <= 0:
            raise OptionError(f"Expected edge to be above 0, such as 1e-3, got {self.edge!r}.")
        if not _number(self.alike) or self.alike < 0:
            raise OptionError(f"Expected alike to be a distance of 0 or more, such as 0.09, got {self.alike!r}.")
        if self.reach is not None and not isinstance(self.reach, Reach):
            raise OptionError(f"Expected reach to be a Reach, such as Reach(depths=5), or None, got {self.reach!r}.")

    def __repr__(self) -> str:
        """The text by which session files compare propagations: without `adapts`, `alike` of 0 or `reach` of None."""
        optional = (key for key in ("alike", "reach") if getattr(self, key))
        shown = {key: getattr(self, key) for key in ("name", "colour", "radius", "edge", *optional)}
        return f"Propagation({', '.join(f'{key}={value!r}' for key, value in shown.items())})"

    def __str__(self) -> str:
        edges = f"along edges (guided filter, radius {self.radius})" if self.radius else ""
        colours = f"to the object's colours in this photo (weight {self.colour:g})" if self.colour else ""
        suited = ", as far as it suits the photo" if self.adapts else ""
        gated = "; a steady mask changes much only among the clicked colours" if self.gates else ""
        near = "; a click near the mask's border changes only what is near it" if self.reach and self.active else ""
        follows = " and ".join(filter(None, (colours, edges))) or "none: the network's map as it is"
        return follows + suited + gated + near

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.colour or self.radius)

    @property
    def gates(self) -> bool:
        """Whether large changes of a steady mask are kept among the colours of what was clicked."""
        return bool(self.colour and self.alike)

    def filter(self, guide: Tensor) -> GuidedFilter | None:
        """The filter along the edges of a guide (1, C, h, w); it does not depend on the clicks."""
        return GuidedFilter(guide, self.radius, self.edge) if self.radius else None

    def spread(
        self,
        guide: Tensor,
        content: tuple[int, ...],
        along: GuidedFilter | None,
        before: Tensor,
        points: Tensor,
        labels: Sequence[bool],
    ) -> Spread:
        """The `Spread` for the refinement of one click.

        Args:
            guide: (1, C, h, w).
            content: (h', w') of the guide without padding.
            along: the guide's filter.
            before: (1, 1, h, w) log-odds of the object before the click.
            points, labels: all clicks, the newest included, (n, 2) in the guide's pixels, and n.
        """
        if not self.active:
            return Spread()
        colour_odds = self.colour * evidence(before, guide, content, points, labels) if self.colour else None
        return Spread(along, colour_odds, own_share(points, guide))


@dataclass(frozen=True, eq=False)
class Spread:
    """The result for a network's log-odds z during the refinement of one click: (1 - own)·G(z + colour_odds) + own·z.

    Attributes:
        along: G; None for no filter.
        colour_odds: (1, 1, h, w) log-odds of the colours; None for none.
        own: (1, 1, h, w) from 0 to 1, 1 at the clicks; None for 1 everywhere.
        gate: what of the result's change is displayed; None for all of it.
    """

    along: GuidedFilter | None = None
    colour_odds: Tensor | None = None
    own: Tensor | None = None
    gate: ChangeGate | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """The resulting log-odds (1, 1, h, w) for a network's log-odds (1, 1, h, w)."""
        if self.own is None:
            return logits
        spread = logits if self.colour_odds is None else logits + self.colour_odds.to(logits.dtype)
        spread = spread if self.along is None else self.along(spread)
        spread = torch.lerp(spread, logits, self.own.to(logits.dtype))
        return spread if self.gate is None else self.gate(spread, self.own)


def own_share(points: Tensor, guide: Tensor) -> Tensor:
    """The share of the network's own map in the result: 1 at the points, less with distance.

    (1, 1, h, w) for points (n, 2), x, y, in a guide (1, C, h, w); (1, 1, d, h, w) for (n, 3) in (1, C, d, h, w).
    """
    size = guide.shape[2:]
    own = torch.zeros(size, dtype=guide.dtype, device="cpu")
    reach = AT + 5 * NEAR  # beyond it is almost 0
    for point in points.tolist():
        centres = point[::-1]
        near = tuple(
            slice(max(0, int(at - reach)), min(side, int(at + reach) + 2))
            for at, side in zip(centres, size, strict=True)
        )
        away = (
            torch.arange(span.start, span.stop, dtype=torch.float32, device="cpu") - at
            for span, at in zip(near, centres, strict=True)
        )
        axes = (each.view([-1 if k == axis else 1 for k in range(len(size))]) for axis, each in enumerate(away))
        beyond = (reduce(torch.hypot, axes) - AT).clamp(min=0)
        own[near] = torch.maximum(own[near], torch.exp(-beyond.square() / (2 * NEAR**2)).to(own))
    return own[None, None].to(guide)


PROPAGATIONS = {
    "none": Propagation("none"),
    "edges": Propagation("edges", radius=3),
    "colour": Propagation("colour", colour=1.5, radius=3),
    "careful": Propagation("careful", colour=1.5, radius=3, adapts=True, alike=0.087),
    "near": Propagation("near", colour=1.5, radius=3, adapts=True, alike=0.087, reach=Reach(5.0, 0.125)),
}


SEVERAL: Final = Reach(3.0)  # of "near", for networks of several classes


def propagation_named(propagation: str | Propagation) -> Propagation:
    """The propagation of that name ("none", "edges", "colour", "careful", "near"), or the one given.

    Raises:
        OptionError: for anything else.
    """
    if isinstance(propagation, Propagation):
        return propagation
    if isinstance(propagation, str) and propagation in PROPAGATIONS:
        return PROPAGATIONS[propagation]
    raise OptionError(
        f"Expected propagation to be one of {', '.join(PROPAGATIONS)}, or a Propagation; got {propagation!r}."
    )


def propagation_for(given: Propagation | None, classes: int, reads_clicks: bool, sides: int) -> Propagation:
    """The given propagation, or the usual one, which "careful" is for any network, and "near" with a reach.

    Raises OptionError for colours in volumes, of 3 sides.
    """
    if given is not None and given.colour and sides == 3:
        raise OptionError(
            f"Expected propagation='none' or 'edges' for a network of volumes, got {given.name!r}, which follows "
            "colours. Try 'edges'."
        )
    if given == PROPAGATIONS["edges"] and sides == 3:
        return replace(given, adapts=True)
    usual = usual_propagation(classes, reads_clicks, sides)
    if given == PROPAGATIONS["careful"]:
        return usual
    if given == PROPAGATIONS["near"]:
        reach = given.reach if classes <= 2 else SEVERAL
        return replace(usual, name=given.name, reach=reach) if usual.active else usual
    return given or usual


def usual_propagation(classes: int, reads_clicks: bool = False, sides: int = 2) -> Propagation:
    """The best one for networks of that many classes (docs/tried.md): colours distinguish few of many classes.

    A network that was trained to read clicks spreads them itself. In volumes, of 3 sides, nothing spreads unless it is
    asked for: on synthetic ones edges gained nothing (docs/volumes.md).
    """
    if reads_clicks or sides == 3:
        return PROPAGATIONS["none"]
    return PROPAGATIONS["careful"] if classes <= 2 else PROPAGATIONS["edges"]


def guide_of(image: Tensor) -> Tensor:
    """The guide for a photo (1, C, h, w) in [0, 1]: the photo itself up to three channels.

    For more channels (satellites, stains) it is the first three principal components, each scaled to [0, 1]. In half
    precision the guide is float32.
    """
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    if image.shape[1] <= 3:
        return image.clamp(0, 1)
    flat = image[0].flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    # Eigenvectors of a C x C matrix, small for a picture of any size.
    _, axes = torch.linalg.eigh(centred @ centred.T)
    parts = axes[:, -3:].T @ centred
    least, most = parts.amin(1, keepdim=True), parts.amax(1, keepdim=True)
    return ((parts - least) / (most - least).clamp(min=1e-6)).view(1, 3, *image.shape[-2:])
