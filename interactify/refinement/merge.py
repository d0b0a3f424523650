"""How later clicks change an initial mask or label map: the pieces that they contradict, and nothing else.

A piece is a connected set of pixels where the network disagrees. This is the progressive merge of Chen et al.,
"FocalClick: Towards Practical Interactive Image Segmentation", CVPR 2022, here for several classes too.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.click import Click
from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.gestures import UNKNOWN, Labels, Mask, Scribble
from interactify.pictures.window import Window
from interactify.refinement.alternatives import pieces
from interactify.refinement.choices import USUAL
from interactify.refinement.classes import displayed_logits, most_likely
from interactify.refinement.history import InitialMap, Step
from interactify.refinement.next_step import network_layer
from interactify.refinement.problem import Crop
from interactify.refinement.wrapped import Wrapped


def initial_map(last: Step, constraints: Constraints) -> InitialMap | None:
    """The initial mask or label map before the newest clicks are merged in; None without one.

    A mask that was chosen among a result's alternatives is one from then on: what it shows stays, however the network
    answers the clicks together.
    """
    given = constraints.mask
    new = constraints.interactions[len(last.interactions) :]
    known = last.initial_map
    if given is not None and (known is None or any(isinstance(each, (Mask, Labels)) for each in new)):
        return given.mask if isinstance(given, Mask) else given.labels
    return last.result.initial_mask if known is None and last.choice != USUAL else known


def merged_mask(
    last: Step, constraints: Constraints, crop: Crop, log_odds: Tensor, photo: Window, exclusive: bool = False
) -> NDArray[np.bool_] | None:
    """The initial mask (H, W), changed in the pieces that later interactions contradict; None without one.

    With `exclusive` classes, a point of another class contradicts a mask that was chosen among alternatives.
    """
    known = initial_map(last, constraints)
    if known is None or known.dtype != bool:
        return None
    mask, window = cast(NDArray[np.bool_], known), crop.window
    own = constraints.required & (constraints.labels == TARGET)
    if constraints.mask is None and exclusive:
        own |= constraints.required & constraints.positive
    points, positive = constraints.points[own], (constraints.positive & (constraints.labels == TARGET))[own]
    wrong = mask[points[:, 1], points[:, 0]] != positive
    points = points[wrong & window.contains(points)] - np.array([window.left, window.top])
    if not len(points):
        return mask
    layer = network_layer(last, constraints, crop, log_odds, photo)
    changed = mask.copy()
    changed[window.slices] ^= pieces(layer.read(window).gt(0).cpu().numpy() != mask[window.slices], points)
    changed.setflags(write=False)
    return changed


def merged_labels(net: Wrapped, labels: InitialMap, step: Step, last: Step) -> InitialMap:
    """A label map (H, W), changed in the pieces that the clicks and scribbles of a step, after `last`, contradict.

    For a positive click the piece is where the network now predicts the click's class and the map has another one; for
    a negative click it is where the map has that class and the network another one. Pixels of no known class stay so.
    """
    constraints, window = step.result.constraints, step.crop.window
    classes = np.where(constraints.labels == TARGET, _own(step), constraints.labels)
    current = labels[constraints.points[:, 1], constraints.points[:, 0]]
    wrong = constraints.required & (current != UNKNOWN) & ((current == classes) != constraints.positive)
    wrong &= (classes != UNKNOWN) & window.contains(constraints.points)
    wrong &= [isinstance(constraints.interactions[owner], (Click, Scribble)) for owner in constraints.owners.tolist()]
    if not wrong.any():
        return labels
    points = constraints.points - np.array([window.left, window.top])
    logits = displayed_logits(net, step, last)
    before, changed = labels[window.slices], labels.copy()
    part = changed[window.slices]
    for label in np.unique(classes[wrong]).tolist():
        positive, negative = (wrong & (classes == label) & (constraints.positive == yes) for yes in (True, False))
        best, other = most_likely(step.crop.view, logits, label)
        if negative.any():
            # At the click the class may still be the most likely one, with a probability below one half.
            best_but_clicked = best.copy()
            best_but_clicked[points[negative, 1], points[negative, 0]] = UNKNOWN
            leaves = pieces((before == label) & (best_but_clicked != label), points[negative])
            part[leaves] = other[leaves]
        if positive.any():
            enters = (before != UNKNOWN) & (before != label) & (best == label)
            part[pieces(enters, points[positive])] = label
    changed.setflags(write=False)
    return changed


def _own(step: Step) -> int:
    own = step.targets[0]
    return UNKNOWN if own is None else own
