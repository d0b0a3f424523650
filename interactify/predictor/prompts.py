"""What Segment Anything's callers pass, checked: points, labels, boxes and masks become one `Prompt` for each object.

Their conventions: x before y, in pixels of the photo or, unnormalised, as shares of its sides; label 1 is the object, 0
is not, -1 is padding that makes the rows of a batch equally long; a box is left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from interactify.errors import InteractionError
from interactify.interactions.click import Click, checked

LOW: Final = 256  # rows and columns of the masks that go from one call to the next
_PADDING: Final = -1
_MOST: Final = 1e30  # logits beyond say no more, and single precision ends not far behind


@dataclass(frozen=True)
class Rectangle:
    """The pixels from `left` to `right` and from `top` to `bottom`, all of them inside."""

    left: int
    top: int
    right: int
    bottom: int

    def holds(self, click: Click) -> bool:
        """Whether a click's pixel lies inside."""
        return self.left <= click.x <= self.right and self.top <= click.y <= self.bottom

    def grown(self, share: float, size: tuple[int, int], least: int = 1) -> Rectangle:
        """The box with `share` of its width and height added at each side, as far as the photo (H, W) goes.

        Sides of less than `least` pixels become that long.

        >>> Rectangle(10, 10, 29, 19).grown(0.5, (100, 32))
        Rectangle(left=0, top=5, right=31, bottom=24)
        """
        wide, high = self.right + 1 - self.left, self.bottom + 1 - self.top
        across, down = (max(round(share * side), -(-(least - side) // 2)) for side in (wide, high))
        return Rectangle(
            max(0, self.left - across),
            max(0, self.top - down),
            min(size[1] - 1, self.right + across),
            min(size[0] - 1, self.bottom + down),
        )

    def around(self, clicks: Sequence[Click]) -> Rectangle:
        """The smallest box that holds this one and the clicks."""
        xs, ys = [int(c.x) for c in clicks], [int(c.y) for c in clicks]
        return Rectangle(
            min([self.left, *xs]), min([self.top, *ys]), max([self.right, *xs]), max([self.bottom, *ys])
        )  # fmt: skip

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing (..., H, W)."""
        return slice(self.top, self.bottom + 1), slice(self.left, self.right + 1)


@dataclass(frozen=True, eq=False)
class Prompt:
    """All that is said of one object: clicks at their pixels, a box, and a mask (256, 256) of logits to begin from."""

    clicks: tuple[Click, ...] = ()
    box: Rectangle | None = None
    mask: NDArray[np.float32] | None = None


def read_prompts(
    point_coords: ArrayLike | None,
    point_labels: ArrayLike | None,
    box: ArrayLike | None,
    mask_input: ArrayLike | None,
    size: tuple[int, int],
    normalize_coords: bool = True,
) -> list[Prompt]:
    """One prompt for each object that the arguments of `Predictor.predict` speak of; `size` is the photo's (H, W).

    Raises InteractionError where they can't be read, don't fit each other, or lie outside the photo.

    >>> read_prompts([[3, 4], [9, 9]], [1, 0], None, None, (20, 30))[0].clicks
    (Click(x=3, y=4, positive=True), Click(x=9, y=9, positive=False))
    """
    height, width = size
    scale = np.array([1.0, 1.0] if normalize_coords else [width, height])
    points = _points(point_coords, point_labels, scale, size)
    boxes = _boxes(box, scale, size)
    masks = _masks(mask_input)
    given = {
        name: len(part)
        for name, part in (("point_coords", points), ("box", boxes), ("mask_input", masks))
        if part is not None
    }
    count = max(given.values(), default=1)
    if any(each != count for each in given.values()):
        said = " and ".join(f"{name} for {each}" for name, each in given.items())
        raise InteractionError(
            f"Expected points, boxes and masks for the same number of objects, got {said}. Several objects take "
            "points (B, N, 2) with labels (B, N), boxes (B, 4) and masks (B, 1, 256, 256)."
        )
    return [
        Prompt(
            points[i] if points is not None else (),
            boxes[i] if boxes is not None else None,
            masks[i] if masks is not None else None,
        )
        for i in range(count)
    ]


def _points(
    coords: ArrayLike | None, labels: ArrayLike | None, scale: NDArray[np.float64], size: tuple[int, int]
) -> list[tuple[Click, ...]] | None:
    if coords is None and labels is None:
        return None
    if coords is None or labels is None:
        missing, there = ("point_coords", "point_labels") if coords is None else ("point_labels", "point_coords")
        raise InteractionError(f"{there} came without {missing}: a label, 1 or 0, belongs to every point.")
    places, said = _numbers("point_coords", coords), _numbers("point_labels", labels)
    if places.size == 0 and places.ndim < 3 and said.size == 0:
        places, said = places.reshape(0, 2), said.reshape(0)
    if places.ndim not in (2, 3) or places.shape[-1] != 2 or (places.ndim == 3 and len(places) == 0):
        raise InteractionError(
            f"Expected point_coords (N, 2), x then y, or (B, N, 2) for B objects; shape {places.shape} came."
        )
    if said.shape != places.shape[:-1]:
        raise InteractionError(
            f"Expected point_labels {places.shape[:-1]}, one for each point, shape {said.shape} came."
        )
    if not np.isin(said, (1, 0, _PADDING)).all():
        odd = said[~np.isin(said, (1, 0, _PADDING))][0]
        raise InteractionError(
            f"Expected labels of 1 (object), 0 (background) or -1 (no point), {odd:g} came. The corners of a box go "
            "into box=…, not among the points."
        )
    places = _scaled(places, scale)
    # The photo's far edges, where shares are 1, belong to its last pixels.
    height, width = size
    for axis, side in ((0, width), (1, height)):
        column = places[..., axis]
        column[(column >= side - 0.5) & (column <= side)] = side - 1
    objects = zip(places, said, strict=True) if places.ndim == 3 else [(places, said)]
    return [
        tuple(
            checked(Click(float(x), float(y), bool(label)), size)
            for (x, y), label in zip(points, labels, strict=True)
            if label != _PADDING
        )
        for points, labels in objects
    ]


def _boxes(box: ArrayLike | None, scale: NDArray[np.float64], size: tuple[int, int]) -> list[Rectangle] | None:
    if box is None:
        return None
    corners = _numbers("box", box)
    if corners.ndim not in (1, 2) or corners.shape[-1] != 4 or len(corners) == 0:
        raise InteractionError(
            f"Expected box (4,), left, top, right, bottom, or (B, 4) for B objects; shape {corners.shape} came."
        )
    corners = _scaled(corners.reshape(-1, 4), np.tile(scale, 2))
    return [_box(row, size) for row in corners.tolist()]


def _box(corners: list[float], size: tuple[int, int]) -> Rectangle:
    """Those pixels of the photo that a box touches, rounded as clicks are."""
    height, width = size
    if not np.isfinite(corners).all():
        raise InteractionError(f"Expected a box of finite numbers, {corners} came.")
    left, top, right, bottom = (int(np.floor(np.clip(side, -1e9, 1e9) + 0.5)) for side in corners)
    if corners[2] < corners[0] or corners[3] < corners[1]:
        raise InteractionError(
            f"Expected a box as left, top, right, bottom; {corners} has its right or bottom before its left or top. "
            "From x, y, width, height it is x, y, x + width, y + height."
        )
    if left >= width or top >= height or right < 0 or bottom < 0:
        raise InteractionError(f"The box {corners} lies outside the photo, which is {width} wide and {height} high.")
    # Detectors' boxes reach beyond the photo by some pixels: that says no more than its edge.
    return Rectangle(max(left, 0), max(top, 0), min(right, width - 1), min(bottom, height - 1))


def _masks(mask_input: ArrayLike | None) -> list[NDArray[np.float32]] | None:
    if mask_input is None:
        return None
    masks = _numbers("mask_input", mask_input)
    if masks.ndim == 3:
        masks = masks[None]
    if masks.ndim != 4 or masks.shape[1:] != (1, LOW, LOW) or len(masks) == 0:
        raise InteractionError(
            f"Expected mask_input (1, {LOW}, {LOW}), one of the low-resolution masks of an earlier call as "
            f"low_res_masks[i : i + 1], or (B, 1, {LOW}, {LOW}) for B objects; shape {np.shape(mask_input)} came."
        )
    if not np.isfinite(masks).all():
        raise InteractionError("Expected mask_input to be finite logits, NaN or infinity came.")
    return list(masks[:, 0].clip(-_MOST, _MOST).astype(np.float32))


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """A new array of float64, whatever it came as."""
    try:
        if isinstance(values, torch.Tensor) and not values.is_complex():
            values = values.detach().cpu().double().numpy()
        plain = np.asarray(values)
        if plain.dtype.kind not in "biufO":
            raise TypeError(f"{plain.dtype} is no type of numbers")
        with np.errstate(over="ignore"):  # what is beyond float64 becomes infinity, and is refused as that
            return np.array(plain, dtype=np.float64)
    except Exception as cause:  # whatever an object does when it is asked for an array
        raise InteractionError(f"Expected {name} to be an array of numbers, {type(values).__name__} came.") from cause


def _scaled(places: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """In pixels; what overflows is infinity, and is refused as that."""
    with np.errstate(over="ignore"):
        return places * scale
