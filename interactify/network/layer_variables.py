"""Variables at one layer: its channels, the places of its map, or both, as in f-BRS, G-BRS and Guide Me.

The layer gives a map x (N, C, h, w), and the network goes on with x′, which is x where all values are zero. If the
layer returns several maps (an encoder), the last one is changed; if it runs several times, each time.

What has a place (a field, rows and columns) belongs to the size of the map, and so to a window of the photo: in a new
window it begins at zero, as a change of the image does. In a network of volumes a map has a third side, the depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interactify.errors import ModelError, OptionError
from interactify.inspection.mirror import as_seen
from interactify.inspection.probe import noise_image, submodule
from interactify.interactions.click import Click
from interactify.network.feature_hooks import Change, attach, changed_at
from interactify.network.network import Network

# More channels than this have more numbers in a 1 × 1 convolution than an image of 300 × 300 pixels has. The solver
# remembers forty vectors of that length.
MOST_CHANNELS = 512


@dataclass(frozen=True)
class ScaleBias:
    """Scale and bias of each channel: x′ = (1 + s)·x + b, values (2, C) (f-BRS, CVPR 2020, section 3.2)."""

    layer: str
    bias_cost: float = 10.0
    reads_clicks: bool = False

    @property
    def name(self) -> str:
        return f"scale_bias@{self.layer}"

    def prepare(self, network: Network) -> None:
        _prepare(network, self.layer)

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros((2, _channels(network, self.layer)), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        def change(x: Tensor) -> Tensor:
            scale, bias = values.to(x.dtype).view(2, 1, -1, *[1] * (x.ndim - 2))
            return x.clone() * (1 + scale) + bias  # the network may write over its map

        return _changed(network, self.layer, image, change)

    def inertia(self, values: Tensor) -> Tensor:
        return values[0].square().sum() + self.bias_cost * values[1].square().sum()


@dataclass(frozen=True)
class BiasField:
    """A bias of each channel at each place: x′ = x + v, values (1, C, h, w), of volumes (1, C, d, h, w).

    A click moves its own neighbourhood, where scale and bias move the whole picture (the bias maps of G-BRS: Lin, Price
    & Martinez, CVPR 2022). The inertial energy is Σ v², as for a change of the image.
    """

    layer: str
    reads_clicks: bool = False

    @property
    def name(self) -> str:
        return f"bias_field@{self.layer}"

    def prepare(self, network: Network) -> None:
        _prepare(network, self.layer, of_one_size=True)

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros((1, _channels(network, self.layer), *network.map_size(self.layer, image)), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        def change(x: Tensor) -> Tensor:
            return x + as_seen(values.to(x.dtype), x)

        return _changed(network, self.layer, image, change)

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


@dataclass(frozen=True)
class Conv1x1:
    """A 1 × 1 convolution added to the map: x′ = x + W x + b at each place, values (C, C + 1), b in the last column.

    Channels may be mixed, where scale and bias only weigh them (G-BRS: Lin, Price & Martinez, CVPR 2022). The inertial
    energy is Σ W² + 10 · Σ b², with the weights that f-BRS gives scale and bias.
    """

    layer: str
    bias_cost: float = 10.0
    reads_clicks: bool = False

    @property
    def name(self) -> str:
        return f"conv1x1@{self.layer}"

    def prepare(self, network: Network) -> None:
        _prepare(network, self.layer)
        channels = _channels(network, self.layer)
        if channels > MOST_CHANNELS:
            raise OptionError(
                f"Expected a layer of at most {MOST_CHANNELS} channels for variables {self.name!r}, got {channels} "
                f"channels, whose 1 × 1 convolution has {channels * (channels + 1)} numbers. Try "
                f"'scale_bias@{self.layer}', which has {2 * channels}, 'bias_field@{self.layer}', or a layer of fewer "
                "channels: insertion_points() of the wrapped network lists them."
            )

    def start(self, network: Network, image: Tensor) -> Tensor:
        channels = _channels(network, self.layer)
        return zeros((channels, channels + 1), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        def change(x: Tensor) -> Tensor:
            own = values.to(x.dtype)
            # The gradient needs x, and the network may write over its map.
            convolution: Callable[..., Tensor] = torch.conv2d if x.ndim == 4 else torch.conv3d
            return x + convolution(x.clone(), own[:, :-1].view(*own[:, :-1].shape, *[1] * (x.ndim - 2)), own[:, -1])

        return _changed(network, self.layer, image, change)

    def inertia(self, values: Tensor) -> Tensor:
        return values[:, :-1].square().sum() + self.bias_cost * values[:, -1].square().sum()


@dataclass(frozen=True)
class RowsColumns:
    """Weights of rows, columns and channels: x′ = (1 + α_h + β_w + γ_c)·x + b_c, values (h + w + 2·C,) in this order.

    In volumes slices have weights, too, which come first.

    The guiding block of Guide Me (Rupprecht et al., CVPR 2018), there at the encoder's smallest map. The inertial
    energy is the sum of all squares.
    """

    layer: str
    reads_clicks: bool = False

    @property
    def name(self) -> str:
        return f"rows_columns@{self.layer}"

    def prepare(self, network: Network) -> None:
        _prepare(network, self.layer, of_one_size=True)

    def start(self, network: Network, image: Tensor) -> Tensor:
        return zeros((sum(network.map_size(self.layer, image)) + 2 * _channels(network, self.layer),), image)

    def run(self, network: Network, image: Tensor, values: Tensor, clicks: Sequence[Click]) -> Any:
        def change(x: Tensor) -> Tensor:
            channels, *sides = x.shape[1:]
            *along, scale, bias = values.to(x.dtype).split([*sides, channels, channels])
            places, ones = along[0], [1] * len(sides)
            for side in along[1:]:
                places = places[..., None] + side
            # The gradient needs x, and the network may write over its map.
            return x.clone() * (1 + as_seen(places[None, None], x) + scale.view(-1, *ones)) + bias.view(-1, *ones)

        return _changed(network, self.layer, image, change)

    def inertia(self, values: Tensor) -> Tensor:
        return values.square().sum()


def _prepare(network: Network, layer: str, of_one_size: bool = False) -> None:
    """Check that variables can act on the layer's map, and put the hook on it. Raises ModelError where they can't."""
    module, spec = submodule(network.replica, layer), network.spec
    found = next((each for each in spec.layers if each.name == layer), None)
    if found is None:
        kind = type(module).__name__
        points = ", ".join(each.name for each in spec.insertion_points().values())
        raise ModelError(f"Expected a layer with a map (N, C, h, w) as output, got {layer!r} ({kind}). Try {points}.")
    if found.varies:
        raise ModelError(
            f"Expected a layer with one number of channels, got {layer!r}, which runs several times with different "
            "ones. Try another layer."
        )
    attach(network.replica, layer, spec.sides)
    if of_one_size:
        like = torch.empty(0, dtype=spec.dtype, device=spec.device)
        network.map_size(layer, noise_image(spec.channels, spec.probed, like))


def _channels(network: Network, layer: str) -> int:
    return next(each.shape[0] for each in network.spec.layers if each.name == layer)


def _changed(network: Network, layer: str, image: Tensor, change: Change) -> Any:
    """The network's raw output for an image, with the layer's map changed."""
    with changed_at(network.replica, layer, change):
        return network.replica(image.clone())  # some networks write over their input


def zeros(shape: Sequence[int], image: Tensor) -> Tensor:
    """Where variables start. They are in single precision or better, whatever the network computes in."""
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    return torch.zeros((), dtype=dtype, device=image.device).expand(tuple(shape))  # one number in memory


AT_LAYER: dict[str, Callable[[str], ScaleBias | BiasField | Conv1x1 | RowsColumns]] = {
    "scale_bias": ScaleBias,
    "bias_field": BiasField,
    "conv1x1": Conv1x1,
    "rows_columns": RowsColumns,
}
