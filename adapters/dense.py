"""Applies a classifier's head at every position of its feature map: a class map, without training.

A classifier pools its features over all positions and classifies the result with its head. Applied to one position
alone, the same head classifies that position (Zhou et al., "Learning Deep Features for Discriminative Localization",
CVPR 2016, for linear heads, where the mean over positions is the classifier's own output). Each position goes into the
head as an image of one pixel, so that pooling does nothing and all other layers of the head work as usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactify.errors import ModelError

_INSTEAD = "Try the encoder alone: timm.create_model(…, features_only=True)."
_AT_ONCE = 2**24  # numbers in one call of the head


@dataclass(frozen=True)
class _Form:
    """The layout of features: maps in either order, or tokens after `prefix` other tokens."""

    order: Literal["NCHW", "NHWC", "NLC"]
    prefix: int = 0


def class_map(model: Any, image: Tensor) -> Tensor:
    """Run a classifier's head at each position of its features; differentiable.

    Args:
        model: a classifier with `forward_features` and `forward_head`, as timm's have.
        image: (N, C, H, W).

    Returns:
        Logits (N, K, h, w), or K features if it has no classes.

    Raises:
        ModelError: its features are neither maps nor tokens on a grid.
    """
    features = model.forward_features(image)
    maps, form = _as_maps(features, model, (image.shape[-2], image.shape[-1]))
    window = _window(model) if form.order == "NCHW" else 1
    _, channels, _, width = maps.shape
    rows = max(1, _AT_ONCE // max(1, maps.shape[0] * width * channels * window**2))
    before, after = (window - 1) // 2, window // 2
    # The border is repeated: zeros would look like an edge that is not in the photo.
    padded = F.pad(maps, (before, after, before, after), mode="replicate") if window > 1 else maps
    strips = [
        _at_each(model, padded[:, :, top : top + rows + window - 1], form, window)
        for top in range(0, maps.shape[2], rows)
    ]
    return torch.cat(strips, 2) if len(strips) > 1 else strips[0]


def _at_each(model: Any, maps: Tensor, form: _Form, window: int) -> Tensor:
    """The head's output for each window of (N, C, h + window - 1, w + window - 1): (N, K, h, w)."""
    around = maps.unfold(2, window, 1).unfold(3, window, 1)  # (N, C, h, w, window, window)
    n, channels, h, w = around.shape[:4]
    each = around.permute(0, 2, 3, 1, 4, 5).reshape(n * h * w, channels, window, window)
    if form.order == "NHWC":
        each = each.permute(0, 2, 3, 1)
    elif form.order == "NLC":  # the position is used as class token, too
        each = each.flatten(2).transpose(1, 2).expand(-1, form.prefix + 1, -1)
    out = model.forward_head(each)
    if not isinstance(out, Tensor) or out.ndim < 2 or out.shape[0] != len(each):
        raise ModelError(
            f"Expected the head of {type(model).__name__} to give one output for each position, got one {_shape(out)}. "
            f"{_INSTEAD}"
        )
    out = out[:, -1] if out.ndim == 3 else out.flatten(1)  # tokens that are not pooled: the last is the position's
    return out.reshape(n, h, w, out.shape[1]).permute(0, 3, 1, 2)


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
    raise ModelError(
        f"Expected the features of {type(model).__name__} to be a map or tokens, got one {_shape(features)}, "
        f"not a map. {_INSTEAD}"
    )


def _grid(tokens: int, size: tuple[int, int], prefixes: Any) -> tuple[int, tuple[int, int]]:
    """How many tokens come before the grid, and the grid (h, w) whose shape is closest to an image of `size`.

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
        raise ModelError(
            f"Expected tokens on a grid like the image {size}, got {tokens} tokens, which make no grid. {_INSTEAD}"
        )
    return prefix, grid


def _window(model: Any) -> int:
    """Positions along a side that the head reads at once: VGG's head starts with a convolution over 7 × 7."""
    first = getattr(model, "pre_logits", None)
    return int(getattr(first, "input_kernel_size", 1)) if isinstance(first, nn.Module) else 1


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
