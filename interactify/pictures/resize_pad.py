"""Photo coordinates to network coordinates and back: clicks and masks of a resized and padded photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from interactify.errors import InteractionError, OptionError, PhotoError

LARGEST = 1024  # network pixels: the longest side of a photo without a resolution
SMALLEST = 64  # network pixels: the least padded side; deep encoders fail on less
_STRIP = 2**17  # numbers interpolated at a time, to fit into the processor's cache


@dataclass(frozen=True)
class View:
    """How a photo is placed in the network's input: resized to `content_size`, then padded right and below.

    All sizes are (height, width) in pixels. Pixel centres lie at whole numbers, so the photo covers x from -0.5 to
    W - 0.5, and the photo's x corresponds to the network's x_n by x_n + 0.5 = (x + 0.5) · w / W (bilinear resizing
    with align_corners=False), clamped to the centres of the border pixels.

    The library relies on this: for a network map m and a photo pixel p = (x, y),
    `view.to_photo(m)[..., y, x]` equals `sample(m, view.points_to_network([p]))[..., 0]`, to the last bit. So the
    energy at a click and the mask at its pixel always agree.

    >>> view = View.fit((300, 400), resolution=200, divisor=32)
    >>> view.content_size, view.network_size
    ((150, 200), (160, 224))
    >>> view.points_to_network([(0, 0), (200, 100)]).tolist()
    [[0.0, 0.0], [99.75, 49.75]]
    """

    photo_size: tuple[int, int]
    content_size: tuple[int, int]
    network_size: tuple[int, int]

    @classmethod
    def fit(
        cls,
        photo_size: tuple[int, int],
        *,
        resolution: int | None = None,
        divisor: int = 1,
        smallest: int = SMALLEST,
        fit: Literal["letterbox", "squash"] = "letterbox",
    ) -> View:
        """Choose the view of a photo of (H, W) pixels for a network that needs sides divisible by `divisor`.

        `resolution` is the length in network pixels that the photo's longest side is resized to, larger or smaller;
        None keeps the photo's size, up to 1024 on its longest side. The aspect ratio is kept to within the rounding to
        whole pixels, and no side falls under 1. With `fit="squash"` both sides are resized to `resolution` instead,
        whatever the aspect ratio. Padding then extends both sides to multiples of `divisor`, and to at least
        `smallest`.

        Raises PhotoError for a photo without pixels, OptionError for a resolution, divisor or smallest below 1, another
        fit, and "squash" without a resolution.

        >>> View.fit((300, 400), resolution=224, fit="squash").network_size
        (224, 224)
        """
        check_fit(fit, resolution)
        for name, value in (("resolution", resolution), ("divisor", divisor), ("smallest", smallest)):
            if name == "resolution" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise OptionError(f"Expected {name} as a whole number of at least 1 (network pixels), got {value!r}.")
        height, width = (int(side) for side in photo_size)
        if height < 1 or width < 1:
            raise PhotoError(f"Expected a photo with pixels, got no pixels: {width} wide and {height} high.")
        longest = max(height, width)
        target = min(longest, LARGEST) if resolution is None else int(resolution)
        if fit == "squash":
            high = wide = target
        else:  # integer arithmetic, halves up: the longest side is exact
            high, wide = (max(1, (2 * side * target + longest) // (2 * longest)) for side in (height, width))
        padded_high, padded_wide = (
            -(-max(side, int(smallest)) // int(divisor)) * int(divisor) for side in (high, wide)
        )
        return cls((height, width), (high, wide), (padded_high, padded_wide))

    @classmethod
    def into(cls, photo_size: tuple[int, int], network_size: tuple[int, int]) -> View:
        """Choose the view of a photo of (H, W) pixels for a network that takes images of one size (h, w) only.

        The aspect ratio is kept: the photo is as large as fits. Raises PhotoError for a photo without pixels.

        >>> View.into((300, 400), (128, 256)).content_size
        (128, 171)
        """
        scale = min(side / max(1, own) for side, own in zip(network_size, photo_size, strict=True))
        longest = round(scale * max(photo_size))
        content = cls.fit(photo_size, resolution=max(1, longest), smallest=1).content_size
        high, wide = (min(own, side) for own, side in zip(content, network_size, strict=True))
        return cls((int(photo_size[0]), int(photo_size[1])), (high, wide), network_size)

    def to_network(self, photo: Tensor) -> Tensor:
        """Resize and pad a photo (C, H, W), floating point, to the network's input (1, C, h', w').

        Bilinear and antialiased; the padding repeats the border pixels, so that it adds no edge.
        Raises PhotoError for a photo of another size.
        """
        if photo.ndim != 3 or tuple(photo.shape[1:]) != self.photo_size or not photo.is_floating_point():
            height, width = self.photo_size
            raise PhotoError(
                f"Expected a floating-point photo (C, {height}, {width}) for this view, "
                f"got one of shape {tuple(photo.shape)} and type {photo.dtype}. Try View.fit for it."
            )
        content = photo[None]
        if self.content_size != self.photo_size:
            content = F.interpolate(
                content, size=self.content_size, mode="bilinear", align_corners=False, antialias=True
            )
        below, right = (self.network_size[axis] - self.content_size[axis] for axis in (0, 1))
        if below or right:
            content = F.pad(content, (0, right, 0, below), mode="replicate")
        return content.clone() if content.data_ptr() == photo.data_ptr() else content

    def points_to_network(self, points: Tensor | np.ndarray | Sequence[Sequence[float]]) -> Tensor:
        """Map photo points (n, 2), x then y, to network pixels: (n, 2) float64 on the CPU, clamped to the content.

        A photo's outermost pixels may lie beyond the centres of the network's outermost ones; they are moved onto
        these, as in bilinear resizing. Raises InteractionError for another shape, NaN or infinity.
        """
        points = _points(points)
        return torch.stack([_along(points[:, 0], self._axis(1)), _along(points[:, 1], self._axis(0))], dim=1)

    def points_to_photo(self, points: Tensor | np.ndarray | Sequence[Sequence[float]]) -> Tensor:
        """Map network points (n, 2), x then y, to photo pixels: (n, 2) float64 on the CPU, clamped to the photo.

        The inverse of `points_to_network` except within half a network pixel of the border, where that one moves
        points inwards. Raises InteractionError for another shape, NaN or infinity.
        """
        points = _points(points)
        return torch.stack(
            [_along(points[:, 0], self._axis(1)[::-1]), _along(points[:, 1], self._axis(0)[::-1])], dim=1
        )

    def to_photo(self, maps: Tensor, part: tuple[slice, slice] | None = None) -> Tensor:
        """Bring network maps (N, K, h', w') to the photo's size, (N, K, H, W): the padding cut off, then bilinear.

        With `part`, only those rows and columns of the photo (slices, which may step) are computed, to the same values.
        Never antialiased: each photo pixel takes the value at its own centre. Same device and
        dtype, new memory, differentiable. Raises OptionError for maps of another size than the network's input.
        """
        if maps.ndim != 4 or tuple(maps.shape[2:]) != self.network_size:
            height, width = self.network_size
            raise OptionError(f"Expected maps of (N, K, {height}, {width}), got {tuple(maps.shape)}.")
        maps = maps[..., : self.content_size[0], : self.content_size[1]]
        rows, columns = part or (slice(0, self.photo_size[0]), slice(0, self.photo_size[1]))
        if self.content_size == self.photo_size:
            return maps[..., rows, columns].clone(memory_format=torch.contiguous_format)
        # Not F.interpolate: in single precision its positions near pixel 1000 are off by up to 1e-4 pixels, so that a
        # click could be satisfied in the energy but not in the mask. The steps of `sample` agree to the bit.
        down_to = self._positions(0, rows)
        first = int(down_to[0])
        dtype, maps = maps.dtype, maps[..., first : int(down_to[-1]) + 2, :].to(_working(maps.dtype))
        left, right, across = _neighbours(self._positions(1, columns), self.content_size[1], maps)
        maps = _mix(maps.index_select(-1, left), maps.index_select(-1, right), across)
        high = max(1, _STRIP // max(1, maps[..., 0, :].numel()))
        upper, lower, down = _neighbours(down_to, self.content_size[0], maps)
        strips = [
            _mix(maps.index_select(-2, above), maps.index_select(-2, below), share[:, None])
            for above, below, share in zip(
                *(each.split(high) for each in (upper - first, lower - first, down)), strict=True
            )
        ]
        return torch.cat(strips, dim=-2).to(dtype)

    def _positions(self, side: int, part: slice) -> Tensor:
        """The positions of the photo's rows (side 0) or columns in the content, in its pixels."""
        pixels = torch.arange(part.start, part.stop, part.step or 1, dtype=torch.float64, device="cpu")
        return _along(pixels, self._axis(side))

    def _axis(self, side: int) -> tuple[int, int]:
        return self.photo_size[side], self.content_size[side]


def check_fit(fit: object, resolution: int | None = LARGEST) -> None:
    """Raise OptionError for another fit than "letterbox" and "squash", and for "squash" without a resolution."""
    if fit not in ("letterbox", "squash"):
        raise OptionError(f"Expected fit to be 'letterbox' or 'squash', got {fit!r}.")
    if fit == "squash" and resolution is None:
        raise OptionError(
            "Expected a resolution with fit='squash', the side of the square, got none, and the network states none. "
            "Try resolution=512."
        )


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps (N, K, h, w) at points (n, 2), x then y in their pixels, bilinearly: (N, K, n), same dtype and device.

    Maps of volumes (N, K, d, h, w) are read at points (n, 3), x, y, z, trilinearly.

    Exact at whole numbers; points beyond the border pixels' centres are moved onto them. Differentiable; one gather
    reads only 4 n pixels. Points in float64 on the maps' device need no transfer.

    >>> maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    >>> sample(maps, torch.tensor([[2.0, 1.0], [0.5, 0.5]])).tolist()
    [[[5.0, 2.0]]]
    """
    return Corners.around(points, maps)(maps)


@dataclass(frozen=True, eq=False)
class Corners:
    """The pixels that `sample` reads for some points, computed once for all maps of one size and dtype.

    `indices` are, for each side of the maps (rows, then columns; of volumes first slices), the two pixels beside each
    point, shaped so that together they index all corners: (2, 1, n) and (1, 2, n). `shares` (n,) are the weights of the
    second ones, in the same order.
    """

    indices: tuple[Tensor, ...]
    shares: tuple[Tensor, ...]

    @classmethod
    def around(cls, points: Tensor, maps: Tensor) -> Corners:
        """The corners of points (n, 2), or (n, 3), in maps like these."""
        sides = maps.ndim - 2
        indices, shares = [], []
        for side, along in enumerate(reversed(range(sides))):  # the last side of the maps is x, the first coordinate
            first, second, share = _neighbours(points[:, along], maps.shape[2 + side], maps)
            indices.append(torch.stack([first, second]).view(*(2 if each == side else 1 for each in range(sides)), -1))
            shares.append(share)
        return cls(tuple(indices), tuple(shares))

    def __call__(self, maps: Tensor) -> Tensor:
        """The maps at the points, (N, K, n)."""
        # One indexing for all corners: its gradient fills one map in a fixed order, also for shared pixels.
        at: tuple[slice | Tensor, ...] = (slice(None), slice(None), *self.indices)
        read = maps[at].to(_working(maps.dtype))  # (N, K, 2, 2, n)
        for share in reversed(self.shares):  # along x first
            read = _mix(read[..., 0, :], read[..., 1, :], share)
        return read.to(maps.dtype)


def _points(points: Tensor | np.ndarray | Sequence[Sequence[float]]) -> Tensor:
    try:
        points = torch.as_tensor(points, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as problem:
        raise InteractionError(f"Expected points (n, 2) of numbers, x then y, got others: {problem}.") from problem
    if points.numel() == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InteractionError(f"Expected points (n, 2), x then y, got shape {tuple(points.shape)}.")
    if not torch.isfinite(points).all():
        raise InteractionError("Expected points with finite coordinates in pixels, got NaN or infinity.")
    return points


def _along(positions: Tensor, sides: tuple[int, int]) -> Tensor:
    """Positions along a side of sides[0] pixels, converted to the same side of sides[1] pixels."""
    # Multiply before dividing: equal sides give exactly the same numbers.
    return ((positions + 0.5) * sides[1] / sides[0] - 0.5).clamp(0, sides[1] - 1)


def _neighbours(positions: Tensor, side: int, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels beside each position, and the second one's weight; on the device and in the dtype of `maps`."""
    positions = positions.clamp(0, side - 1)
    first = positions.detach().floor().long()
    second = (first + 1).clamp(max=side - 1)
    share = (positions - first).to(_working(maps.dtype))
    return first.to(maps.device), second.to(maps.device), share.to(maps.device)


def _mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    # Separate steps, which torch.lerp may or may not fuse: the results are the same to the bit everywhere.
    return (second - first).mul_(share).add_(first)


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
