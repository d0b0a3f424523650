"""Simulated users: each looks at the mask, and clicks where it is most wrong.

The user of the literature clicks once, at the centre of the largest error, and waits: Xu et al., "Deep Interactive
Object Selection", CVPR 2016, section 4, in the form every paper since Jang & Kim (2019) uses. Real people hit less
well (RClicks, 2024) or don't wait; the variations here say what that costs. None keeps a state: what one does follows
from the photo, the mask and its own seed, so that a run is the same in any order, or when taken up again.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Mask, Sample, Truth
from interactify.interactions.click import Click

Gesture = tuple[Click, ...]
"""One movement of the hand, which counts as one click: a click alone, or those along a stroke."""

DRAWS = 100  # of a jittered click, before the centre is taken: in a sliver most draws fall outside


class SimulatedUser(Protocol):
    """What `evaluate(user=…)` takes: anything that says what to do about a mask. Its `repr` says what it is."""

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        """What is said before the next prediction.

        Args:
            sample: the photo and its truth, (H, W) int8.
            mask: (H, W) bool, the prediction.
            clicked: (H, W) bool, the pixels clicked before.
            left: how many gestures may still be made, at least 1.

        Returns:
            From none, where there is nothing to say, up to `left` gestures.
        """


def next_click(truth: Truth, mask: Mask, clicked: Mask) -> Click | None:
    """The pixel deepest inside the larger error, or None where nothing is wrong that has not been clicked.

    Args:
        truth: (H, W) int8: 1 object, 0 background, -1 unknown (never clicked).
        mask: (H, W) bool, the prediction.
        clicked: (H, W) bool, pixels clicked before; none is clicked twice.

    Returns:
        The click: positive in a false-negative region, negative in a false-positive one. Depth is the Euclidean
        distance to the region's border, the picture's border included; ties go to the negative click.

    >>> truth = np.zeros((5, 7), np.int8); truth[1:4, 2:5] = 1
    >>> next_click(truth, np.zeros((5, 7), bool), np.zeros((5, 7), bool))
    Click(x=3, y=2, positive=True)
    """
    missed = _depth((truth == 1) & ~mask) * ~clicked
    added = _depth((truth == 0) & mask) * ~clicked
    positive = bool(missed.max() > added.max())
    depth = missed if positive else added
    if depth.max() == 0:
        return None
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Click(int(x), int(y), positive)


@dataclass(frozen=True)
class Centre:
    """The user of the literature: one click at the centre of the largest error, then a prediction."""

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        click = next_click(sample.truth, mask, clicked)
        return ((click,),) if click else ()


@dataclass(frozen=True)
class Jitter:
    """Clicks near the centre, not at it: as `Centre`, moved by a Gaussian, but never out of the same error.

    Args:
        spread: the Gaussian's standard deviation, as a share of the centre's distance to the error's border; at least
            one pixel. A large error is hit less exactly than a small one.
        seed: another one gives other clicks; the same one the same, whatever ran before.

    Raises:
        OptionError: a spread that is not above 0.
    """

    spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.spread < float("inf"):
            raise OptionError(f"Expected a spread above 0 for jittered clicks, such as 0.5; got {self.spread!r}.")

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        centre = next_click(sample.truth, mask, clicked)
        if centre is None:
            return ()
        error = error_around(sample.truth, mask, centre)
        deviation = max(1.0, self.spread * float(_depth(error)[int(centre.y), int(centre.x)]))
        # The pixels clicked so far tell one turn from another.
        random = np.random.default_rng([self.seed, zlib.crc32(sample.name.encode()), int(clicked.sum())])
        height, width = error.shape
        for across, down in random.normal(0, deviation, (DRAWS, 2)):
            x, y = round(centre.x + across), round(centre.y + down)
            if 0 <= x < width and 0 <= y < height and error[y, x] and not clicked[y, x]:
                return ((Click(x, y, centre.positive),),)
        return ((centre,),)


@dataclass(frozen=True)
class Pairs:
    """A user who does not wait: two clicks before each prediction.

    The second click takes the error around the first for mended, and goes to the centre of the largest that is left;
    where none is, it is not made.
    """

    def turn(self, sample: Sample, mask: Mask, clicked: Mask, left: int) -> tuple[Gesture, ...]:
        first = next_click(sample.truth, mask, clicked)
        if first is None:
            return ()
        mended = mask ^ error_around(sample.truth, mask, first)
        second = next_click(sample.truth, mended, clicked) if left > 1 else None
        return ((first,), (second,)) if second else ((first,),)


USERS = {"centre": Centre, "jitter": Jitter, "pairs": Pairs}


def user_named(user: str | SimulatedUser | None) -> SimulatedUser:
    """The user of that name: "centre" (also None), "jitter" or "pairs"; a user itself is returned as it is.

    Raises:
        OptionError: another name.

    >>> user_named("jitter")
    Jitter(spread=0.5, seed=0)
    """
    if user is None:
        return Centre()
    if not isinstance(user, str):
        if not callable(getattr(user, "turn", None)):
            raise OptionError(f"Expected a simulated user with a method turn, got {type(user).__name__}.")
        return user
    if user not in USERS:
        raise OptionError(f"There is no simulated user {user!r}. Try one of: {', '.join(USERS)}.")
    return USERS[user]()


def error_around(truth: Truth, mask: Mask, click: Click) -> Mask:
    """(H, W) bool: the connected error of the click's kind that it lies in, diagonal neighbours connected."""
    wrong = ((truth == 1) & ~mask) if click.positive else ((truth == 0) & mask)
    regions, _ = label(wrong, np.ones((3, 3)))
    region: Mask = wrong & (regions == regions[int(click.y), int(click.x)])
    return region


def _depth(region: Mask) -> NDArray[np.float64]:
    return distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
