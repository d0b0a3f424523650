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

# At 1/32, 1/16, 1/8 and 1/4: channels of the dense block, of its convolutions in the decoder, and after them.
_LEVELS: Final = ((1024, 512, 256), (1024, 256, 128), (512, 128, 64), (256, 64, 32))
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

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(_convolution(inputs, 32, 3, d), _convolution(32, 32, 3), _convolution(32, 16, 1))
            for d in (1, 2, 3)
        )
        self.attention = SqueezeExcitation(48)
        self.last = nn.Sequential(_convolution(48, 16, 3), nn.Conv2d(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.attention(torch.cat([branch(x) for branch in self.branches], 1)))
        return out


class BRSDenseNet(nn.Module):
    """Takes (N, 5, H, W), the normalised image and the maps of positive and negative clicks; gives (N, 1, H, W) logits.

    H and W are divisible by 32. `fine` says whether the fine decoder is used: training begins without it.
    """

    def __init__(self, fine: bool = True, pretrained: bool = False) -> None:
        import timm  # here: it takes seconds, which the embedded photos need not wait

        super().__init__()
        self.fine = fine
        self.click_maps = ClickMaps("distance")
        encoder = timm.create_model("densenet121", pretrained=pretrained, num_classes=0).features
        assert isinstance(encoder, nn.Sequential)
        named = dict(encoder.named_children())
        named.pop("norm5")  # the decoder reads the last dense block itself
        named["conv0"] = _with_two_more(named["conv0"])
        self.encoder = nn.Sequential(OrderedDict(named))
        below = 0
        self.decoder = nn.ModuleList()
        for encoded, inner, outputs in _LEVELS:
            self.decoder.append(_Level(encoded, inner, outputs, below))
            below = outputs
        enlarge = nn.ConvTranspose2d(1, 1, 4, 4, bias=False)
        nn.init.constant_(enlarge.weight, 1.0)  # at first it only enlarges
        self.coarse = nn.Sequential(nn.Conv2d(below, 1, 1), enlarge)
        self.fine_decoder = _FineDecoder(6)
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


def brs_densenet(fine: bool = True, pretrained: bool = False) -> BRSDenseNet:
    """The network of the BRS paper, DenseNet-121; untrained but for its encoder where that is wanted.

    `interactify.wrap` takes it as it is: `variables="click_maps"` with `energy="brs"` is the method as published.

    Args:
        fine: whether the fine decoder is used.
        pretrained: ImageNet's weights for the encoder, from timm's hub; the kernels for the two maps begin at zero.

    Returns:
        A module of (N, 5, H, W), sides divisible by 32, in training mode.

    Raises:
        OptionError: `fine` or `pretrained` is no bool.

    Jang & Kim, "Interactive Image Segmentation via Backpropagating Refinement Scheme", CVPR 2019, section 3.1.

    >>> from interactify import zoo
    >>> network = zoo.brs_densenet().eval()
    >>> network(torch.zeros(1, 5, 64, 96)).shape
    torch.Size([1, 1, 64, 96])
    """
    for name, value in (("fine", fine), ("pretrained", pretrained)):
        if not isinstance(value, bool):
            raise OptionError(f"Expected {name} to be True or False, got {value!r}.")
    return BRSDenseNet(fine, pretrained)


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
