"""A network behind a server: every request brings its photo and all that is said of an object, and gets a mask.

Nothing is remembered of what was said, so that any worker can answer any request; but the last photos stay open,
because the next request is likely to be about one of them.
"""

from __future__ import annotations

import hashlib
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import InteractionError, PhotoError
from interactify.interactions.click import Click
from interactify.interactions.validation import number, text_of
from interactify.interactive import Interactive
from interactify.pictures.decode import upright
from interactify.predictor.answers import Opened
from interactify.predictor.candidates import expected_iou
from interactify.predictor.prompts import Prompt, Rectangle

KEPT: Final = 2  # photos that stay open: the one that is worked on, and the one before, for a second person


@dataclass(frozen=True, eq=False)
class Answered:
    """A mask (H, W) bool of a whole photo, and the IoU that the network expects of it, from 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


class Served:
    """A wrapped network that answers single requests, from several threads one after the other.

    >>> served = Served(interactify.wrap(interactify.zoo.load()))
    >>> answered = served.answer(Image.new("RGB", (80, 60)), "black", Prompt((Click(40, 30),)))
    >>> answered.mask.shape, bool(answered.mask[30, 40])
    ((60, 80), True)
    """

    def __init__(self, net: Interactive, kept: int = KEPT) -> None:
        self.net = net
        self._kept = kept
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, photo: Image.Image, name: str, prompt: Prompt, target: int | str | None = None) -> Answered:
        """The object that a prompt speaks of; the network's own prediction where it says nothing.

        Args:
            photo: as it is seen, a rotation applied.
            name: what tells this photo from others; it is opened again where another one came between.
            prompt: clicks at their pixels and a box, within the photo.
            target: the class that a positive click means, as for `Interactive.session`.

        Raises:
            PhotoError, ModelError, NonFiniteError, OptionError: as `Interactive.session`.
        """
        with self._lock:
            opened = self._opened.pop(name, None) or Opened(self.net, photo)
            self._opened[name] = opened
            while len(self._opened) > self._kept:
                self._opened.popitem(last=False)
            answer = opened.answer(prompt, target)
        inside = answer.logits > 0
        return Answered(answer.on_photo(answer.logits[None])[0] > 0, float(expected_iou(answer.logits, inside)))


def image_of(data: bytes) -> tuple[Image.Image, str]:
    """The picture in the bytes of a file, upright and in its own mode, and what tells it from others.

    Depth and transparency are what `interactify.pictures.decode` reads them as, whether a photo comes as a file or as
    its bytes.

    Raises:
        PhotoError: the bytes are no picture, or one of more pixels than PIL opens unasked.
    """
    try:
        with Image.open(io.BytesIO(data)) as stored:
            stored.load()
            image = upright(stored)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise PhotoError(f"The image has more pixels than PIL opens unasked ({cause}). Make it smaller.") from cause
    except Exception as cause:  # decoders meet broken files with nearly any exception
        raise PhotoError(
            f"Expected the bytes of a picture file (JPEG, PNG, …), got {len(data)} bytes that can't be read as one: "
            f"{cause or type(cause).__name__}."
        ) from cause
    return image, hashlib.sha256(data).hexdigest()


def pixel_in(value: Any, side: int, what: str) -> int:
    """The pixel in which a point lies whose coordinate runs from a photo's first border, 0, to its last, `side`.

    The last border belongs to the last pixel. Raises InteractionError for what is no number or lies beyond.

    >>> [pixel_in(x, 80, "x") for x in (0, 0.99, 1, 79.5, 80)]
    [0, 0, 1, 79, 79]
    """
    found = number(what, value, "A point's")
    if not 0 <= found <= side:
        raise InteractionError(f"Expected a point's {what} from 0 to {side}, the photo's border, got {text_of(value)}.")
    return min(math.floor(found), side - 1)


def rectangle_in(sides: Sequence[Any], size: tuple[int, int]) -> Rectangle:
    """The pixels that a box of two opposite corners touches; what reaches beyond the photo (H, W) is cut off.

    Args:
        sides: x and y of one corner, x and y of the other, as for `pixel_in`.
        size: (H, W) of the photo.

    Raises:
        InteractionError: no numbers, or the box lies beside the photo.

    >>> rectangle_in([30.2, -4, 9.5, 20], (60, 80))
    Rectangle(left=9, top=0, right=30, bottom=19)
    """
    height, width = size
    x0, y0, x1, y1 = (number(name, value, "A box's") for name, value in zip("xyxy", sides, strict=True))
    left, right = sorted((x0, x1))
    top, bottom = sorted((y0, y1))
    if right < 0 or bottom < 0 or left > width or top > height:
        raise InteractionError(
            f"Expected a box that lies in the photo, {width} wide and {height} high, got corners ({text_of(x0)}, "
            f"{text_of(y0)}) and ({text_of(x1)}, {text_of(y1)})."
        )
    first = min(math.floor(max(left, 0)), width - 1), min(math.floor(max(top, 0)), height - 1)
    last = max(math.ceil(min(right, width)) - 1, first[0]), max(math.ceil(min(bottom, height)) - 1, first[1])
    return Rectangle(*first, *last)


def clicks_in(points: Any, size: tuple[int, int], positive: bool) -> tuple[Click, ...]:
    """Clicks from a list of points [x, y], as for `pixel_in`; None is an empty list. Raises InteractionError."""
    if points is None:
        return ()
    pairs = isinstance(points, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in points)
    if not pairs:
        raise InteractionError(f"Expected points as [[x, y], …], got {text_of(points)}.")
    return tuple(Click(pixel_in(x, size[1], "x"), pixel_in(y, size[0], "y"), positive) for x, y in points)
