"""Which sizes of image to try with an unknown network: the general ones, those that it states, those its error tells.

A network of one size only says so nowhere in particular: an attribute of its configuration, or only the error of a
layer whose weights are for another number of positions. Each attempt that fails ends at that layer, so a few cost
little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import nn

from interactify.inspection.spec import Knowledge

Size = tuple[int, int]

# Not square, so that a map's sides can be distinguished.
_FREE: Final[tuple[Size, ...]] = ((128, 160), (128, 192))
# For networks that require their own size: the usual ones, the most usual first.
_USUAL: Final = (256, 224, 512, 384, 336, 448, 518, 128, 64, 96, 160, 192, 240, 288, 300, 320, 352, 416, 480, 640)
_ATTRIBUTES: Final = ("img_size", "image_size", "input_size", "image_shape", "img_shape", "input_shape", "resolution")
_LEAST, _MOST = 16, 2048  # pixels: sides that are worth a try
_MAX_FROM_ERROR = 12


def first_sizes(knowledge: Knowledge, known: int | None) -> list[Size]:
    """Sizes (H, W) to try first, in multiples of the divisor: those for any network, the stated, the `known` one."""
    if knowledge.exact is not None:
        return [knowledge.exact]
    step, least = knowledge.divisor, knowledge.smallest or 1
    own = [(multiple_of(side, step), multiple_of(side, step)) for side in (knowledge.resolution, known) if side]
    free = [(multiple_of(max(high, least), step), multiple_of(max(wide, least), step)) for high, wide in _FREE]
    return list(dict.fromkeys([*own, *free] if knowledge.fixed else [*free, *own]))


def more_sizes(knowledge: Knowledge, replica: nn.Module, failures: Iterable[tuple[Size, Exception]]) -> list[Size]:
    """Sizes (H, W) to try where those failed: from attributes and from the errors, then the usual ones."""
    if knowledge.exact is not None:
        return []
    step, least = knowledge.divisor, knowledge.smallest or 1
    stated = [size for tried, failure in failures for size in sizes_in_error(str(failure), tried)]
    usual = [(multiple_of(max(side, least), step),) * 2 for side in _USUAL]
    return list(dict.fromkeys([*stated_sizes(replica), *stated, *usual]))


def multiple_of(side: int, step: int | None) -> int:
    """The side, rounded up to a multiple of the divisor."""
    return -(-side // (step or 1)) * (step or 1)


def stated_sizes(replica: nn.Module) -> list[Size]:
    """Sizes (H, W) in the attributes of a network's modules and in their configurations: `img_size = 448`."""
    found: list[Size] = []
    for module in nn.Module.modules(replica):
        for holder in (module, getattr(module, "config", None)):
            for name in _ATTRIBUTES:
                found += _as_size(getattr(holder, "__dict__", {}).get(name))
    return list(dict.fromkeys(found))


def sizes_in_error(text: str, tried: Size) -> list[Size]:
    """Sizes (H, W) that the error of a network tells, which failed on an image of size `tried`; the likely ones first.

    Either the side itself is among the numbers ("expected 448"), or a number of positions is: where an image gave `a`
    of them and the weights are for `b`, the right image has b / a times as many pixels. One position may be a class
    token.

    >>> sizes_in_error("mat1 and mat2 shapes cannot be multiplied (1x1280 and 1024x64)", (128, 160))[0]
    (128, 128)
    """
    numbers = list(dict.fromkeys(int(each) for each in re.findall(r"(?<![\w.])\d{2,8}|(?<=x)\d{2,8}", text)))
    pixels = tried[0] * tried[1]
    by_area: list[int] = []
    for a in numbers:
        for b in numbers:
            for token in (0, 1):
                if a == b or min(a, b) <= token:
                    continue
                side = ((b - token) / (a - token) * pixels) ** 0.5
                if abs(side - round(side)) < 1e-6 and (a - token) in _positions(tried):
                    by_area.append(round(side))
    sides = [*by_area, *(number for number in numbers if number not in tried)]
    pairs = [(int(a), int(b)) for a, b in re.findall(r"(\d{2,4})\s*[x×,*]\s*(\d{2,4})", text)]
    candidates = [*((side, side) for side in sides), *(pair for pair in pairs if pair != tried)]
    usable = [size for size in candidates if min(size) >= _LEAST and max(size) <= _MOST]
    return list(dict.fromkeys(usable))[:_MAX_FROM_ERROR]


def _positions(tried: Size) -> set[int]:
    """Numbers of positions that layers may have for an image: one for each patch, times channels."""
    height, width = tried
    counts = {(height // stride) * (width // stride) for stride in range(1, 65) if min(tried) >= stride}
    return {count * channels for count in counts for channels in (1, *range(2, 33), 48, 64, 96, 128, 192, 256, 512)}


def _as_size(value: Any) -> Iterator[Size]:
    """A side, (H, W), (C, H, W), or a dictionary of height and width, as (H, W)."""
    if isinstance(value, dict):
        value = (value.get("height"), value.get("width"))
    sides = list(value)[-2:] if isinstance(value, (tuple, list)) else [value, value]
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and _LEAST <= side <= _MOST]
    if len(whole) == 2:
        yield whole[0], whole[1]
