"""What a click on one class does to all others: a session's label map, before the first click and after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.camvid_frames import UNLABELLED, class_ious, confusion
from interactify.interactions import Click
from interactify.outputs import resized
from interactify.session import Session, Step

LabelMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


@torch.no_grad()
def class_logits(step: Step) -> Tensor:
    """The logits (1, K, h, w) of all classes in a step's frame, on the network's own grid, as its clicks left them."""
    frame = step.frame
    seen = [click for click in step.result.clicks if frame.window.holds(click)]
    places = np.array([(c.x - frame.window.left, c.y - frame.window.top) for c in seen], float).reshape(-1, 2)
    points = frame.view.points_to_network(places)
    clicks = [Click(float(x), float(y), c.positive) for (x, y), c in zip(points.tolist(), seen, strict=True)]
    return frame.suffix(step.values, clicks).detach()


def shown_logits(session: Session, step: Step) -> Tensor:
    """The logits (1, K, h', w') of all classes as a person sees them, as large as the image that the network read.

    The clicked class has the log-odds of the mask, colours and edges included; the others are as the network has them.
    """
    image = step.frame.image
    logits = resized(class_logits(step), (image.shape[-2], image.shape[-1])).clone()
    target = session.target
    if step is not session.first and session.net.propagation.active and isinstance(target, int):
        others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1).logsumexp(1, keepdim=True)
        logits[:, target : target + 1] = step.result.logits + others
    return logits


def label_maps(session: Session) -> list[LabelMap]:
    """The label map before the first click and after each: the most likely class under the session's variables.

    Inside a step's window it is that of the step; outside, what held when the window was opened, as for the mask.
    """
    maps = [_label_map(session, session.first, None)]
    outside: LabelMap | None = None  # what holds outside of the last step's window
    last = session.first
    for step in session.steps:
        if step.frame.window == session.first.frame.window:
            outside = None
        elif step.frame.window != last.frame.window:
            outside = maps[-1]
        maps.append(_label_map(session, step, outside))
        last = step
    return maps


def _label_map(session: Session, step: Step, outside: LabelMap | None) -> LabelMap:
    frame = step.frame
    inside: LabelMap = frame.view.to_photo(shown_logits(session, step))[0].argmax(0).cpu().numpy()
    if outside is None:
        return inside
    whole = outside.copy()
    whole[frame.window.slices] = inside
    return whole


@dataclass(frozen=True)
class Others:
    """A frame's label map against its truth, on one object's way.

    Attributes:
        all_classes: mean IoU over the classes that the frame has.
        other_classes: the same without the class that is clicked.
        kept: share of the pixels of other classes that have their class.
    """

    all_classes: float
    other_classes: float
    kept: float


def compared(labels: NDArray[np.integer], found: LabelMap, target: int) -> Others:
    """Compare a label map (H, W) with the truth (H, W), 11 unlabelled, where class `target` is clicked."""
    counts = confusion(labels, found)
    each, there = class_ious(counts), counts.sum(1) > 0
    others = there.copy()
    others[target] = False
    right = np.diag(counts)[others].sum() / max(1, counts[others].sum())
    # A frame of one class has no others to harm.
    mean_of_others = float(each[others].mean()) if others.any() else 1.0
    return Others(float(each[there].mean()), mean_of_others, float(right) if others.any() else 1.0)


def colours(labels: NDArray[np.integer], palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A label map as a picture (H, W, 3)."""
    return np.array(palette, np.uint8)[np.minimum(labels, UNLABELLED)]
