"""The training-free reconfiguration of the first convolution: interaction maps enter beside the image.

Two conversions, neither of them trained, and both exact before the first interaction:

- zero kernels: each stem convolution gets a parallel branch over the maps whose kernels are all zero. The output
  equals the original's for *any* maps; refinement or training can then change the kernels.
- image kernels (Jang & Kim, CVPR 2019, section 3.3): one map per image channel, read through the first
  convolution's own kernels. The output equals the original's for zero maps.

`network/stem_branch.py` adds the maps to a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from interactify.adapters import knowledge_of
from interactify.errors import ModelError, OptionError
from interactify.inspection.click_input import ClickMaps
from interactify.inspection.forms import in_layers
from interactify.inspection.image_flow import StemCall, mark_input
from interactify.inspection.probe import probe
from interactify.inspection.replica import independent_copy_of, unwrapped
from interactify.inspection.spec import Knowledge
from interactify.network.stem_branch import (
    kernel_shapes,
    no_stem_message,
    run_with_kernels,
    run_with_second_image,
)

Kernels = Literal["zero", "image"]


class ReconfiguredStem(nn.Module):
    """A network that takes (N, C + maps, H, W), image channels first, and returns what the original returns.

    `model` is an independent copy: training it, or its `kernels`, does not change the original.

    `click_maps` states how its maps are drawn from clicks, so that `wrap` answers clicks with it; None while it was not
    trained for any. It may be set at any time. As the number of maps it is a plain attribute: copies and pickles have
    it, and a state dict, which holds the weights alone, does not.
    """

    click_maps: ClickMaps | None = None  # for pickles from before there was one

    def __init__(
        self,
        model: nn.Module,
        stem: Sequence[StemCall],
        channels: int,
        maps: int,
        kernels: Kernels,
        named: bool = False,
        click_maps: ClickMaps | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.stem = tuple(stem)
        self.channels = channels
        self.maps = maps
        self.named = named
        self.click_maps = click_maps
        self.kernels = nn.ParameterList()
        if kernels == "zero":
            like = next(
                (p for p in model.parameters() if p.is_floating_point()),
                torch.empty(0, dtype=torch.float32, device="cpu"),
            )
            zeros = (torch.zeros(s, dtype=like.dtype, device=like.device) for s in kernel_shapes(stem, channels, maps))
            self.kernels.extend(nn.Parameter(zero) for zero in zeros)

    def forward(self, x: Tensor) -> Any:
        """Run on image and maps (N, C + maps, H, W)."""
        return self.run(self.model, x)

    def run(self, network: Callable[[Tensor], Any], x: Tensor) -> Any:
        """Run `network`, which runs `model` in whatever way, on image and maps (N, C + maps, H, W)."""
        expected = self.channels + self.maps
        if x.ndim != 4 or x.shape[1] != expected:
            raise ModelError(
                f"Expected (N, {expected}, H, W): {self.channels} image channels, then {self.maps} interaction maps; "
                f"got {tuple(x.shape)}. Try torch.cat along dim 1."
            )
        image, maps = x[:, : self.channels], x[:, self.channels :]
        if len(self.kernels):
            return run_with_kernels(network, image, maps, list(self.kernels), self.named)
        return run_with_second_image(network, image, maps, self.named)


def reconfigure_stem(
    model: nn.Module,
    maps: int | None = None,
    kernels: Kernels = "zero",
    *,
    stem: str | None = None,
    click_maps: ClickMaps | None = None,
) -> ReconfiguredStem:
    """Give a network interaction-map channels without training it, and without changing its output.

    Args:
        model: a network of image batches (N, C, H, W). It is copied, and never changed.
        maps: the number of interaction-map channels to add; those of `click_maps`, or 2 (positive, negative), by
            default. With `kernels="image"` it is the number of image channels, and may be omitted.
        kernels: "zero" adds zero-weighted kernels, so that the output equals the original's exactly for any maps;
            "image" reuses the first convolution's own kernels for the maps, so that it does for zero maps
            (Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019, 3.3).
        stem: name of the module that reads the image, where it can't be found by running the network.
        click_maps: how the maps are drawn from clicks, for a network that is trained for them; with zero kernels only.

    Returns:
        A module of (N, C + maps, H, W), image channels first, in the mode the model was in. Its zero kernels are
        parameters (`.kernels`), ready for training.

    Raises:
        ModelError: the network can't be run, or no convolution reads the image.
        OptionError: for kernels other than "zero" and "image", or a number of maps that does not fit them or
            `click_maps`.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()
    >>> wider = interactify.reconfigure_stem(model, maps=2, kernels="zero")
    >>> image, clicks = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    >>> torch.equal(wider(torch.cat([image, clicks], 1)), model(image))
    True
    """
    if kernels not in ("zero", "image"):
        raise OptionError(f'Expected kernels="zero" or kernels="image", got {kernels!r}.')
    if maps is not None and (isinstance(maps, bool) or not isinstance(maps, int) or maps < 1):
        raise OptionError(f"Expected a number of interaction maps of 1 or more, got {maps!r}.")
    if click_maps is not None:
        maps = _number_of(click_maps, maps, kernels)
    found = probe(model, knowledge_of(unwrapped(model)), Knowledge(stem=stem))
    if not found.stem:
        raise ModelError(no_stem_message(model, found.classes_seen))
    if kernels == "image":
        if maps not in (None, found.channels):
            raise OptionError(
                f"Expected maps={found.channels} with kernels='image', one map per image channel, got maps={maps}. "
                "Try without maps=, or with kernels='zero'."
            )
        maps = found.channels
    independent = in_layers(independent_copy_of(model))
    if stem is not None:
        independent.get_submodule(stem).register_forward_pre_hook(mark_input)
    wider = ReconfiguredStem(independent, found.stem, found.channels, maps or 2, kernels, stem is not None, click_maps)
    wider.training = model.training
    return wider


def _number_of(click_maps: object, maps: int | None, kernels: Kernels) -> int:
    """The number of maps that `click_maps` draws. Raises OptionError where it does not fit the other options."""
    if not isinstance(click_maps, ClickMaps):
        raise OptionError(f"Expected click_maps to be an interactify.ClickMaps or None, got {click_maps!r}.")
    if kernels != "zero":
        raise OptionError(
            f"Expected kernels='zero' with click_maps, got kernels={kernels!r}, which are not for maps of clicks. Try "
            "without click_maps=."
        )
    if maps not in (None, click_maps.channels):
        raise OptionError(
            f"Expected maps={click_maps.channels} with {click_maps!r}, got maps={maps}. Try without maps=."
        )
    return click_maps.channels
