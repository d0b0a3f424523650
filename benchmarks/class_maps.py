"""The effect of clicks on one class on all others: a session's label map before the first click and after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.camvid_frames import UNLABELLED, class_ious, confusion
from interactify.session.class_map import ClassMaps
from interactify.session.session import Session

LabelMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


def label_maps(session: Session) -> list[LabelMap]:
    """The class map before the first click and after each."""
    maps = ClassMaps(session.refiner, session.track)
    return [maps.after(count) for count in range(len(session.steps) + 1)]


@dataclass(frozen=True)
class Others:
    """A frame's label map compared with its truth, during the clicks on one object.

    Attributes:
        all_classes: mean IoU over the classes in the frame.
        other_classes: the same without the clicked class.
        kept: share of the pixels of other classes that have their class.
    """

    all_classes: float
    other_classes: float
    kept: float


def compared(labels: NDArray[np.integer], found: LabelMap, target: int) -> Others:
    """Compare a label map (H, W) with the truth (H, W), 11 unlabelled, when class `target` is clicked."""
    counts = confusion(labels, found)
    each, present = class_ious(counts), counts.sum(1) > 0
    others = present.copy()
    others[target] = False
    right = np.diag(counts)[others].sum() / max(1, counts[others].sum())
    # In a frame of one class there are no others to change.
    mean_of_others = float(each[others].mean()) if others.any() else 1.0
    return Others(float(each[present].mean()), mean_of_others, float(right) if others.any() else 1.0)


def colours(labels: NDArray[np.integer], palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A label map as a picture (H, W, 3)."""
    return np.array(palette, np.uint8)[np.minimum(labels, UNLABELLED)]
