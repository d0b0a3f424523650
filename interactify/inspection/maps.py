"""Which of a network's outputs are maps of the image, and which of several maps is the segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, prod
from typing import Any, Final

from torch import Tensor

from interactify.inspection.activation import convolutions_before
from interactify.inspection.raw_output import Path, leaves_of, name_of, option_for

Size = tuple[int, ...]

# Usual names of main outputs, best first: torchvision, transformers, detection-like dicts.
_MAIN = ("out", "logits", "masks", "mask", "pred", "prediction", "output", "segmentation")

FEATURES: Final = 4  # times as many channels as the map that is computed from them; stages of an encoder have 2 or less

# How far the sides of a map may be from the image's, as the logarithm of their ratio.
_LOOSE = log(2.0)  # a map (N, K, h, w): its sides need not divide the image's
_CLOSE = log(1.1)  # other shapes may be tokens or boxes


@dataclass(frozen=True)
class Map:
    """A map of the image in a network's output.

    `value` is as the network returned it, `channels_last` whether that is (N, h, w, K), `ambiguous` whether its shape
    allows both orders, `sides` how many it has: 2, or 3 for a map of a volume.
    """

    path: Path
    value: Tensor
    channels_last: bool = False
    ambiguous: bool = False
    sides: int = 2

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, h, w); of a volume (K, d, h, w)."""
        return tuple(laid_out(self.value, self.channels_last, self.sides).shape[1:])

    @property
    def text(self) -> str:
        """Its name and shape, as in "aux 21×16×20"; the shape alone for a network that returns the map itself."""
        return " ".join([*([name_of(self.path)] if self.path else []), "×".join(map(str, self.shape))])


def laid_out(value: Tensor, channels_last: bool = False, sides: int = 2) -> Tensor:
    """A map as (N, K, h, w); the batch dimension, or that of the one class, may be missing. With 3 sides: of a volume.

    >>> shapes = (1, 2, 4, 5), (1, 4, 5), (3, 4, 5), (4, 5)
    >>> [tuple(laid_out(torch.zeros(shape)).shape) for shape in shapes]
    [(1, 2, 4, 5), (1, 1, 4, 5), (1, 3, 4, 5), (1, 1, 4, 5)]
    >>> tuple(laid_out(torch.zeros(1, 4, 5, 2), channels_last=True).shape)
    (1, 2, 4, 5)
    """
    if channels_last:
        value = value.movedim(-1, -1 - sides)
    if value.ndim == sides:
        return value[None, None]
    return value if value.ndim == sides + 2 else value.unsqueeze(1 if value.shape[0] == 1 else 0)


def maps_in(raw: Any, size: Size) -> list[Map]:
    """The maps in what a network returned for one image of `size` (H, W), or volume (D, H, W)."""
    found = (map_from(path, value, size) for path, value in leaves_of(raw) if value.is_floating_point())
    return [each for each in found if each is not None]


def map_from(path: Path, value: Tensor, size: Size, *, first: bool = False) -> Map | None:
    """A tensor as a map of one image of `size` (H, W), or volume (D, H, W); None if its shape is no map's.

    Args:
        path: of the tensor.
        value: the tensor.
        size: of the image.
        first: prefer channels before the sides wherever the shape allows it; else the order that fits better.
    """
    sides = len(size)
    batched = value.ndim == sides + 2
    if not sides <= value.ndim <= sides + 2 or (batched and value.shape[0] != 1):
        return None
    before = _off(value.shape[-sides:], size)
    after = _off(value.shape[-1 - sides : -1], size) if value.ndim > sides else inf
    fits_before, fits_after = before < (_LOOSE if batched else _CLOSE), after < _CLOSE
    if not (fits_before or fits_after):
        return None
    channels_last = not fits_before or (fits_after and after < before and not first)
    ambiguous = not first and fits_before and fits_after and (channels_last or after == before)
    return Map(path, value, channels_last, ambiguous, sides)


def _off(sides: Sequence[int], size: Size) -> float:
    """How far the ratio of a tensor's sides is from the image's, as a logarithm."""
    if min(sides) < 2:
        return inf
    scales = [log(side / whole) for side, whole in zip(sides, size, strict=True)]
    return max(scales) - min(scales)


def best_of(maps: Sequence[Map]) -> tuple[Map, str]:
    """The map that most likely is the segmentation, and the doubt where that is a guess: "" where it is not.

    By name, then not being features of another map (which have many more channels), then size, then depth (the fused
    map among side outputs), then position. It is no guess by name, nor between maps of the same classes of which one is
    larger or depends on more convolutions, as side outputs and their main one.
    """
    before = convolutions_before([each.value for each in maps])

    def rank(index: int) -> tuple[int, bool, int, int, int]:
        channels, *sides = maps[index].shape
        features = any(
            before[index] < convolutions and channels >= FEATURES * other.shape[0]
            for other, convolutions in zip(maps, before, strict=True)
        )
        early = -sum(step for step in maps[index].path if isinstance(step, int))
        return _named(maps[index]), not features, prod(sides), len(before[index]), early

    ranks = [rank(index) for index in range(len(maps))]
    best = max(range(len(maps)), key=lambda index: ranks[index])
    chosen = maps[best]
    if _named(chosen):
        return chosen, ""
    rivals = [
        other
        for other, theirs in zip(maps, ranks, strict=True)
        if other is not chosen and not (other.shape[0] == chosen.shape[0] and theirs[2:4] < ranks[best][2:4])
    ]
    if not rivals:
        return chosen, ""
    return chosen, (
        f"Took {chosen.text} of the network's outputs for the segmentation, which is a guess: it also returns "
        f"{', '.join(other.text for other in rivals)}. Write {option_for(chosen.path)} if that is right, else "
        f"{' or '.join(option_for(other.path) for other in rivals[:3])}."
    )


def _named(each: Map) -> int:
    last = each.path[-1] if each.path else ""
    return len(_MAIN) - _MAIN.index(last) if last in _MAIN else 0


def doubt_about_order(found: Map) -> str:
    """What to say of a map whose shape allows both orders of channels and sides, and what to write for either."""
    if not found.ambiguous:
        return ""
    part = "raw" + "".join(f"[{step!r}]" if isinstance(step, int) else f'["{step}"]' for step in found.path)
    sides = "h, w" if found.sides == 2 else "d, h, w"
    orders = f"(N, {sides}, K)", f"(N, K, {sides})"
    taken, other = orders if found.channels_last else reversed(orders)
    moved = (0, found.sides + 1, *range(1, found.sides + 1))
    last, first = f"output=lambda raw: {part}.permute({', '.join(map(str, moved))})", f"output=lambda raw: {part}"
    right, wrong = (last, first) if found.channels_last else (first, last)
    return (
        f"Took a map of shape {tuple(found.value.shape)} for {taken}, which is a guess: its shape allows {other} too. "
        f"Write {right} if that is right, else {wrong}."
    )
