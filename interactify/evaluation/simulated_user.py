"""Simulated users: each compares the mask with the truth, and clicks in the largest error.

The user of the literature clicks once, at the centre of the largest error, and waits: Xu et al., "Deep Interactive
Object Selection", CVPR 2016, section 4, in the form that papers use since Jang & Kim (2019). Real users click less
exactly (RClicks, 2024) or don't wait; the variations here measure what that costs. In a volume all of them click
voxels, and measure distances in the volume's spacing. No user keeps a state: a click
depends on the photo, the mask and a seed only, so that a run is the same in any order, and after an interruption.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import label

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Mask, Sample, Truth
from interactify.interactions.click import Click
from interactify.interactions.in_space import VoxelClick
from interactify.interactions.next_click import depth_in, index_of, next_click

Gesture = tuple[Click, ...]
"""What counts as one click: a single click, or the clicks along a stroke."""

DRAWS = 100  # attempts at a jittered click, before the centre is used: in a sliver most of them are outside


class SimulatedUser(Protocol):
    """A user for `evaluate(user=…)`: it chooses the next clicks for a mask. Its `repr` goes into the report."""

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        """The gestures before the next prediction.

        Args:
            sample: the photo and its truth, (H, W) int8; or a volume and its truth, (D, H, W).
            mask: bool, of the truth's shape, the prediction.
            clicked: bool, of the same shape, the pixels clicked before.
            left: the number of gestures that are left, at least 1.

        Returns:
            Up to `left` gestures; none where nothing is wrong.
        """


@dataclass(frozen=True)
class Centre:
    """The user of the literature: one click at the centre of the largest error, then a prediction."""

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        click = next_click(sample.truth, mask, clicked, sample.spacing)
        return ((click,),) if click else ()


@dataclass(frozen=True)
class Jitter:
    """Clicks near the centre: as `Centre`, moved by a Gaussian, but never out of the same error.

    Args:
        spread: the Gaussian's standard deviation, as a share of the centre's distance to the error's border; at least
            one pixel. So clicks in a large error are less exact than in a small one. In a volume, in the units of its
            spacing.
        seed: the same seed gives the same clicks, whatever ran before.

    Raises:
        OptionError: the spread is not above 0, or infinite.
    """

    spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.spread < float("inf"):
            raise OptionError(f"Expected a spread above 0 for jittered clicks, got {self.spread!r}. Try 0.5.")

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        centre = next_click(sample.truth, mask, clicked, sample.spacing)
        if centre is None:
            return ()
        error = error_around(sample.truth, mask, centre)
        units = np.array(sample.spacing or (1.0,) * error.ndim)
        depth = float(depth_in(error, sample.spacing)[index_of([centre])][0])
        deviation = max(float(units.min()), self.spread * depth)
        # The number of clicked pixels gives each turn its own random numbers.
        random = np.random.default_rng([self.seed, zlib.crc32(sample.name.encode()), int(clicked.sum())])
        middle = np.array(index_of([centre]))[:, 0]
        for moved in random.normal(0, deviation, (DRAWS, error.ndim)):
            place = [round(at) for at in (middle + moved[::-1] / units).tolist()]
            inside = all(0 <= at < side for at, side in zip(place, error.shape, strict=True))
            if inside and error[tuple(place)] and not clicked[tuple(place)]:
                *before, y, x = place
                return ((VoxelClick(x, y, centre.positive, z=before[0]) if before else Click(x, y, centre.positive),),)
        return ((centre,),)


@dataclass(frozen=True)
class Pairs:
    """A user who does not wait: two clicks before each prediction.

    The second click assumes that the first one corrects its error, and goes to the centre of the largest other error;
    where there is none, the user clicks once.
    """

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        first = next_click(sample.truth, mask, clicked, sample.spacing)
        if first is None:
            return ()
        corrected = mask ^ error_around(sample.truth, mask, first)
        second = next_click(sample.truth, corrected, clicked, sample.spacing) if left > 1 else None
        return ((first,), (second,)) if second else ((first,),)


USERS = {"centre": Centre, "jitter": Jitter, "pairs": Pairs}


def user_named(user: str | SimulatedUser | None) -> SimulatedUser:
    """The user of a name: "centre" (also None), "jitter" or "pairs"; a user object is returned unchanged.

    Raises:
        OptionError: an unknown name, or an object without a method `turn`.

    >>> user_named("jitter")
    Jitter(spread=0.5, seed=0)
    """
    if user is None:
        return Centre()
    if not isinstance(user, str):
        if not callable(getattr(user, "turn", None)):
            raise OptionError(f"Expected a simulated user with a method turn, got {type(user).__name__}. Try centre.")
        return user
    if user not in USERS:
        raise OptionError(f"Expected the name of a simulated user, got {user!r}. Try one of: {', '.join(USERS)}.")
    return USERS[user]()


def error_around(truth: Truth, mask: Mask, click: Click) -> Mask:
    """The connected error around a click, of the click's kind, (H, W) or (D, H, W) bool; with diagonal neighbours."""
    wrong = ((truth == 1) & ~mask) if click.positive else ((truth == 0) & mask)
    regions, _ = label(wrong, np.ones((3,) * wrong.ndim))
    region: Mask = wrong & (regions == regions[index_of([click])])
    return region
