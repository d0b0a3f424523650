"""Outputs that are no segmentation: boxes and prototypes of a network that finds objects, and classes as integers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

from torch import Tensor

from interactify.errors import ModelError
from interactify.inspection.maps import Size, map_from
from interactify.inspection.raw_output import Path, leaves_of, name_of

INSTEAD = (
    "Try a network for semantic segmentation; an object that this one found can begin its session: "
    "session.add(interactify.Mask(mask))."
)
_BOXES = ("box", "bbox")  # parts of the names of outputs
_WITH_BOXES = ("label", "score", "keypoint", "proto", "coef")
_FEWEST = 100  # cells: on small images a few tokens would look like them
# Predictions on grids of several strides lie in one row: of the finest to the coarsest, for one to nine anchors.
_STRIDES = [[s for s in (4, 8, 16, 32, 64, 128) if low <= s <= high] for low, high in product((4, 8), (32, 64, 128))]
_ANCHORS = (1, 3, 9)


def refuse_objects(raw: Any, size: Size) -> None:
    """Refuse what a network that finds objects returns for one image of `size` (H, W), or volume (D, H, W).

    It returns boxes and their labels or scores, by name, or boxes and no map; or a tensor with a row for each cell of
    grids of several strides, as YOLO's networks do, whose other map holds prototypes and not classes.

    Raises:
        ModelError: with the names and shapes of what was found.
    """
    leaves = list(leaves_of(raw))
    boxes = [(path, value) for path, value in leaves if _is_named(path, _BOXES) and value.shape[-1:] in ((4,), (5,))]
    more = [(path, value) for path, value in leaves if _is_named(path, _WITH_BOXES) and not _is_named(path, _BOXES)]
    if boxes and (more or not any(map_from(path, value, size) for path, value in leaves)):
        raise _found(", ".join(_text(path, value) for path, value in (boxes + more)[:5]), leaves, size)
    for path, value in leaves if len(size) == 2 else ():
        side = next((side for side in value.shape[1:] if side in _cells(size)), None) if value.ndim == 3 else None
        if side is not None and value.shape[0] == 1:
            grids = f"{_text(path, value)}, which has a prediction for each of {side} cells of several grids"
            maps = [_text(p, v) for p, v in leaves if v.ndim == 4 and map_from(p, v, size) is not None]
            prototypes = f", and {maps[-1]}, which may be prototypes of masks" if maps else ""
            raise _found(grids + prototypes, leaves, size)


def _found(what: str, leaves: Sequence[tuple[Path, Tensor]], size: Size) -> ModelError:
    whole = [(path, value) for path, value in leaves if path and value.ndim == len(size) + 2]
    maps = [path for path, value in whole if map_from(path, value, size) is not None]
    named = f" If one of its outputs is a segmentation, name it: output={name_of(maps[0])!r}." if maps else ""
    return ModelError(
        f"Expected a map of classes for each pixel, got the output of a network that finds objects: {what}. {INSTEAD}"
        f"{named}"
    )


def _cells(size: Size) -> set[int]:
    """How many cells grids of several strides have together on an image (H, W).

    >>> 8400 in _cells((640, 640)), 80 * 80 in _cells((640, 640))
    (True, False)
    """
    sums = {sum(ceil(size[0] / s) * ceil(size[1] / s) for s in strides) for strides in _STRIDES}
    return {anchors * cells for anchors in _ANCHORS for cells in sums if cells >= _FEWEST}


def _is_named(path: Path, words: Sequence[str]) -> bool:
    return any(word in str(step).lower() for step in path for word in words)


def _text(path: Path, value: Tensor) -> str:
    return f"{name_of(path) or 'a tensor'} {tuple(value.shape)}"


def whole_numbers_in(raw: Any, size: Size) -> str:
    """The first map in the output that holds integers or booleans, as text: "out (1, 64, 80) int64"; "" for none."""
    for path, value in leaves_of(raw):
        if not value.is_floating_point() and not value.is_complex() and map_from(path, value, size) is not None:
            return f"{_text(path, value)} {str(value.dtype).removeprefix('torch.')}"
    return ""


def refuse_whole_numbers(value: Tensor) -> None:
    """Refuse a map without a gradient that holds nothing but whole numbers, such as `argmax(1).float()`.

    Raises:
        ModelError: with the numbers that are in it.
    """
    if value.requires_grad or value.numel() < 2 or not bool((value == value.round()).all()):
        return
    least, most = float(value.min()), float(value.max())
    if least < most:
        raise whole_numbers(f"a map without a gradient of the whole numbers from {least:g} to {most:g}")


def whole_numbers(what: str) -> ModelError:
    """The error for a map of classes that were decided inside the network."""
    return ModelError(
        f"Expected logits or probabilities for each class, got whole numbers: {what}. They are decisions, as of argmax "
        "or a threshold, which pass no gradient to a click. Try the network without its last step, or point at the map "
        "before it with output=…."
    )
