"""How what a click says follows the picture: colours that belong to the object, and edges where it ends.

A network never trained for clicks gives soft maps, and its answer to one pixel spreads as its own filters do, not as
the object lies. So what is shown for its log-odds z is G(z + w·c): c is what each pixel's colour says (`colour.py`),
learnt anew at each click from the mask before it, and G the guided filter (`guided_filter.py`), which moves borders to
edges. Around the clicks it is z itself: there people have spoken, the network has been made to agree, and no colour is
asked. So clicks hold in the mask. Before the first click nothing is added: the network's own prediction is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interactify.errors import OptionError
from interactify.propagation.colour_model import evidence
from interactify.propagation.guided_filter import GuidedFilter

AT = 1.5  # network pixels around a click that are wholly the network's own: those that its pixel is read from
NEAR = 3.0  # network pixels, the standard deviation with which that share falls off beyond


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Propagation:
    """How far a click's correction follows the picture.

    Attributes:
        name: "none", "edges" or "colour".
        colour: w, the weight of the colours' log-odds; 0 for none.
        radius: of the guided filter, in network pixels; 0 for none.
        edge: of the guided filter: the square of the contrast, of photos in [0, 1], that makes an edge.

    Raises:
        OptionError: a weight below 0, a radius that is no whole number from 0 up, an edge that is not above 0.
    """

    name: str
    colour: float = 0.0
    radius: int = 0
    edge: float = 1e-3

    def __post_init__(self) -> None:
        if not _number(self.colour) or self.colour < 0:
            raise OptionError(f"Expected colour to be a weight of 0 or more, such as 1.5; got {self.colour!r}.")
        if isinstance(self.radius, bool) or not isinstance(self.radius, int) or self.radius < 0:
            raise OptionError(f"Expected radius to be a whole number of pixels, 0 or more; got {self.radius!r}.")
        if not _number(self.edge) or self.edge <= 0:
            raise OptionError(f"Expected edge to be above 0, such as 1e-3; got {self.edge!r}.")

    def __str__(self) -> str:
        edges = f"edges (guided filter, radius {self.radius})" if self.radius else ""
        colours = f"the object's colours in the photo, weight {self.colour:g}" if self.colour else ""
        return " and ".join(filter(None, (colours, edges))) or "the network's map as it is"

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.colour or self.radius)

    def filter(self, guide: Tensor) -> GuidedFilter | None:
        """The filter along the edges of a guide (1, C, h, w), the same for every click on it."""
        return GuidedFilter(guide, self.radius, self.edge) if self.radius else None

    def spread(
        self,
        guide: Tensor,
        content: tuple[int, int],
        along: GuidedFilter | None,
        before: Tensor,
        points: Tensor,
        labels: Sequence[bool],
    ) -> Spread:
        """What holds while one click is refined.

        Args:
            guide: (1, C, h, w).
            content: (h', w') of it, what is not padding.
            along: its filter.
            before: (1, 1, h, w) log-odds of the object before the click.
            points, labels: all clicks, the newest included, (n, 2) in the guide's pixels, and n.
        """
        if not self.active:
            return Spread()
        said = self.colour * evidence(before, guide, content, points, labels) if self.colour else None
        return Spread(along, said, around(points, guide))


@dataclass(frozen=True, eq=False)
class Spread:
    """What is shown for a network's log-odds z while one click is refined: (1 - own)·G(z + said) + own·z.

    Attributes:
        along: G; None for no filter.
        said: (1, 1, h, w) log-odds; None for none.
        own: (1, 1, h, w) from 0 to 1, 1 at the clicks; None for 1 everywhere.
    """

    along: GuidedFilter | None = None
    said: Tensor | None = None
    own: Tensor | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """The map (1, 1, h, w) that is shown for a network's log-odds (1, 1, h, w)."""
        if self.own is None:
            return logits
        spread = logits if self.said is None else logits + self.said.to(logits.dtype)
        spread = spread if self.along is None else self.along(spread)
        return torch.lerp(spread, logits, self.own.to(logits.dtype))


def around(points: Tensor, guide: Tensor) -> Tensor:
    """How much of the network's own map is shown, (1, 1, h, w): all of it at the points (n, 2), less with distance."""
    height, width = guide.shape[-2:]
    own = torch.zeros(height, width, dtype=guide.dtype)
    reach = AT + 5 * NEAR  # beyond, next to nothing
    for x, y in points.tolist():
        rows = slice(max(0, int(y - reach)), min(height, int(y + reach) + 2))
        columns = slice(max(0, int(x - reach)), min(width, int(x + reach) + 2))
        down, across = torch.arange(rows.start, rows.stop) - y, torch.arange(columns.start, columns.stop) - x
        beyond = (torch.hypot(down[:, None], across[None]) - AT).clamp(min=0)
        own[rows, columns] = torch.maximum(own[rows, columns], torch.exp(-beyond.square() / (2 * NEAR**2)).to(own))
    return own[None, None].to(guide)


PROPAGATIONS = {
    "none": Propagation("none"),
    "edges": Propagation("edges", radius=3),
    "colour": Propagation("colour", colour=1.5, radius=3),
}


def propagation_named(propagation: str | Propagation) -> Propagation:
    """The propagation of that name ("none", "edges", "colour"), or the one given.

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


def usual_propagation(classes: int) -> Propagation:
    """What did best for networks of that many classes (docs/tried.md): of many, colours tell few apart."""
    return PROPAGATIONS["colour" if classes <= 2 else "edges"]


def guide_of(image: Tensor) -> Tensor:
    """What a photo (1, C, h, w) in [0, 1] is followed by: itself up to three channels, of more what varies most.

    Of more than three channels (satellites, stains) the three first principal components are taken, each brought to
    [0, 1]. In half precision the guide is float32.
    """
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    if image.shape[1] <= 3:
        return image.clamp(0, 1)
    flat = image[0].flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    # The eigenvectors of a small matrix: of C x C numbers, whatever the picture's size.
    _, axes = torch.linalg.eigh(centred @ centred.T)
    parts = axes[:, -3:].T @ centred
    least, most = parts.amin(1, keepdim=True), parts.amax(1, keepdim=True)
    return ((parts - least) / (most - least).clamp(min=1e-6)).view(1, 3, *image.shape[-2:])
