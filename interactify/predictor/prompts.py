"""The prompts of Segment Anything, checked: points, labels, boxes and masks become one `Prompt` for each object.

Its conventions: x before y, in pixels of the photo or, unnormalised, as shares of its sides; label 1 is the object, 0
is background, -1 is padding that makes the rows of a batch equally long; a box is left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from interactify.errors import InteractionError
from interactify.interactions.click import Click, Interaction, checked
from interactify.interactions.gestures import Box, Mask

LOW: Final = 256  # rows and columns of low-resolution masks
_PADDING: Final = -1
_MOST: Final = 1e30  # logits beyond tell no more, and single precision ends not far behind


@dataclass(frozen=True, eq=False)
class Prompt:
    """The prompts of one object: clicks at their pixels, a box, and a mask (256, 256) of logits to start from."""

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    mask: NDArray[np.float32] | None = None

    def interactions(self, positive_first: bool = False) -> list[Interaction]:
        """Box and clicks, to be added to a session.

        `positive_first` sorts the clicks so: of a network of several classes, the first one names the class.

        >>> Prompt((Click(3, 4),), Box(5, 5, 9, 9)).interactions()
        [Box(left=3, top=4, right=9, bottom=9), Click(x=3, y=4, positive=True)]
        """
        clicks = tuple(sorted(self.clicks, key=lambda click: not click.positive)) if positive_first else self.clicks
        box = [] if self.box is None else [stretched(self.box, clicks)]
        return [*box, *clicks]


def stretched(box: Box, clicks: Sequence[Click]) -> Box:
    """The smallest box that holds this one and the positive clicks.

    >>> stretched(Box(10, 6, 95, 20), [Click(3, 40), Click(0, 0, positive=False)])
    Box(left=3, top=6, right=95, bottom=40)
    """
    xs, ys = ([int(getattr(c, axis)) for c in clicks if c.positive] for axis in "xy")
    return Box(min([box.left, *xs]), min([box.top, *ys]), max([box.right, *xs]), max([box.bottom, *ys]))


def read_prompts(
    point_coords: ArrayLike | None,
    point_labels: ArrayLike | None,
    box: ArrayLike | None,
    mask_input: ArrayLike | None,
    size: tuple[int, int],
    normalize_coords: bool = True,
) -> list[Prompt]:
    """One prompt for each object that the arguments of `Predictor.predict` describe; `size` is the photo's (H, W).

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
        counts = " and ".join(f"{name} for {each}" for name, each in given.items())
        raise InteractionError(
            f"Expected points, boxes and masks for the same number of objects, got {counts}. Several objects take "
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
        raise InteractionError(
            f"Expected point_coords and point_labels together, got {there} without {missing}. Give every point a "
            "label, 1 or 0."
        )
    points, polarities = _numbers("point_coords", coords), _numbers("point_labels", labels)
    if points.size == 0 and points.ndim < 3 and polarities.size == 0:
        points, polarities = points.reshape(0, 2), polarities.reshape(0)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or (points.ndim == 3 and len(points) == 0):
        raise InteractionError(
            f"Expected point_coords (N, 2), x then y, or (B, N, 2) for B objects, got shape {points.shape}."
        )
    if polarities.shape != points.shape[:-1]:
        raise InteractionError(
            f"Expected point_labels {points.shape[:-1]}, one for each point, got shape {polarities.shape}."
        )
    if not np.isin(polarities, (1, 0, _PADDING)).all():
        odd = polarities[~np.isin(polarities, (1, 0, _PADDING))][0]
        raise InteractionError(
            f"Expected labels of 1 (object), 0 (background) or -1 (no point), got {odd:g}. The corners of a box go "
            "into box=…, not among the points."
        )
    points = _scaled(points, scale)
    # The photo's far edges, where shares are 1, belong to its last pixels.
    height, width = size
    for axis, side in ((0, width), (1, height)):
        column = points[..., axis]
        column[(column >= side - 0.5) & (column <= side)] = side - 1
    objects = zip(points, polarities, strict=True) if points.ndim == 3 else [(points, polarities)]
    return [
        tuple(
            checked(Click(float(x), float(y), bool(label)), size)
            for (x, y), label in zip(own_points, own_labels, strict=True)
            if label != _PADDING
        )
        for own_points, own_labels in objects
    ]


def _boxes(box: ArrayLike | None, scale: NDArray[np.float64], size: tuple[int, int]) -> list[Box] | None:
    if box is None:
        return None
    corners = _numbers("box", box)
    if corners.ndim not in (1, 2) or corners.shape[-1] != 4 or len(corners) == 0:
        raise InteractionError(
            f"Expected box (4,), left, top, right, bottom, or (B, 4) for B objects, got shape {corners.shape}."
        )
    corners = _scaled(corners.reshape(-1, 4), np.tile(scale, 2))
    return [_box(row, size) for row in corners.tolist()]


def _box(corners: list[float], size: tuple[int, int]) -> Box:
    """The pixels of the photo that a box touches, its corners rounded as clicks are."""
    height, width = size
    if not np.isfinite(corners).all():
        raise InteractionError(f"Expected a box of finite numbers, got {corners}.")
    left, top, right, bottom = (int(np.floor(np.clip(side, -1e9, 1e9) + 0.5)) for side in corners)
    if corners[2] < corners[0] or corners[3] < corners[1]:
        raise InteractionError(
            f"Expected a box as left, top, right, bottom, got {corners}, whose right or bottom comes before its left "
            "or top. From x, y, width, height it is x, y, x + width, y + height."
        )
    if left >= width or top >= height or right < 0 or bottom < 0:
        raise InteractionError(
            f"Expected a box in the photo, {width} wide and {height} high, got {corners}, which is outside the photo."
        )
    # Detectors' boxes reach beyond the photo by some pixels: the photo's edge is meant.
    return Box(max(left, 0), max(top, 0), min(right, width - 1), min(bottom, height - 1))


def _masks(mask_input: ArrayLike | None) -> list[NDArray[np.float32]] | None:
    if mask_input is None:
        return None
    masks = _numbers("mask_input", mask_input)
    if masks.ndim == 3:
        masks = masks[None]
    if masks.ndim != 4 or masks.shape[1:] != (1, LOW, LOW) or len(masks) == 0:
        raise InteractionError(
            f"Expected mask_input (1, {LOW}, {LOW}), one of the low-resolution masks of an earlier call as "
            f"low_res_masks[i : i + 1], or (B, 1, {LOW}, {LOW}) for B objects, got shape {np.shape(mask_input)}."
        )
    if not np.isfinite(masks).all():
        raise InteractionError("Expected mask_input to be finite logits, got NaN or infinity.")
    return list(masks[:, 0].clip(-_MOST, _MOST).astype(np.float32))


def mask_of(logits: NDArray[np.float32], size: tuple[int, int]) -> Mask:
    """Where logits of low resolution, (256, 256), are above 0 in a photo (H, W)."""
    on_photo = F.interpolate(torch.from_numpy(logits)[None, None], size, mode="bilinear", align_corners=False)
    return Mask(on_photo[0, 0].gt(0).numpy())


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Any array of numbers as a new one of float64."""
    try:
        if isinstance(values, torch.Tensor) and not values.is_complex():
            values = values.detach().cpu().double().numpy()
        plain = np.asarray(values)
        if plain.dtype.kind not in "biufO":
            raise TypeError(f"{plain.dtype} is no type of numbers")
        with np.errstate(over="ignore"):  # numbers beyond float64 become infinity, and are refused as that
            return np.array(plain, dtype=np.float64)
    except Exception as cause:  # conversion to an array may raise anything
        raise InteractionError(f"Expected {name} to be an array of numbers, got {type(values).__name__}.") from cause


def _scaled(points: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in pixels; an overflow becomes infinity, and is refused as that."""
    with np.errstate(over="ignore"):
        return points * scale
