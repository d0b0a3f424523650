"""A network behind a server: every request brings its photo and all prompts of an object, and gets a mask.

No prompt is remembered, so that any worker can handle any request; but the last photos stay open, because the next
request is likely to be about one of them.
"""

from __future__ import annotations

import hashlib
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from PIL import Image

from interactify.errors import InteractifyError, InteractionError, OptionError, PhotoError, ServiceError, text_of
from interactify.interactions.click import Click
from interactify.interactions.gestures import Box
from interactify.interactions.validation import number
from interactify.interactive import Interactive
from interactify.pictures.image_files import upright
from interactify.pictures.tiff import is_tiff
from interactify.predictor.photo import ScoredMask
from interactify.predictor.prompts import Prompt
from interactify.tools.prompted import Here, Network, Photo

OPEN: Final = 2  # photos that stay open: the current one, and the one before, for a second user
BAD_REQUEST: Final = (InteractionError, OptionError, PhotoError)  # all others come from the network or the machine


class Served:
    """A wrapped network that handles single requests, those of several threads one after the other.

    >>> served = Served(interactify.wrap(interactify.zoo.load()))
    >>> scored = served.segment(Image.new("RGB", (80, 60)), "black", Prompt((Click(40, 30),)))
    >>> scored.mask.shape, bool(scored.mask[30, 40])
    ((60, 80), True)
    """

    def __init__(self, net: Interactive | Network, most_open: int = OPEN) -> None:
        """With a wrapped network, or with one of a service."""
        self.network: Network = Here(net) if isinstance(net, Interactive) else net
        self._most_open = most_open
        self._photos: OrderedDict[str, Photo] = OrderedDict()  # the last used is last
        self._lock = threading.Lock()

    def segment(self, photo: Image.Image, name: str, prompt: Prompt, target: int | str | None = None) -> ScoredMask:
        """The object that a prompt describes; without clicks and box the network's own prediction.

        Args:
            photo: with its rotation applied.
            name: identifies the photo, such as a digest of its file; only a photo that is no longer open is opened.
            prompt: clicks at their pixels and a box, within the photo.
            target: the class that a positive click means, as for `Interactive.session`.

        Raises:
            PhotoError, ModelError, NonFiniteError, OptionError: as `Interactive.session`.
            ServiceError: a service does not answer, refuses, or has no place.
        """
        with self._lock:
            opened = self._photos.pop(name, None) or self.network.open(photo)
            try:
                scored = opened.answer(prompt, target)
            except ServiceError:  # it may be gone there; the next request opens the photo again
                with suppress(InteractifyError):
                    opened.close()
                raise
            except InteractifyError:
                self._photos[name] = opened
                raise
            self._photos[name] = opened
            while len(self._photos) > self._most_open:
                with suppress(ServiceError):
                    self._photos.popitem(last=False)[1].close()
            return scored


def status_of(error: InteractifyError) -> int:
    """The HTTP status of an error: 400 where the request is at fault, 500 elsewhere."""
    return 400 if isinstance(error, BAD_REQUEST) else 500


def image_of(data: bytes) -> tuple[Image.Image, str]:
    """The picture in the bytes of a file, upright and in its own mode, and the file's SHA-256, by which it is known.

    `interactify.pictures.image_files` then reads depth and transparency as it does from the file itself.

    Raises:
        PhotoError: the bytes are no picture, or one of more pixels than PIL opens by default.
    """
    try:
        with Image.open(io.BytesIO(data)) as stored:
            stored.load()
            image = upright(stored)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise PhotoError(
            f"Expected an image of no more pixels than PIL opens by default, got a larger one ({cause}). Try a smaller "
            "one."
        ) from cause
    except Exception as cause:  # decoders raise nearly any exception on broken files
        advice = "it may be damaged or of another format; try to save it as PNG"
        if is_tiff(data) and isinstance(cause, Image.UnidentifiedImageError):
            advice = (
                "a TIFF of many bands or of a type that browsers don't show either; try PNG, or the page of "
                "`interactify app`, which opens it"
            )
        raise PhotoError(
            f"Expected the bytes of a picture file (JPEG, PNG, …), got {len(data)} bytes that can't be read as one "
            f"({type(cause).__name__}): {advice}."
        ) from cause
    return image, hashlib.sha256(data).hexdigest()


def pixel_in(value: Any, side: int, what: str) -> int:
    """The pixel of a coordinate that runs from 0, a photo's first border, to `side`, its last border.

    The last border belongs to the last pixel. Raises InteractionError for other values.

    >>> [pixel_in(x, 80, "x") for x in (0, 0.99, 1, 79.5, 80)]
    [0, 0, 1, 79, 79]
    """
    coordinate = number(what, value, "a point's")
    if not 0 <= coordinate <= side:
        raise InteractionError(f"Expected a point's {what} from 0 to {side}, the photo's border, got {text_of(value)}.")
    return min(math.floor(coordinate), side - 1)


def box_in(sides: Sequence[Any], size: tuple[int, int]) -> Box:
    """The pixels that a box with two opposite corners touches, cut off at the photo's borders.

    Args:
        sides: x and y of one corner, x and y of the other, as for `pixel_in`.
        size: (H, W) of the photo.

    Raises:
        InteractionError: no numbers, or the box lies outside the photo.

    >>> box_in([30.2, -4, 9.5, 20], (60, 80))
    Box(left=9, top=0, right=30, bottom=19)
    """
    height, width = size
    x0, y0, x1, y1 = (number(name, value, "a box's") for name, value in zip("xyxy", sides, strict=True))
    left, right = sorted((x0, x1))
    top, bottom = sorted((y0, y1))
    if right < 0 or bottom < 0 or left > width or top > height:
        raise InteractionError(
            f"Expected a box that lies in the photo, {width} wide and {height} high, got corners ({text_of(x0)}, "
            f"{text_of(y0)}) and ({text_of(x1)}, {text_of(y1)})."
        )
    first = min(math.floor(max(left, 0)), width - 1), min(math.floor(max(top, 0)), height - 1)
    last = max(math.ceil(min(right, width)) - 1, first[0]), max(math.ceil(min(bottom, height)) - 1, first[1])
    return Box(*first, *last)


def clicks_in(points: Any, size: tuple[int, int], positive: bool) -> tuple[Click, ...]:
    """Clicks from a list of points [x, y], each as for `pixel_in`; None is an empty list. Raises InteractionError."""
    if points is None:
        return ()
    pairs = isinstance(points, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in points)
    if not pairs:
        raise InteractionError(f"Expected points as [[x, y], …], got {text_of(points)}.")
    return tuple(Click(pixel_in(x, size[1], "x"), pixel_in(y, size[0], "y"), positive) for x, y in points)
