"""The networks of the speed benchmark, and the parts of them that other contestants run for one evaluation.

A cut has two halves: `cached(image)`, run once for a photo, and `logits(cached, values)`, run for each evaluation.
`Whole` caches only the image and inserts the variables by a hook; `Head` caches the features before the variables, and
all that does not depend on them. It is written by hand for each network, like f-BRS's code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import interactify

Tail = Callable[[Tensor], Tensor]
MEAN = STD = (0.5, 0.5, 0.5)  # the embedded network's; random weights don't care

# The layers of A, B and C according to `interactify.wrap(…).describe()`; the tests compare them.
UNET_POINTS = {"A": "encoder", "B": "decoder.blocks.2", "C": "decoder"}
DEEPLAB_POINTS = {"A": "encoder", "B": "decoder.block2.0.0", "C": "decoder"}


def unet() -> nn.Module:
    return smp.Unet("resnet34", encoder_weights=None)


def deeplab() -> nn.Module:
    return smp.DeepLabV3Plus("resnet50", encoder_weights=None)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "Unet/ResNet-34": unet,
    "DeepLabV3+/ResNet-50": deeplab,
    "embedded": interactify.zoo.load,
}
RANDOM_WEIGHTS = ("Unet/ResNet-34", "DeepLabV3+/ResNet-50")


def photo_of(size: tuple[int, int], name: str = "cat") -> Tensor:
    """One of the library's photos, (3, H, W) in [0, 1], stretched to the size."""
    (path,) = (photo.path for photo in interactify.zoo.photos() if photo.name == name)
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def built(name: str, size: int, device: str = "cpu") -> nn.Module:
    """The network of that name for photos of size × size, in evaluation mode, without gradients for its weights.

    The weights are always the same, except for the scale of the last layer of random ones, which depends on the size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BUILDERS[name]().eval().requires_grad_(False)
        if name in RANDOM_WEIGHTS:
            spread_logits(model, photo_of((size, size)))
    return model.to(device)


@torch.no_grad()
def spread_logits(model: nn.Module, photo: Tensor) -> None:
    """Give random weights logits of mean 0 and deviation 2, so that clicks have errors to correct."""
    head = model.get_submodule("segmentation_head")
    last = [module for module in head.modules() if isinstance(module, nn.Conv2d)][-1]
    assert last.bias is not None, "the last layer of these networks has a bias"
    logits = model(normalised(photo))
    last.weight.mul_(2 / logits.std())
    last.bias.sub_(logits.mean()).mul_(2 / logits.std())


def points_of(name: str) -> dict[str, str]:
    """The layers of A, B and C in the network of that name."""
    return DEEPLAB_POINTS if name.startswith("DeepLab") else UNET_POINTS


def normalised(photo: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """A photo (3, H, W) in [0, 1] as the input of all three networks: (1, 3, H, W)."""
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return ((photo - mean) / std)[None].to(device)


def scaled(x: Tensor, values: Tensor) -> Tensor:
    """f-BRS's x' = (1 + s)·x + b; values (2, C)."""
    scale, bias = values[:, None, :, None, None]
    return x * (1 + scale) + bias


def inertia(values: Tensor) -> Tensor:
    """The library's inertial energy: Σδ² for a change of the image, Σs² + 10·Σb² for scale and bias."""
    return values.square().sum() if values.ndim == 4 else values[0].square().sum() + 10 * values[1].square().sum()


class Cut(Protocol):
    """A network in two halves: one run once for a photo, one for each evaluation."""

    form: str

    def cached(self, image: Tensor) -> Any:
        """The half that is run once for a photo; the shape of the variables depends on it."""

    def start(self, cached: Any) -> Tensor:
        """The variables' values that change nothing."""

    def logits(self, cached: Any, values: Tensor) -> Tensor:
        """The network's logits (1, 1, H, W) under the values, differentiable in them."""


class Whole:
    """The whole network for each evaluation; the variables enter by a hook, or are added to the image."""

    form = "whole"

    def __init__(self, model: nn.Module, layer: str | None) -> None:
        self.model = model
        self.layer = None if layer is None else model.get_submodule(layer)
        self._channels: dict[torch.Size, int] = {}

    @torch.no_grad()
    def cached(self, image: Tensor) -> Tensor:
        return image

    def start(self, cached: Tensor) -> Tensor:
        if self.layer is None:
            return torch.zeros_like(cached)
        if cached.shape not in self._channels:
            self._channels[cached.shape] = self._channels_at(cached)
        return cached.new_zeros(2, self._channels[cached.shape])

    def logits(self, cached: Tensor, values: Tensor) -> Tensor:
        if self.layer is None:
            return self.model(cached + values)
        handle = self.layer.register_forward_hook(lambda _module, _args, out: _with_last(out, values))
        try:
            return self.model(cached)
        finally:
            handle.remove()

    @torch.no_grad()
    def _channels_at(self, image: Tensor) -> int:
        assert self.layer is not None
        shapes: list[torch.Size] = []
        handle = self.layer.register_forward_hook(lambda _module, _args, out: shapes.append(_last(out).shape))
        try:
            self.model(image)
        finally:
            handle.remove()
        return shapes[-1][1]


@dataclass
class Features:
    """A head's cache for a photo: the map that the variables change, and the rest of the network after it."""

    changed: Tensor
    tail: Tail


class Head:
    """The network's end after the variables, cut by hand; everything before is run once for a photo."""

    form = "head"

    def __init__(self, model: nn.Module, letter: str) -> None:
        self.model, self.letter = model, letter
        self._cut = deeplab_features if hasattr(model.decoder, "block2") else unet_features

    @torch.no_grad()
    def cached(self, image: Tensor) -> Features:
        return self._cut(self.model, image, self.letter)

    def start(self, cached: Features) -> Tensor:
        return cached.changed.new_zeros(2, cached.changed.shape[1])

    def logits(self, cached: Features, values: Tensor) -> Tensor:
        return cached.tail(scaled(cached.changed, values))


def unet_features(model: Any, image: Tensor, letter: str) -> Features:
    """A U-Net of smp after its encoder's last map (A), its third decoder block (B), its decoder (C)."""
    features = model.encoder(image)
    blocks, head = model.decoder.blocks, model.segmentation_head
    sizes = [feature.shape[2:] for feature in features][::-1][1:]
    skips = [*features[1:-1][::-1], None]

    def through(x: Tensor, first: int, last: int) -> Tensor:
        for index in range(first, last):
            x = blocks[index](x, *sizes[index], skip_connection=skips[index])
        return x

    if letter == "A":
        return Features(features[-1], lambda x: head(through(model.decoder.center(x), 0, len(blocks))))
    x = through(model.decoder.center(features[-1]), 0, 3 if letter == "B" else len(blocks))
    if letter == "B":
        # Only the skips of the last two blocks are still needed.
        skips[:3] = [None] * 3
        return Features(x, lambda x: head(through(x, 3, len(blocks))))
    return Features(x, head)


def deeplab_features(model: Any, image: Tensor, letter: str) -> Features:
    """A DeepLabV3+ of smp after its encoder's last map (A), the decoder's depthwise convolution (B), all of it (C)."""
    decoder, head = model.decoder, model.segmentation_head
    features = model.encoder(image)
    skip, deepest = decoder.block1(features[2]), features[-1]
    (depthwise, pointwise), rest = decoder.block2[0], decoder.block2[1:]

    def joined(x: Tensor) -> Tensor:
        return depthwise(torch.cat([decoder.up(decoder.aspp(x)), skip], dim=1))

    if letter == "A":
        return Features(deepest, lambda x: head(rest(pointwise(joined(x)))))
    if letter == "B":
        return Features(joined(deepest), lambda x: head(rest(pointwise(x))))
    return Features(rest(pointwise(joined(deepest))), head)


def _last(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out[-1]


def _with_last(out: Any, values: Tensor) -> Any:
    if isinstance(out, Tensor):
        return scaled(out, values)
    return [*out[:-1], scaled(out[-1], values)]
