"""A classifier's head at every position of its feature map: a class map, without training.

A classifier pools its features over all positions and asks the head what they are. Asked about one position alone,
the same head says what lies there (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016,
do so for linear heads, where the mean over positions is the classifier's own answer). Each position is given to the
head as an image of one pixel, so that pooling does nothing and every other layer of the head does what it always does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactify.errors import ModelError

_AT_ONCE = 2**24  # numbers given to the head in one call


@dataclass(frozen=True)
class _Form:
    """How a network lays out its features: as maps of either order, or as tokens after `prefix` others."""

    order: Literal["NCHW", "NHWC", "NLC"]
    prefix: int = 0


def class_map(model: Any, image: Tensor) -> Tensor:
    """Run a classifier's head at each position of its features; differentiable.

    Args:
        model: a classifier with `forward_features` and `forward_head`, as timm's have.
        image: (N, C, H, W).

    Returns:
        Logits (N, K, h, w), or K features where it has no classes.

    Raises:
        ModelError: where its features are neither maps nor tokens on a grid.
    """
    features = model.forward_features(image)
    maps, form = _as_maps(features, model, (image.shape[-2], image.shape[-1]))
    window = _window(model) if form.order == "NCHW" else 1
    _, channels, _, width = maps.shape
    rows = max(1, _AT_ONCE // max(1, maps.shape[0] * width * channels * window**2))
    before, after = (window - 1) // 2, window // 2
    # The border repeated: zeros would tell the head of an edge that is not in the photo.
    padded = F.pad(maps, (before, after, before, after), mode="replicate") if window > 1 else maps
    strips = [
        _at_each(model, padded[:, :, top : top + rows + window - 1], form, window)
        for top in range(0, maps.shape[2], rows)
    ]
    return torch.cat(strips, 2) if len(strips) > 1 else strips[0]


def _at_each(model: Any, maps: Tensor, form: _Form, window: int) -> Tensor:
    """The head's answer for each window of (N, C, h + window - 1, w + window - 1): (N, K, h, w)."""
    around = maps.unfold(2, window, 1).unfold(3, window, 1)  # (N, C, h, w, window, window)
    n, channels, h, w = around.shape[:4]
    each = around.permute(0, 2, 3, 1, 4, 5).reshape(n * h * w, channels, window, window)
    if form.order == "NHWC":
        each = each.permute(0, 2, 3, 1)
    elif form.order == "NLC":  # class tokens are the position's own too
        each = each.flatten(2).transpose(1, 2).expand(-1, form.prefix + 1, -1)
    said = model.forward_head(each)
    if not isinstance(said, Tensor) or said.ndim < 2 or said.shape[0] != len(each):
        raise ModelError(f"The head of {type(model).__name__} gives {_shape(said)}, not one answer for each position.")
    said = said[:, -1] if said.ndim == 3 else said.flatten(1)  # unpooled tokens: the position's own comes last
    return said.reshape(n, h, w, said.shape[1]).permute(0, 3, 1, 2)


def _as_maps(features: Any, model: Any, size: tuple[int, int]) -> tuple[Tensor, _Form]:
    """Features as maps (N, C, h, w), and how the head wants them."""
    if isinstance(features, (tuple, list)) and features:  # followed by auxiliary outputs
        features = features[0]
    channels = getattr(model, "num_features", None)
    if isinstance(features, Tensor) and features.ndim == 4:
        last = features.shape[-1] == channels
        if last and (features.shape[1] != channels or str(getattr(model, "output_fmt", "")).endswith("NHWC")):
            return features.permute(0, 3, 1, 2), _Form("NHWC")
        return features, _Form("NCHW")
    if isinstance(features, Tensor) and features.ndim == 3:
        known = getattr(model, "num_prefix_tokens", None)
        prefix, (h, w) = _grid(features.shape[1], size, range(3) if known is None else (known,))
        return features[:, prefix:].transpose(1, 2).unflatten(2, (h, w)), _Form("NLC", prefix)
    raise ModelError(f"The features of {type(model).__name__} are {_shape(features)}, not a map with a head after it.")


def _grid(tokens: int, size: tuple[int, int], prefixes: Any) -> tuple[int, tuple[int, int]]:
    """How many tokens come before the grid's, and the grid (h, w) that is most like an image of `size`.

    >>> _grid(81, (128, 160), (1,)), _grid(197, (224, 224), range(3))
    ((1, (8, 10)), (1, (14, 14)))
    """
    wanted = log(size[0] / size[1])
    grids = [
        (abs(log(h * h / (tokens - prefix)) - wanted), prefix, (h, (tokens - prefix) // h))
        for prefix in prefixes
        for h in range(1, tokens - prefix + 1)
        if (tokens - prefix) % h == 0
    ]
    off, prefix, grid = min(grids, default=(1.0, 0, (0, 0)))
    if off > log(2):
        raise ModelError(f"Its features are {tokens} tokens, which make no grid of the shape of an image {size}.")
    return prefix, grid


def _window(model: Any) -> int:
    """Positions along a side that the head reads at once: VGG's begins with a convolution over 7 × 7."""
    first = getattr(model, "pre_logits", None)
    return int(getattr(first, "input_kernel_size", 1)) if isinstance(first, nn.Module) else 1


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
