"""What recorded sessions are played on: small photos, networks with weights from a seed, and the list of the sessions.

A case is a function that keeps everything it is given in a recording. Each begins with a network and photos of its own,
so that what one gives does not depend on which others were played.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import interactify
from interactify import Click, Interactive, Session

if TYPE_CHECKING:
    from benchmarks.recorded_sessions import Recording

Case = Callable[["Recording"], None]
Last = Callable[[Tensor], Any]
Photo = NDArray[np.uint8]
CASES: dict[str, Case] = {}
NAMES = ("floor", "wall", "cup", "spoon", "table")
CLICKS = (Click(80, 60), Click(10, 10, False), Click(120, 90), Click(60, 100, False))  # of photos of 120 × 160
FEW = (Click(40, 30), Click(5, 5, False), Click(70, 50))  # of photos of 64 × 96


def case(name: str) -> Callable[[Case], Case]:
    """Add a case under a name."""

    def added(play: Case) -> Case:
        if name in CASES:
            raise ValueError(f"there are two cases {name!r}")
        CASES[name] = play
        return play

    return added


@cache
def _embedded(name: str) -> Image.Image:
    return Image.open(next(each.path for each in interactify.zoo.photos() if each.name == name)).convert("RGB")


def photo(name: str = "coffee", height: int = 120, width: int = 160) -> Photo:
    """An embedded photo made small."""
    return np.array(_embedded(name).resize((width, height), Image.Resampling.BILINEAR))


def drawn(height: int = 64, width: int = 96, seed: int = 0, channels: int = 3) -> Photo:
    """Two ellipses on a gradient with noise, from a seed."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    made = np.stack([60 + 90 * xs * random.random() + 60 * ys for _ in range(channels)], -1)
    for _ in range(2):
        x, y = random.uniform(0.25, 0.75, 2)
        made[((xs - x) / 0.2) ** 2 + ((ys - y) / 0.25) ** 2 < 1] = random.uniform(20, 235, channels)
    return (made + random.normal(0, 6, made.shape)).clip(0, 255).astype(np.uint8)


class Small(nn.Module):
    """Encoder and decoder with a skip connection; maps of `classes` classes, passed through `last`."""

    def __init__(self, classes: int = 1, channels: int = 3, last: Last | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(12, 12, 3, stride=2, padding=1)
        self.up = nn.Conv2d(20, 8, 3, padding=1)
        self.head = nn.Conv2d(8, classes, 1)
        self.last = last

    def forward(self, x: Tensor) -> Any:
        skip = self.stem(x).relu()
        deep = self.deep(self.down(skip).relu()).relu()
        up = F.interpolate(deep, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        maps = self.head(self.up(torch.cat([skip, up], 1)).relu()) * 12
        return maps if self.last is None else self.last(maps)


def small(classes: int = 1, channels: int = 3, last: Last | None = None, seed: int = 0) -> Small:
    """A small network with random weights, its maps centred around 0 so that masks hold both labels."""
    torch.manual_seed(seed)
    model = Small(classes, channels).eval()
    with torch.no_grad():
        seen = model(F.interpolate(torch.randn(1, channels, 8, 8), scale_factor=8.0, mode="bilinear"))
        model.head.bias -= seen.mean((0, 2, 3)) / 12
    model.last = last
    return model


def zoo(**options: Any) -> Interactive:
    """The embedded network."""
    return interactify.wrap(interactify.zoo.load(), **options)


def tiny(classes: int = 1, **options: Any) -> Interactive:
    """A small random network, wrapped."""
    return interactify.wrap(small(classes), mean=0.5, std=0.25, **options)


def add(kept: Recording, session: Session, *steps: Any) -> None:
    """Add interactions one after the other, a list of them together, and keep the result of each step."""
    for step in steps:
        group = list(step) if isinstance(step, (list, tuple)) else [step]
        kept.result(" and ".join(type(each).__name__.lower() for each in group), session.add(group))


def played(kept: Recording, net: Interactive, picture: Any, *steps: Any, **options: Any) -> Session:
    """A session from the network's own prediction on; returns it."""
    session = net.session(picture, **options)
    kept.result("before", session.result)
    add(kept, session, *steps)
    return session
