"""Interactions become interaction maps: one map for the positive clicks, one for the negative ones."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from interactify.errors import InteractionError, OptionError
from interactify.inspection.click_input import ClickMaps
from interactify.interactions.click import Click
from interactify.interactions.in_space import VoxelClick


def _distance(squared: Tensor, radius: float) -> Tensor:
    return squared.sqrt_().clamp_(max=radius).div_(-radius).add_(1)


def _disk(squared: Tensor, radius: float) -> Tensor:
    return (squared <= radius**2).to(torch.float32)


def _gaussian(squared: Tensor, radius: float) -> Tensor:
    return squared.div_(-2 * radius**2).exp_()


def _tanh(squared: Tensor, radius: float) -> Tensor:
    return squared.sqrt_().mul_(2 / radius).tanh_()


# Kind: (default radius in pixels, squared distance to the nearest click → map). Without a click it is infinite.
_KINDS: dict[str, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "distance": (255.0, _distance),
    "disk": (5.0, _disk),
    "gaussian": (10.0, _gaussian),
    "tanh": (260.0, _tanh),
}


def interaction_maps(
    clicks: Iterable[Click],
    size: tuple[int, ...],
    kind: str = "distance",
    *,
    radius: float | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw clicks into two maps (2, h, w), float32 in [0, 1]: channel 0 the positive clicks, channel 1 the negative.

    `size` is (h, w); the clicks' x and y are points in this grid, at whole pixels or between them, also outside it. d
    is the Euclidean distance in pixels to the nearest click of a polarity. In a volume, of size (d, h, w), the maps are
    (2, d, h, w), and clicks have a z, too, that of a `VoxelClick`:

    kind        value                    default radius          no click  source
    "distance"  1 - min(d, r) / r        255                     0         Jang & Kim 2019 (BRS), section 3.1
    "disk"      1 where d <= r, else 0   5                       0         Sofiiuk et al. 2021 (RITM)
    "gaussian"  exp(-d² / (2 r²))        10 (r is the σ)         0         the maximum over the clicks
    "tanh"      tanh(2 d / r)            260                     1         Sofiiuk et al. 2020 (f-BRS), its code

    Note the direction: the first three are 1 at a click and fall with distance; "tanh" is **0 at a click and grows**.

    Raises OptionError for an unknown kind, a size without pixels or a radius that is not positive, InteractionError for
    a coordinate that is not a finite number.

    >>> interaction_maps([Click(0, 0), Click(2, 0, positive=False)], (1, 3), "disk", radius=1).tolist()
    [[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]
    """
    if not isinstance(kind, str) or kind not in _KINDS:
        raise OptionError(f"Expected kind to be one of {', '.join(map(repr, _KINDS))}, got {kind!r}.")
    default, draw = _KINDS[kind]
    radius = default if radius is None else radius
    if isinstance(radius, bool) or not isinstance(radius, numbers.Real) or not 0 < radius < math.inf:
        raise OptionError(
            f"Expected radius to be a number of pixels above 0 (default for {kind!r}: {default:g}), got {radius!r}."
        )
    if len(size) not in (2, 3) or min(size) < 1:
        raise OptionError(f"Expected size as (h, w), both at least 1, or (d, h, w), got {tuple(size)}.")
    squared = torch.full((2, *size), math.inf, dtype=torch.float32, device="cpu")
    if device is not None:
        squared = squared.to(device)
    axes = [torch.arange(side, dtype=torch.float64, device="cpu") for side in size]
    for click in clicks:  # one at a time, so that memory does not grow with their number
        # Each axis in float64 on the CPU, then rounded once: whole-pixel distances stay exact in float32.
        *rest, across = (
            (axis - at).square_().to(squared) for axis, at in zip(axes, _place(click, len(size)), strict=True)
        )
        from_there = rest[-1][:, None] + across[None, :]
        if len(rest) == 2:
            from_there = rest[0][:, None, None] + from_there
        nearest = squared[0 if click.positive else 1]
        torch.minimum(nearest, from_there, out=nearest)
    return draw(squared, float(radius))


def network_maps(
    click_maps: ClickMaps,
    clicks: Iterable[Click],
    size: tuple[int, int],
    *,
    previous: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """All maps that a click network reads beside the image, (M, h, w) float32: as `interaction_maps`, then the mask.

    Args:
        click_maps: how they are drawn.
        clicks: in pixels of the network's input, x to the right and y down.
        size: (h, w) of the network's input.
        previous: (h, w), probabilities of the mask before the newest click; zeros by default. Not used by networks that
            read no previous mask.
        device: of the maps; the CPU by default.

    Raises:
        OptionError: a previous mask of another size.
        InteractionError: as `interaction_maps`.

    >>> network_maps(ClickMaps("disk", radius=1, previous_mask=True), [Click(0, 0)], (1, 3)).tolist()
    [[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]
    """
    maps = interaction_maps(clicks, size, click_maps.kind, radius=click_maps.radius, device=device)
    if not click_maps.previous_mask:
        return maps
    if previous is None:
        return torch.cat([maps, torch.zeros_like(maps[:1])])
    if tuple(previous.shape) != tuple(size):
        raise OptionError(f"Expected a previous mask of (h, w) = {tuple(size)}, got {tuple(previous.shape)}.")
    return torch.cat([maps, previous[None].to(maps.device, maps.dtype)])


def _place(click: Click, sides: int) -> list[float]:
    """Where a click is, (y, x) or (z, y, x). Raises InteractionError for what is none, or has no such place."""
    if not isinstance(click, Click):
        raise InteractionError(f"Expected a Click, got {type(click).__name__}. Try Click(x=..., y=...).")
    click.to_json()  # raises where a coordinate is not a finite number
    if isinstance(click, VoxelClick) != (sides == 3):
        kind, place = ("VoxelClick", "x=..., y=..., z=...") if sides == 3 else ("Click", "x=..., y=...")
        raise InteractionError(f"Expected a {kind} for maps of {sides} sides, got {click!r}. Try {kind}({place}).")
    depth = [float(click.z)] if isinstance(click, VoxelClick) else []
    return [*depth, float(click.y), float(click.x)]
