"""How a prompt is answered: a box narrows where the network looks, a mask becomes clicks, all are answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions import Click
from interactify.photo import PhotoLike
from interactify.prompts import LOW, Box, Prompt
from interactify.session import Session
from interactify.wrap import Interactive

SURROUNDINGS: Final = 0.25  # of a box's sides, at each side: what the network sees around the object
BESIDE: Final = 0.12  # of a box's sides: how far outside it the clicks lie that say so
FOUND: Final = 0.05  # of a box's pixels: with less, the network has found nothing there, and is told the centre
SAMPLES: Final = 8  # clicks that a mask becomes, inside and outside each
SHALLOW: Final = 2.0  # pixels: closer to a mask's border it says nothing certain
APART: Final = 0.15  # of the longer side: the least distance between two of them
CERTAIN: Final = 16.0  # logits: 1 - sigmoid is float32's last step below 1; that which is said and not predicted


@dataclass(frozen=True, eq=False)
class Answer:
    """Logits (h, w) float32 of a region of the photo, and the clicks that were to hold in it, in its pixels.

    Outside the region nothing is the object; `size` is the photo's (H, W).
    """

    logits: NDArray[np.float32]
    region: Box
    clicks: tuple[Click, ...]
    size: tuple[int, int]

    def on_photo(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (C, h, w) of the region as (C, H, W): outside it, certainly not the object."""
        photo = np.full((len(maps), *self.size), -CERTAIN, np.float32)
        rows, columns = self.region.slices
        photo[:, rows, columns] = maps
        return photo


class Opened:
    """A photo that prompts are answered on, each from the network's own prediction."""

    def __init__(self, net: Interactive, photo: PhotoLike) -> None:
        self.net = net
        self.session = net.session(photo)
        self._near: tuple[Box, Session] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.session.size

    def answer(self, prompt: Prompt) -> Answer:
        """The object that a prompt speaks of."""
        height, width = self.size
        whole = Box(0, 0, width - 1, height - 1)
        positive = [c for c in prompt.clicks if c.positive]
        region = whole if prompt.box is None else prompt.box.around(positive)
        window = whole if prompt.box is None or not self.net.zoom else region.grown(SURROUNDINGS, self.size)
        session = self._looking_at(window, whole)
        clicks = prompt.clicks
        if prompt.mask is not None:
            clicks = _joined(clicks, _of_mask(prompt.mask, region, self.size))
        if prompt.box is not None:
            clicks = _joined(clicks, _beside(region, self.size))
        logits = self._refined(session, window, clicks)[region.slices]
        if prompt.box is not None and not any(c.positive for c in clicks) and np.mean(logits > 0) < FOUND:
            centre = Click((region.left + region.right) // 2, (region.top + region.bottom) // 2)
            logits = self._refined(session, window, _joined((centre,), clicks))[region.slices]
        return Answer(logits, region, tuple(_within(region, prompt.clicks)), self.size)

    def _looking_at(self, window: Box, whole: Box) -> Session:
        """A session on that part of the photo. The last one is kept: boxes are followed by corrections in them."""
        if window == whole:
            return self.session
        if self._near is None or self._near[0] != window:
            rows, columns = window.slices
            part = self.session.pixels[:, rows, columns].clone()
            self._near = None  # its memory is free for the one to come
            self._near = window, self.net.session(part, target=self.session.target)
        return self._near[1]

    def _refined(self, session: Session, window: Box, clicks: Sequence[Click]) -> NDArray[np.float32]:
        """(H, W) logits of the photo; outside the window not the object."""
        session.reset()
        inside = _within(window, clicks)
        probability = session.add(inside).probability
        session.reset()  # what a call leaves in a session is never read: it need not be kept either
        photo = np.full(self.size, -CERTAIN, np.float32)
        photo[window.slices] = _log_odds(probability)
        return photo


def low_resolution(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (C, H, W) of a photo as (C, 256, 256), whatever its shape: as masks go from one call to the next."""
    maps = torch.from_numpy(logits)[None]
    low = F.interpolate(maps, (LOW, LOW), mode="bilinear", align_corners=False, antialias=True)
    return low[0].clamp(-32, 32).numpy()


def _log_odds(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of probabilities, in ±CERTAIN."""
    certain = 1 / (1 + np.exp(-CERTAIN))
    share = np.clip(probability.astype(np.float64), 1 - certain, certain)
    return np.log(share / (1 - share)).astype(np.float32)


def _within(box: Box, clicks: Sequence[Click]) -> list[Click]:
    """The clicks inside a box, in its pixels."""
    return [replace(c, x=c.x - box.left, y=c.y - box.top) for c in clicks if box.holds(c)]


def _joined(said: tuple[Click, ...], taken: Sequence[Click]) -> tuple[Click, ...]:
    """What was said, first, and what was made of a box or mask, where it says nothing else of the same pixel."""
    places = {(c.x, c.y) for c in said}
    return (*said, *(c for c in taken if (c.x, c.y) not in places))


def _beside(box: Box, size: tuple[int, int]) -> list[Click]:
    """Negative clicks around a box, at its corners and the middles of its sides, where the photo goes on there."""
    beyond = box.grown(BESIDE, size)
    middle = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    xs, ys = (beyond.left, middle[0], beyond.right), (beyond.top, middle[1], beyond.bottom)
    around = dict.fromkeys(Click(x, y, False) for x in xs for y in ys)
    return [click for click in around if not box.holds(click)]


def _of_mask(mask: NDArray[np.float32], region: Box, size: tuple[int, int]) -> list[Click]:
    """Clicks that say what a mask (256, 256) says: inside and outside of it, each as far from its border as can be."""
    seen = F.interpolate(torch.from_numpy(mask)[None, None], size, mode="bilinear", align_corners=False)
    inside = (seen[0, 0] > 0).numpy()[region.slices]
    clicks = [*_deepest(inside, True), *_deepest(~inside, False)]
    return [replace(c, x=c.x + region.left, y=c.y + region.top) for c in clicks]


def _deepest(area: NDArray[np.bool_], positive: bool) -> list[Click]:
    """Up to SAMPLES clicks in an area (h, w), the deepest first, none of them within the depth of another."""
    depth = ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    rows, columns = np.ogrid[: area.shape[0], : area.shape[1]]
    free, clicks = depth.copy(), []
    while len(clicks) < SAMPLES and free.max() > SHALLOW:
        y, x = (int(i) for i in np.unravel_index(free.argmax(), free.shape))
        clicks.append(Click(x, y, positive))
        apart = max(depth[y, x], APART * max(area.shape))
        free[(rows - y) ** 2 + (columns - x) ** 2 < apart**2] = 0
    return clicks
