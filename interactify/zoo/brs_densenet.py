"""The network of the BRS paper: a DenseNet that reads clicks, a coarse decoder, and a fine decoder on top.

Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019, section 3.1 and figure 3,
with the numbers of channels of the authors' released network.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

from interactify.errors import OptionError
from interactify.inspection.click_input import ClickMaps

PUBLISHED_GROWTH: Final = 32  # DenseNet-121's: channels that each layer of a dense block adds
# At 1/32, 1/16, 1/8 and 1/4, as multiples of the growth: channels of the dense block, of its convolutions in the
# decoder, and after them. With the published growth these are 1024, 512, 256; 1024, 256, 128; and so on.
_LEVELS: Final = ((32, 16, 8), (32, 8, 4), (16, 4, 2), (8, 2, 1))
_SHARE: Final = 16  # a squeeze has a sixteenth of the channels


class SqueezeExcitation(nn.Module):
    """Scales each channel by what its mean over the map says (Hu et al., CVPR 2018, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(1, channels // _SHARE), 1)
        self.excite = nn.Conv2d(max(1, channels // _SHARE), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        scale = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(scale)


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.PReLU(), nn.BatchNorm2d(outputs))


def _upwards(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 2, 2, bias=False), nn.PReLU(), nn.BatchNorm2d(channels))


class _Level(nn.Module):
    """One level of the coarse decoder: the map from below, twice as large, beside the encoder's."""

    def __init__(self, encoded: int, inner: int, outputs: int, below: int) -> None:
        super().__init__()
        self.attention = SqueezeExcitation(encoded)
        self.up = _upwards(below) if below else None
        self.side = _convolution(encoded, inner, 1) if below else None
        inputs = inner + below if below else encoded
        self.convolutions = nn.Sequential(
            _convolution(inputs, inner, 3), _convolution(inner, inner, 3), _convolution(inner, outputs, 1)
        )

    def forward(self, encoded: Tensor, below: Tensor | None) -> Tensor:
        x = self.attention(encoded)
        if self.up is not None and self.side is not None and below is not None:
            x = torch.cat([self.up(below), self.side(x)], 1)
        out: Tensor = self.convolutions(x)
        return out


class _FineDecoder(nn.Module):
    """Three dilated branches over the input and the coarse probability, at full resolution."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        half = growth // 2
        self.branches = nn.ModuleList(
            nn.Sequential(
                _convolution(inputs, growth, 3, d), _convolution(growth, growth, 3), _convolution(growth, half, 1)
            )
            for d in (1, 2, 3)
        )
        self.attention = SqueezeExcitation(3 * half)
        self.last = nn.Sequential(_convolution(3 * half, half, 3), nn.Conv2d(half, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.attention(torch.cat([branch(x) for branch in self.branches], 1)))
        return out


class BRSDenseNet(nn.Module):
    """Takes (N, 5, H, W), the normalised image and the maps of positive and negative clicks; gives (N, 1, H, W) logits.

    H and W are divisible by 32. `fine` says whether the fine decoder is used: training begins without it.
    """

    def __init__(self, fine: bool = True, pretrained: bool = False, growth: int = PUBLISHED_GROWTH) -> None:
        import timm  # here: it takes seconds, which the embedded photos need not wait

        super().__init__()
        self.fine = fine
        self.click_maps = ClickMaps("distance")
        encoder = timm.create_model("densenet121", pretrained=pretrained, num_classes=0, growth_rate=growth).features
        assert isinstance(encoder, nn.Sequential)
        named = dict(encoder.named_children())
        named.pop("norm5")  # the decoder reads the last dense block itself
        named["conv0"] = _with_two_more(named["conv0"])
        self.encoder = nn.Sequential(OrderedDict(named))
        below = 0
        self.decoder = nn.ModuleList()
        for level in _LEVELS:
            encoded, inner, outputs = (growth * multiple for multiple in level)
            self.decoder.append(_Level(encoded, inner, outputs, below))
            below = outputs
        enlarge = nn.ConvTranspose2d(1, 1, 4, 4, bias=False)
        nn.init.constant_(enlarge.weight, 1.0)  # at first it only enlarges
        self.coarse = nn.Sequential(nn.Conv2d(below, 1, 1), enlarge)
        self.fine_decoder = _FineDecoder(6, growth)
        self.pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "input_size": (3, 480, 480)}

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 1, H, W)."""
        blocks, map_ = [], x
        for name, module in self.encoder.named_children():
            map_ = module(map_)
            if name.startswith("denseblock"):
                blocks.append(map_)
        out: Tensor | None = None
        for level, encoded in zip(self.decoder, reversed(blocks), strict=True):
            out = level(encoded, out)
        coarse: Tensor = self.coarse(out)
        if not self.fine:
            return coarse
        fine: Tensor = self.fine_decoder(torch.cat([x, torch.sigmoid(coarse)], 1))
        return fine


def brs_densenet(fine: bool = True, pretrained: bool = False, growth: int = PUBLISHED_GROWTH) -> BRSDenseNet:
    """The network of the BRS paper, DenseNet-121; untrained but for its encoder where that is wanted.

    `interactify.wrap` takes it as it is: `variables="click_maps"` with `energy="brs"` is the method as published.

    Args:
        fine: whether the fine decoder is used.
        pretrained: ImageNet's weights for the encoder, from timm's hub; the kernels for the two maps begin at zero.
        growth: the width. The published network has 32, DenseNet-121's growth rate; with 16 every layer has half as
            many channels, for short trainings. An even number.

    Returns:
        A module of (N, 5, H, W), sides divisible by 32, in training mode.

    Raises:
        OptionError: `fine` or `pretrained` is no bool; `growth` is no even number above 0; ImageNet's weights for
            another growth than 32.

    Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019, section 3.1.

    >>> from interactify import zoo
    >>> network = zoo.brs_densenet().eval()
    >>> network(torch.zeros(1, 5, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    """
    for name, value in (("fine", fine), ("pretrained", pretrained)):
        if not isinstance(value, bool):
            raise OptionError(f"Expected {name} to be True or False, got {value!r}.")
    if isinstance(growth, bool) or not isinstance(growth, int) or growth < 2 or growth % 2:
        raise OptionError(f"Expected growth to be an even number of channels from 2 up, got {growth!r}. Try 16.")
    if pretrained and growth != PUBLISHED_GROWTH:
        raise OptionError(
            f"Expected growth {PUBLISHED_GROWTH} with ImageNet's weights, which exist for this width only, got "
            f"{growth}. Try pretrained=False."
        )
    return BRSDenseNet(fine, pretrained, growth)


def _with_two_more(convolution: nn.Module) -> nn.Conv2d:
    """The same convolution with two more input channels, whose kernels are zero."""
    assert isinstance(convolution, nn.Conv2d)
    wider = nn.Conv2d(
        convolution.in_channels + 2,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        bias=False,
    )
    with torch.no_grad():
        wider.weight.zero_()
        wider.weight[:, : convolution.in_channels] = convolution.weight
    return wider
