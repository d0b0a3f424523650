"""The networks of the speed benchmark, and what others than the library run of them for one evaluation.

A cut has two halves: `kept(image)`, run once for a photo, and `logits(kept, values)`, run for each evaluation. `Whole`
keeps nothing and puts the variables in place by a hook; `Head` keeps the features up to the variables, and all that
does not depend on them, and is written by hand for each network, as f-BRS's code is for its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import interactify

Tail = Callable[[Tensor], Tensor]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Where `interactify.wrap(…).describe()` says that A, B and C are; the tests hold these against it.
UNET_POINTS = {"A": "encoder", "B": "decoder.blocks.2", "C": "decoder"}
DEEPLAB_POINTS = {"A": "encoder", "B": "decoder.block2.0.0", "C": "decoder"}


def unet() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet34", encoder_weights=None)


def deeplab() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.DeepLabV3Plus("resnet50", encoder_weights=None)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "Unet/ResNet-34": unet,
    "DeepLabV3+/ResNet-50": deeplab,
    "embedded": interactify.zoo.load,
}
RANDOM_WEIGHTS = ("Unet/ResNet-34", "DeepLabV3+/ResNet-50")


def photo_of(size: tuple[int, int]) -> Tensor:
    """The library's photo of a cat, (3, H, W) in [0, 1], without regard to its proportions."""
    (path,) = (photo.path for photo in interactify.zoo.photos() if photo.name == "cat")
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def built(name: str, size: int, device: str = "cpu") -> nn.Module:
    """The network of that name for photos of size × size, in evaluation mode, without gradients for its weights.

    The weights are the same each time, but for the scale of random ones' last layer, which depends on the size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BUILDERS[name]().eval().requires_grad_(False)
        if name in RANDOM_WEIGHTS:
            spread_logits(model, photo_of((size, size)))
    return model.to(device)


@torch.no_grad()
def spread_logits(model: nn.Module, photo: Tensor) -> None:
    """Give random weights logits of mean 0 and deviation 2, so that clicks are wrong, and can be put right."""
    last = [module for module in model.segmentation_head.modules() if isinstance(module, nn.Conv2d)][-1]
    logits = model(normalised(photo))
    last.weight.mul_(2 / logits.std())
    last.bias.sub_(logits.mean()).mul_(2 / logits.std())


def points_of(name: str) -> dict[str, str]:
    """The layers that A, B and C mean in the network of that name."""
    return DEEPLAB_POINTS if name.startswith("DeepLab") else UNET_POINTS


def normalised(photo: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """A photo (3, H, W) in [0, 1] as all three networks read it: (1, 3, H, W)."""
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return ((photo - mean) / std)[None].to(device)


def scaled(x: Tensor, values: Tensor) -> Tensor:
    """f-BRS's x' = (1 + s)·x + b; values (2, C)."""
    scale, bias = values[:, None, :, None, None]
    return x * (1 + scale) + bias


def inertia(values: Tensor) -> Tensor:
    """What the library charges: Σδ² for a change of the image, Σs² + 10·Σb² for scale and bias."""
    return values.square().sum() if values.ndim == 4 else values[0].square().sum() + 10 * values[1].square().sum()


class Cut(Protocol):
    """What is run once for a photo, and what for each evaluation."""

    form: str

    def kept(self, image: Tensor) -> Any:
        """What is run once for a photo; also what the variables' start is shaped like."""

    def start(self, kept: Any) -> Tensor:
        """The identity."""

    def logits(self, kept: Any, values: Tensor) -> Tensor:
        """The network's logits (1, 1, H, W) under the values, differentiable in them."""


class Whole:
    """The whole network for each evaluation; the variables enter by a hook, or are added to the image."""

    form = "whole"

    def __init__(self, model: nn.Module, layer: str | None) -> None:
        self.model = model
        self.layer = None if layer is None else model.get_submodule(layer)
        self._channels: dict[torch.Size, int] = {}

    @torch.no_grad()
    def kept(self, image: Tensor) -> Tensor:
        return image

    def start(self, kept: Tensor) -> Tensor:
        if self.layer is None:
            return torch.zeros_like(kept)
        if kept.shape not in self._channels:
            self._channels[kept.shape] = self._seen(kept)
        return kept.new_zeros(2, self._channels[kept.shape])

    def logits(self, kept: Tensor, values: Tensor) -> Tensor:
        if self.layer is None:
            return self.model(kept + values)
        handle = self.layer.register_forward_hook(lambda _module, _args, out: _with_last(out, values))
        try:
            return self.model(kept)
        finally:
            handle.remove()

    @torch.no_grad()
    def _seen(self, image: Tensor) -> int:
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
    """What a head keeps of a photo: the map that the variables change, and the rest of the network behind it."""

    changed: Tensor
    tail: Tail


class Head:
    """The network's end behind the variables, cut by hand; everything before is run once for a photo."""

    form = "head"

    def __init__(self, model: nn.Module, letter: str) -> None:
        self.model, self.letter = model, letter
        self._cut = deeplab_features if hasattr(model.decoder, "block2") else unet_features

    @torch.no_grad()
    def kept(self, image: Tensor) -> Features:
        return self._cut(self.model, image, self.letter)

    def start(self, kept: Features) -> Tensor:
        return kept.changed.new_zeros(2, kept.changed.shape[1])

    def logits(self, kept: Features, values: Tensor) -> Tensor:
        return kept.tail(scaled(kept.changed, values))


def unet_features(model: Any, image: Tensor, letter: str) -> Features:
    """A U-Net of smp behind its encoder's last map (A), its third decoder block (B), its decoder (C)."""
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
        # No longer needed: what is kept is what the last two blocks read.
        skips[:3] = [None] * 3
        return Features(x, lambda x: head(through(x, 3, len(blocks))))
    return Features(x, head)


def deeplab_features(model: Any, image: Tensor, letter: str) -> Features:
    """A DeepLabV3+ of smp behind its encoder's last map (A), the decoder's depthwise convolution (B), all of it (C)."""
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
