"""Which sizes of image or volume to try with an unknown network: the general ones, the stated, those its error tells.

A network of one size only says so nowhere in particular: an attribute of its configuration, or only the error of a
layer whose weights are for another number of positions. Each attempt that fails ends at that layer, so a few cost
little.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import nn

from interactify.inspection.spec import Knowledge

Size = tuple[int, ...]
"""(H, W) of an image, (D, H, W) of a volume."""

# By the number of sides. Not square, so that a map's sides can be distinguished.
_FREE: Final[dict[int, tuple[Size, ...]]] = {
    2: ((128, 160), (128, 192)),
    3: ((32, 48, 64), (32, 64, 96), (64, 96, 128)),
}
# For networks that require their own size: the usual ones, the most usual first.
_USUAL: Final[dict[int, tuple[int, ...]]] = {
    2: (256, 224, 512, 384, 336, 448, 518, 128, 64, 96, 160, 192, 240, 288, 300, 320, 352, 416, 480, 640),
    3: (96, 128, 64, 32, 48, 80, 112, 160),
}
_ATTRIBUTES: Final = ("img_size", "image_size", "input_size", "image_shape", "img_shape", "input_shape", "resolution")
_LEAST, _MOST = 16, {2: 2048, 3: 192}  # pixels: sides that are worth a try
_MAX_FROM_ERROR = 12


def first_sizes(knowledge: Knowledge, known: int | None, sides: int = 2) -> list[Size]:
    """Sizes to try first, in multiples of the divisor: those for any network, the stated, the `known` one.

    `sides` is how many a size has: 2 for images, 3 for volumes.
    """
    if knowledge.exact is not None:
        return [knowledge.exact]
    step, least = knowledge.divisor, knowledge.smallest or 1
    own = [(multiple_of(side, step),) * sides for side in (knowledge.resolution, known) if side]
    free = [tuple(multiple_of(max(side, least), step) for side in size) for size in _FREE[sides]]
    return list(dict.fromkeys([*own, *free] if knowledge.fixed else [*free, *own]))


def more_sizes(
    knowledge: Knowledge, replica: nn.Module, failures: Iterable[tuple[Size, Exception]], sides: int = 2
) -> list[Size]:
    """Sizes to try where those failed: from attributes and from the errors, then the usual ones."""
    if knowledge.exact is not None:
        return []
    step, least = knowledge.divisor, knowledge.smallest or 1
    stated = [size for tried, failure in failures for size in sizes_in_error(str(failure), tried)]
    usual = [(multiple_of(max(side, least), step),) * sides for side in _USUAL[sides]]
    return list(dict.fromkeys([*stated_sizes(replica, sides), *stated, *usual]))


def multiple_of(side: int, step: int | None) -> int:
    """The side, rounded up to a multiple of the divisor."""
    return -(-side // (step or 1)) * (step or 1)


def stated_sizes(replica: nn.Module, sides: int = 2) -> list[Size]:
    """Sizes in the attributes of a network's modules and in their configurations: `img_size = 448`."""
    found: list[Size] = []
    for module in nn.Module.modules(replica):
        for holder in (module, getattr(module, "config", None)):
            for name in _ATTRIBUTES:
                found += _as_size(getattr(holder, "__dict__", {}).get(name), sides)
    return list(dict.fromkeys(found))


def sizes_in_error(text: str, tried: Size) -> list[Size]:
    """Sizes that the error of a network tells, which failed on an image of size `tried`; the likely ones first.

    Either the side itself is among the numbers ("expected 448"), or a number of positions is: where an image gave `a`
    of them and the weights are for `b`, the right image has b / a times as many pixels. One position may be a class
    token.

    >>> sizes_in_error("mat1 and mat2 shapes cannot be multiplied (1x1280 and 1024x64)", (128, 160))[0]
    (128, 128)
    """
    numbers = list(dict.fromkeys(int(each) for each in re.findall(r"(?<![\w.])\d{2,8}|(?<=x)\d{2,8}", text)))
    pixels, sides = math.prod(tried), len(tried)
    by_area: list[int] = []
    for a in numbers:
        for b in numbers:
            for token in (0, 1):
                if a == b or min(a, b) <= token:
                    continue
                side = ((b - token) / (a - token) * pixels) ** (1 / sides)
                if abs(side - round(side)) < 1e-6 and (a - token) in _positions(tried):
                    by_area.append(round(side))
    lengths = [*by_area, *(number for number in numbers if number not in tried)]
    written = re.findall(r"(\d{2,4})" + r"\s*[x×,*]\s*(\d{2,4})" * (sides - 1), text)
    whole: list[Size] = [tuple(int(side) for side in size) for size in written]
    candidates = [*((side,) * sides for side in lengths), *(size for size in whole if size != tried)]
    usable = [size for size in candidates if min(size) >= _LEAST and max(size) <= _MOST[sides]]
    return list(dict.fromkeys(usable))[:_MAX_FROM_ERROR]


def _positions(tried: Size) -> set[int]:
    """Numbers of positions that layers may have for an image: one for each patch, times channels."""
    counts = {math.prod(side // stride for side in tried) for stride in range(1, 65) if min(tried) >= stride}
    return {count * channels for count in counts for channels in (1, *range(2, 33), 48, 64, 96, 128, 192, 256, 512)}


def _as_size(value: Any, sides: int) -> Iterator[Size]:
    """A side, (H, W), (C, H, W), or a dictionary of height and width, as (H, W); for volumes likewise."""
    if isinstance(value, dict):
        value = (value.get("height"), value.get("width"))
    found = list(value)[-sides:] if isinstance(value, (tuple, list)) else [value] * sides
    whole = [side for side in found if isinstance(side, int) and not isinstance(side, bool)]
    if len(whole) == sides and min(whole) >= _LEAST and max(whole) <= _MOST[sides]:
        yield tuple(whole)
