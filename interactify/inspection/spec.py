"""What the library has to know of a network: stated by adapter or user (`Knowledge`), or found (`ModelSpec`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from interactify.inspection.activation import Activation
from interactify.inspection.click_input import ClickMaps
from interactify.inspection.image_flow import StemCall
from interactify.inspection.outputs import Output, OutputSpec

RESOLUTION: Final = 96  # voxels along each side in which a volume is seen at once, where nothing states another number

Fit = Literal["letterbox", "squash"]
"""How a photo is brought to a network's size: with its aspect ratio kept, or resized to a square."""


@dataclass(frozen=True)
class Numbers:
    """What a map is that has a number for each pixel, not a class.

    Attributes:
        what: in words, for `describe()`: "opacity, in [0, 1]".
        alignment: what the network leaves open of its units: "none", "shift", "scale", "scale_shift".
        tolerance: how far a value may be from its goal, in these units; None for a share of the map's range.
        probability: whether the map may as well be read as the probability of an object, as a matte may.
    """

    what: str
    alignment: str = "none"
    tolerance: float | None = None
    probability: bool = False


@dataclass(frozen=True)
class Knowledge:
    """What an adapter or the user states of a network before it runs; None or empty for anything not stated.

    Attributes:
        family: what the network is, for `describe()`: "segmentation_models_pytorch, resnet34 encoder".
        forward: runs instead of the model's own forward, as `forward(model, image)`, image (N, C, H, W). Inside it,
            `model(image, …)` is the model's own forward. For a click network its maps follow the image's channels.
        stem: name of the module that reads the image.
        output: key, index, dotted path or callable that leads to the map in what the network returns.
        activation: of the map: "none", "sigmoid", "softmax" or "sigmoid-logits".
        class_names: one for each class, in order.
        points: the usual insertion points "A", "B", "C", as names of modules.
        mean, std: per channel, of images in [0, 1].
        normalisation: where mean and std were taken from; "assumed" is in it where the network itself states nothing,
            and `wrap` warns.
        whole: whether mean and std are for the network as a whole, so that they are used even where arithmetic inside
            it looks like a normalisation.
        bgr: whether the channels are in the order blue, green, red.
        resolution: longest side of a photo in network pixels.
        fit: how a photo is brought to that size: "letterbox" keeps its aspect ratio, "squash" makes it a square.
        fixed: whether the network accepts squares of `resolution` pixels only; False where it is known to accept
            others, None where running it tells.
        exact: (H, W) of the only images that the network accepts, where they are no squares.
        divisor: what height and width must be divisible by.
        smallest: the least height and width, in network pixels.
        click_maps: for a click network, which reads (N, C + M, H, W): how its M interaction maps are drawn.
        doubts: what had to be assumed, in sentences for the user, whom `wrap` warns.
        numbers: what the map is, where it is of numbers (a depth, a matte); None for one of classes.
    """

    family: str = ""
    forward: Callable[[nn.Module, Tensor], Any] | None = None
    stem: str | None = None
    output: Output = None
    activation: Activation | None = None
    class_names: Sequence[str] = ()
    points: Mapping[str, str] = field(default_factory=dict)
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    normalisation: str = ""
    whole: bool = False
    bgr: bool | None = None
    resolution: int | None = None
    fit: Fit | None = None
    fixed: bool | None = None
    exact: tuple[int, int] | None = None
    divisor: int | None = None
    smallest: int | None = None
    click_maps: ClickMaps | None = None
    doubts: tuple[str, ...] = ()
    numbers: Numbers | None = None

    def updated(self, other: Knowledge) -> Knowledge:
        """This knowledge, replaced by `other` wherever that states something.

        >>> Knowledge(divisor=32, resolution=224).updated(Knowledge(divisor=8)).divisor
        8
        """
        stated = {name: value for name, value in vars(other).items() if value is not None}
        for name, value in list(stated.items()):
            if (name == "class_names" or isinstance(value, (str, tuple, Mapping))) and not len(value):
                del stated[name]
        stated["whole"] = self.whole or other.whole
        points = {**self.points, **other.points}
        return replace(self, **{**stated, "points": points})


@dataclass(frozen=True)
class Layer:
    """A module inside the network where variables can act: its (last) output is a map (C, h, w), or (C, d, h, w).

    `varies`: it runs several times in a pass, with different numbers of channels. `reaches`: the segmentation output
    depends on this map; it does not on a side head, for edges or for training.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    varies: bool = False
    reaches: bool = True

    @property
    def pixels(self) -> int:
        """Of one channel of the map."""
        return prod(self.shape[1:])


@dataclass(frozen=True)
class ModelSpec:
    """What the library found of a network.

    Attributes:
        channels: C of the images (N, C, H, W) it takes; interaction maps are not among them.
        stem: the convolutions that read the image, in order; empty where none was found.
        used_again: what else uses the image, after the stem.
        output: which map is the segmentation, and what it contains.
        layers: the modules whose output is a map, in the order they run.
        mean, std: per channel, of images in [0, 1].
        normalisation: where mean and std were taken from.
        resolution: longest side of a photo in network pixels; None for photos at their own size (up to 1024). Of
            volumes the longest side that is seen at once, in voxels; None for 96.
        fit: "letterbox" for photos that keep their aspect ratio, "squash" for squares of `resolution`.
        divisor: what height and width must be divisible by.
        divisor_assumed: whether neither user nor adapter stated it.
        dtype, device: of the network's weights.
        probed: (H, W) of the image it was probed with, (D, H, W) of the volume; the layers' shapes are for it.
        smallest: the least height and width, in network pixels; `resolution` for a network of one size only.
        exact: the size of the only images or volumes that the network accepts; None where others do.
        draws: whether a pass draws random numbers, even in evaluation mode.
        bgr: whether the channels are in the order blue, green, red.
        family: the adapter's name for it.
        class_names: one for each class, or none.
        points: insertion points A, B, C that adapter or user named.
        classes_seen: names of its module classes, for messages.
        click_maps: how its interaction maps are drawn; None for a network that reads none.
        numbers: what its map is, where the adapter knows that it is of numbers; None for one of classes.
    """

    channels: int
    stem: tuple[StemCall, ...]
    used_again: tuple[str, ...]
    output: OutputSpec
    layers: tuple[Layer, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str
    resolution: int | None
    divisor: int
    dtype: torch.dtype
    device: torch.device
    probed: tuple[int, ...]
    smallest: int = 1
    exact: tuple[int, ...] | None = None
    draws: bool = False
    bgr: bool = False
    fit: Fit = "letterbox"
    divisor_assumed: bool = False
    family: str = ""
    class_names: tuple[str, ...] = ()
    points: Mapping[str, str] = field(default_factory=dict)
    classes_seen: tuple[str, ...] = ()
    click_maps: ClickMaps | None = None
    numbers: Numbers | None = None

    @property
    def sides(self) -> int:
        """2 for a network of images (N, C, H, W), 3 for one of volumes (N, C, D, H, W)."""
        return len(self.probed)

    @property
    def normalisation_is_assumed(self) -> bool:
        """Whether mean and std are only usual: stated neither by the user nor by the network."""
        return "assumed" in self.normalisation

    @property
    def stride(self) -> int | None:
        """How many input pixels wide one pixel of the deepest map is; None where no layer returns a map."""
        deepest = self.insertion_points().get("A")
        return None if deepest is None else round(self.probed[-1] / deepest.shape[-1])

    def insertion_points(self) -> dict[str, Layer]:
        """The three usual insertion points of f-BRS (Sofiiuk et al., CVPR 2020, section 3.3), by letter.

        A: the deepest map (coarsest, then last). C: the last of the largest maps before the output's own layers. B: the
        last map half-way between them in size. Some networks have fewer; pooled vectors don't count. Points that
        adapter or user named take precedence over those found.
        """
        by_name = {layer.name: layer for layer in self.layers}
        stated = {letter: by_name[name] for letter, name in self.points.items() if name in by_name}
        return dict(sorted({**self._found_points(), **stated}.items()))

    def _found_points(self) -> dict[str, Layer]:
        named = [layer for layer in self.layers if layer.name and min(layer.shape[1:]) > 1 and not layer.varies]
        named = [layer for layer in named if layer.reaches and layer.shape[0] != self.output.classes]
        if not named:
            return {}
        coarsest = min(layer.pixels for layer in named)
        deepest = max(i for i, layer in enumerate(named) if layer.pixels == coarsest)
        points = {"A": named[deepest]}
        rest = named[deepest + 1 :]
        if rest:
            largest = max(layer.pixels for layer in rest)
            points["C"] = [layer for layer in rest if layer.pixels == largest][-1]
            middle = (coarsest * largest) ** 0.5
            points["B"] = min(reversed(rest), key=lambda layer: abs(layer.pixels / middle - 1))
        return points
