"""How a prompt is answered: a box narrows where the network looks, clicks are answered at once, and correct a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.click import Click
from interactify.interactive import Interactive
from interactify.pictures.picture import PictureLike
from interactify.pictures.window import Window
from interactify.predictor.prompts import LOW, Prompt, Rectangle
from interactify.refinement.zoom import MAGNIFIED
from interactify.session.session import Session

SURROUNDINGS: Final = 0.25  # of a box's sides, at each side: what the network sees around the object
BESIDE: Final = 0.12  # of a box's sides: how far outside it the clicks lie that say so
FOUND: Final = 0.05  # of a box's pixels: with less, the network has found nothing there, and is told the centre
CERTAIN: Final = 16.0  # logits: 1 - sigmoid is float32's last step below 1; that which is said and not predicted


@dataclass(frozen=True, eq=False)
class Answer:
    """Logits (h, w) float32 of a region of the photo, and the clicks that were to hold in it, in its pixels.

    Outside the region nothing is the object; `size` is the photo's (H, W).
    """

    logits: NDArray[np.float32]
    region: Rectangle
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

    def __init__(self, net: Interactive, photo: PictureLike) -> None:
        self.net = net
        self.session = net.session(photo)
        self._near: tuple[Rectangle, Session] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.session.size

    @property
    def _least(self) -> int:
        """Pixels of the photo that the network looks at, at least: more enlarged there is nothing more to see."""
        return max(1, (self.net.spec.resolution or 1) // MAGNIFIED)

    def answer(self, prompt: Prompt, target: int | str | None = None) -> Answer:
        """The object that a prompt speaks of.

        `target` is the class that a positive click means, as for `Interactive.session`; by default it is the network's.
        Raises OptionError for one that the network hasn't.
        """
        height, width = self.size
        meant = self.session.target if target is None else self.net.network.target(target)
        clicked = meant is None and self.net.spec.output.classes > 2  # no class was named: a box needs a click inside
        whole = Rectangle(0, 0, width - 1, height - 1)
        positive = [c for c in prompt.clicks if c.positive]
        region = whole if prompt.box is None else prompt.box.around(positive)
        window = (
            whole if prompt.box is None or not self.net.zoom else region.grown(SURROUNDINGS, self.size, self._least)
        )
        clicks = prompt.clicks
        if clicked:  # the first click names the class
            clicks = tuple(sorted(clicks, key=lambda click: not click.positive))
        if prompt.box is not None:
            clicks = (*clicks, *_beside(region, self.size, taken=clicks))
        session = self._looking_at(window, whole)
        centre = [] if prompt.box is None or positive else _centre(region, taken=clicks)
        if clicked:
            clicks = (*centre, *clicks)
        logits = self._refined(session, window, clicks, target)[region.slices]
        if centre and not clicked and np.mean(logits > 0) < FOUND:
            logits = self._refined(session, window, (*centre, *clicks), target)[region.slices]
        said = tuple(_within(region, prompt.clicks))
        if prompt.mask is not None:
            logits = _corrected(_on_photo(prompt.mask, self.size)[region.slices], logits, said)
        return Answer(logits, region, said, self.size)

    def _looking_at(self, window: Rectangle, whole: Rectangle) -> Session:
        """A session on that part of the photo. The last one is kept: boxes are followed by corrections in them."""
        if window == whole:
            return self.session
        if self._near is None or self._near[0] != window:
            height, width = window.bottom + 1 - window.top, window.right + 1 - window.left
            part = self.session.refiner.picture.part(Window(window.top, window.left, height, width))
            self._near = None  # its memory is free for the one to come
            self._near = window, self.net.session(part)
        return self._near[1]

    def _refined(
        self, session: Session, window: Rectangle, clicks: Sequence[Click], target: int | str | None
    ) -> NDArray[np.float32]:
        """(H, W) logits of the photo; outside the window not the object."""
        session.restart()
        if target is not None:  # another object, so that all classes share what the network made of the photo
            session.add_object(target=target)
        inside = _within(window, clicks)
        probability = session.add(inside).probability
        session.restart()  # what a call leaves in a session is never read: it need not be kept either
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


def _within(box: Rectangle, clicks: Sequence[Click]) -> list[Click]:
    """The clicks inside a box, in its pixels."""
    return [replace(c, x=c.x - box.left, y=c.y - box.top) for c in clicks if box.holds(c)]


def _centre(box: Rectangle, taken: Sequence[Click]) -> list[Click]:
    """A positive click in the middle of a box, or none where that pixel is taken."""
    middle = Click((box.left + box.right) // 2, (box.top + box.bottom) // 2)
    return [] if any((c.x, c.y) == (middle.x, middle.y) for c in taken) else [middle]


def _beside(box: Rectangle, size: tuple[int, int], taken: Sequence[Click]) -> list[Click]:
    """Negative clicks around a box, at its corners and the middles of its sides, where the photo goes on there.

    Not at the pixels that are taken: what was said of them holds.
    """
    beyond = box.grown(BESIDE, size)
    middle = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    xs, ys = (beyond.left, middle[0], beyond.right), (beyond.top, middle[1], beyond.bottom)
    around = dict.fromkeys(Click(x, y, False) for x in xs for y in ys)
    places = {(c.x, c.y) for c in taken}
    return [click for click in around if not box.holds(click) and (click.x, click.y) not in places]


def _corrected(mask: NDArray[np.float32], logits: NDArray[np.float32], clicks: Sequence[Click]) -> NDArray[np.float32]:
    """A mask's logits (h, w), and the network's in each piece where the two differ and a click says that the mask errs.

    Elsewhere the mask stands: it may come from where more was known than these clicks tell the network.
    """
    pieces, _ = ndimage.label((mask > 0) != (logits > 0))
    places = [(int(c.y), int(c.x)) for c in clicks if (mask[int(c.y), int(c.x)] > 0) != c.positive]
    corrected = np.isin(pieces, [pieces[place] for place in places if pieces[place] > 0])
    return np.where(corrected, logits, mask)


def _on_photo(mask: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask of low resolution, (256, 256), at the photo's (H, W)."""
    seen = F.interpolate(torch.from_numpy(mask)[None, None], size, mode="bilinear", align_corners=False)
    return seen[0, 0].numpy()
