"""The variables that refinement changes. At zero, where they start, the network computes what it always did.

To add one: a class with the members of `Variables`, and a line in `KINDS`; one that acts at a layer is in
`layer_variables.py`. With `reads_clicks = False` it promises that its `run` does not read the clicks, so that what the
network computes before it is cached between clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import ModelError, OptionError
from interactify.interactions.click import Click
from interactify.interactions.click_maps import interaction_maps
from interactify.network.click_network import reading
from interactify.network.layer_variables import AT_LAYER, zeros
from interactify.network.layer_variables import ScaleBias as ScaleBias  # where it was before
from interactify.network.network import Network
from interactify.network.stem_branch import kernel_shapes, no_stem_message, run_with_kernels, run_with_second_image


class Variables(Protocol):
    """A kind of variable: where it enters the network, the shape of its values, the cost of changing them."""

    @property
    def name(self) -> str:
        """Its name in `describe()` and `wrap(variables=…)`."""

    @property
    def reads_clicks(self) -> bool:
        """Whether `run` reads the clicks. If False, what the network computes before it is cached between clicks."""

    def prepare(self, network: Network) -> None:
        """Check that the network can take these variables, and prepare it. Raises ModelError where it can't."""

    def start(self, network: Network, image: Tensor) -> Tensor:
        """The values that change nothing: zeros, in the shape for `image` (1, C, h, w)."""

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        """The network's raw output for `image` under `values`; `clicks` are in network pixels.

        `network.replica` takes images (N, C, h, w), also where it is a click network: it reads the clicks' maps itself.
        """

    def inertia(self, values: Tensor) -> Tensor:
        """The inertial energy E_I, 0-d: the cost of values other than zero."""


def starts_anew(variables: Variables) -> bool:
    """Whether the variables of each click begin at the identity, and not where those of the last click ended.

    Variables without the member `starts_anew` go on from the last click.
    """
    return bool(getattr(variables, "starts_anew", False))


@dataclass(frozen=True)
class Input:
    """An additive change of the normalised image, (1, C, h, w), or volume.

    Equal to BRS's interaction maps where only the stem reads the image; f-BRS calls it RGB-BRS.
    """

    name: str = "input"
    reads_clicks: bool = False

    def prepare(self, network: Network) -> None: ...

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros(image.shape, image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        return network.replica(image + values.to(image.dtype))

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


@dataclass(frozen=True)
class SmoothInput:
    """An additive change of the normalised image, or volume, that is mostly smooth: a pyramid of coarse changes.

    A change of single voxels satisfies a click and little else; a smooth one has to persuade the network of the region
    around the click. Values are flat (n,): for each of `cells`, a number for every channel and cell of that many pixels
    a side, linear in between; then one for every channel and pixel, of which a share of `fine` is added, for labels
    that differ within the smallest cell.
    """

    name: str = "smooth_input"
    cells: tuple[int, ...] = (8, 4, 2)
    fine: float = 0.3
    reads_clicks: bool = False

    def prepare(self, network: Network) -> None: ...

    def _shapes(self, image: Tensor) -> list[tuple[int, ...]]:
        channels, *sides = image.shape[1:]
        return [(1, channels, *(-(-side // cell) for side in sides)) for cell in (*self.cells, 1)]

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros((sum(torch.Size(shape).numel() for shape in self._shapes(image)),), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        shapes = self._shapes(image)
        parts = values.split([torch.Size(shape).numel() for shape in shapes])
        *coarse, change = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
        change, mode = self.fine * change, "trilinear" if image.ndim == 5 else "bilinear"
        for level in coarse:
            change = change + F.interpolate(level, tuple(image.shape[2:]), mode=mode, align_corners=False)
        return network.replica(image + change.to(image.dtype))

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


@dataclass(frozen=True)
class Maps:
    """The interaction maps of the stem reconfigured with image kernels, (1, C, h, w) (Jang & Kim 2019, 3.3)."""

    name: str = "maps"
    reads_clicks: bool = False

    def prepare(self, network: Network) -> None:
        if network.reads_clicks:
            raise ModelError(
                f"Expected a network without interaction maps for variables 'maps', got "
                f"{type(network.replica).__name__}, a click network. Try variables='click_maps', which moves its own."
            )
        if not network.spec.stem:
            raise ModelError(no_stem_message(network.replica, network.spec.classes_seen))

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros(image.shape, image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        return run_with_second_image(network.replica, image.clone(), values.to(image.dtype), network.stem_is_named)

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


@dataclass(frozen=True)
class OwnMaps:
    """An additive change of a click network's own interaction maps, (1, 2, h, w): BRS as published for click networks.

    Those of the positive and of the negative clicks; the previous mask stays as it is. Each click starts at the maps
    that are drawn of all clicks (Jang & Kim, CVPR 2019, section 3.2).
    """

    name: str = "click_maps"
    reads_clicks: bool = False
    starts_anew: bool = True

    def prepare(self, network: Network) -> None:
        if not network.reads_clicks:
            raise ModelError(
                f"Expected a click network for variables 'click_maps', got {type(network.replica).__name__}, which "
                "reads no interaction maps. Try variables='input' or 'maps', which need none; or click_maps="
                "interactify.ClickMaps(…) in wrap() if it takes (N, C + 2, H, W)."
            )

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros((1, 2, image.shape[-2], image.shape[-1]), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        maps = network.maps_of_pass(image)
        with reading(torch.cat([maps[:, :2] + values.to(image.dtype), maps[:, 2:]], 1)):
            return network.replica(image)

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


@dataclass(frozen=True)
class StemKernels:
    """The zero-weighted stem kernels, flat (n,), driven by Gaussian maps of the clicks.

    `sigmas` are the maps' widths in network pixels; each gives a map of the positive and one of the negative clicks.
    """

    name: str = "kernels"
    sigmas: tuple[float, ...] = (4.0, 16.0, 64.0)

    @property
    def reads_clicks(self) -> bool:  # a property, not a field: the repr is part of session files
        return True

    def prepare(self, network: Network) -> None:
        if not network.spec.stem:
            raise ModelError(no_stem_message(network.replica, network.spec.classes_seen))

    def _shapes(self, network: Network) -> list[tuple[int, ...]]:
        return kernel_shapes(network.spec.stem, network.spec.channels, 2 * len(self.sigmas))

    def start(self, network: Network, image: Tensor) -> Tensor:
        count = sum(torch.Size(shape).numel() for shape in self._shapes(network))
        return zeros((count,), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        size = tuple(image.shape[2:])
        drawn = [interaction_maps(clicks, size, "gaussian", radius=s, device=image.device) for s in self.sigmas]
        maps = torch.cat(drawn)[None].to(image.dtype)
        shapes = self._shapes(network)
        parts = values.split([torch.Size(shape).numel() for shape in shapes])
        kernels = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return run_with_kernels(network.replica, image.clone(), maps, kernels, network.stem_is_named)

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


def class_logits(
    network: Network,
    variables: Variables,
    image: Tensor,
    values: Tensor,
    clicks: Sequence[Click],
    maps: Tensor | None = None,
) -> Tensor:
    """Logits (1, K, h, w), on the network's own grid, under the variables' values, differentiable in them.

    `maps` are what a click network reads; by default those of the clicks, without a previous mask.
    """
    maps = network.click_maps(clicks, image) if maps is None else maps
    return network.class_logits(lambda: variables.run(network, image, values, clicks), maps)


def target_logits(
    network: Network, variables: Variables, image: Tensor, values: Tensor, clicks: Sequence[Click], target: int | None
) -> Tensor:
    """Log-odds (1, 1, h', w') of the target class under the variables' values, as large as the image."""
    return network.log_odds(class_logits(network, variables, image, values, clicks), target, image)


KINDS: dict[str, Callable[[], Variables]] = {
    "input": Input,
    "smooth_input": SmoothInput,
    "maps": Maps,
    "kernels": StemKernels,
    "click_maps": OwnMaps,
}


def usual_variables(network: Network) -> str:
    """The default: the interaction maps of a click network, as in BRS; the image of one never trained for clicks."""
    return "click_maps" if network.reads_clicks else "input"


def check_variables(text: object) -> None:
    """Raise OptionError for what is not a valid choice of variables for any network."""
    if isinstance(text, str):
        kind, _, layer = text.partition("@")
        if text not in KINDS and not (kind in AT_LAYER and layer.strip()):
            known = ", ".join((*KINDS, *(f"{each}@LAYER" for each in AT_LAYER)))
            raise OptionError(f"Expected variables to be one of {known}, got {text!r}. Try 'input'.")
        return
    members = ("prepare", "start", "run", "inertia")
    if isinstance(text, type) or not all(callable(getattr(text, member, None)) for member in members):
        raise OptionError(f"Expected a name of variables, or an object with the members of Variables; got {text!r}.")


def variables_named(text: str | Variables, network: Network) -> Variables:
    """The variables of a name in `KINDS`, or KIND@LAYER with a kind of `AT_LAYER` and a module's name, or A, B, C.

    Raises:
        OptionError: for anything else, or "conv1x1@LAYER" where the layer has too many channels.
        ModelError: the network has no such layer, or no stem; or it reads clicks, or none, and these variables don't.
    """
    check_variables(text)
    if not isinstance(text, str):
        variables: Variables = text
    elif text in KINDS:
        variables = KINDS[text]()
    else:
        kind, _, layer = text.partition("@")
        points = network.spec.insertion_points()
        if layer in ("A", "B", "C") and layer not in points:
            raise ModelError(f"Expected one of the insertion points {', '.join(points) or '(none)'}, got {layer}.")
        variables = AT_LAYER[kind](points[layer].name if layer in points else layer)
    variables.prepare(network)
    return variables
