"""The step that follows a refinement: the network's map in its crop, and over it what interactions set directly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit
from torch import Tensor

from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.gestures import Mask
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Window
from interactify.refinement.history import Step
from interactify.refinement.layers import InitialMaskLayer, Layer, NetworkLayer, RegionLayer, StrokeLayer
from interactify.refinement.problem import Crop, map_indices, points_in
from interactify.refinement.result import Result


def next_step(
    last: Step,
    constraints: Constraints,
    crop: Crop,
    values: Tensor,
    log_odds: Tensor,
    targets: Sequence[int | None],
    photo: Window,
    initial_mask: NDArray[np.bool_] | None = None,
    *,
    evaluations: int,
    status: str,
    seconds: float,
) -> Step:
    """The step that follows `last`.

    Args:
        last: the step before; before the first interaction, the refiner's initial step.
        constraints: what all interactions together ask of pixels.
        crop: what the network saw.
        values: the variables.
        log_odds: (1, T, h', w') displayed log-odds of each of `targets`.
        targets: classes, the object's own first.
        photo: the window that is the whole photo.
        initial_mask: (H, W) the mask that the object began with, with later changes merged in; None without one.
        evaluations, status, seconds: of the refinement.
    """
    layer = NetworkLayer(log_odds[:, :1], crop.view, crop.window, _outside(last, crop.window, photo))
    displayed: Layer = layer if initial_mask is None else InitialMaskLayer(initial_mask, layer)
    displayed = displayed if constraints.region is None else RegionLayer(constraints.region, displayed)
    displayed = StrokeLayer(constraints.strokes, displayed) if constraints.strokes else displayed
    result = Result(
        logits=layer.logits,
        view=crop.view,
        window=crop.window,
        layer=layer,
        displayed=displayed,
        size=(photo.height, photo.width),
        constraints=constraints,
        class_probabilities=_class_probabilities(last, constraints, crop, log_odds, targets),
        evaluations=evaluations,
        status=status,
        seconds=seconds,
        before=last.result,
    )
    return Step(constraints.interactions, crop, values, result, log_odds, tuple(targets), initial_mask)


def merged_mask(
    last: Step, constraints: Constraints, crop: Crop, log_odds: Tensor, photo: Window
) -> NDArray[np.bool_] | None:
    """The initial mask (H, W), changed in the pieces that later interactions contradict; None without one.

    A piece is a connected set of pixels where the network disagrees with the mask. This is the progressive merge of
    Chen et al., "FocalClick: Towards Practical Interactive Image Segmentation", CVPR 2022.
    """
    if constraints.mask is None:
        return None
    mask = last.initial_mask
    if mask is None or any(isinstance(each, Mask) for each in constraints.interactions[len(last.interactions) :]):
        mask = constraints.mask.mask
    window = crop.window
    own = constraints.required & (constraints.labels == TARGET)
    points, positive = constraints.points[own], constraints.positive[own]
    wrong = mask[points[:, 1], points[:, 0]] != positive
    points = points[wrong & window.contains(points)] - np.array([window.left, window.top])
    if not len(points):
        return mask
    layer = NetworkLayer(log_odds[:, :1], crop.view, window, _outside(last, window, photo))
    pieces, _ = ndimage.label(layer.read(window).gt(0).cpu().numpy() != mask[window.slices])
    hit = np.unique(pieces[points[:, 1], points[:, 0]])
    changed = mask.copy()
    changed[window.slices] ^= np.isin(pieces, hit[hit > 0])
    changed.setflags(write=False)
    return changed


def _outside(last: Step, window: Window, photo: Window) -> Layer | None:
    """The layer outside of a window: the network's layer as it was when the window was opened."""
    if window == photo:
        return None
    layer = last.result.layer
    return layer.outside if isinstance(layer, NetworkLayer) and window == layer.window else layer


def _class_probabilities(
    last: Step, constraints: Constraints, crop: Crop, log_odds: Tensor, targets: Sequence[int | None]
) -> NDArray[np.float64]:
    """(n,) the displayed probability of each label about another class than the object's; NaN for the others.

    Outside the window it stays as it was, and is 0 where the network has never seen the point.
    """
    probabilities = np.where(constraints.labels == TARGET, np.nan, 0.0)
    if np.isnan(probabilities).all():
        return probabilities
    before = last.result
    known = dict(zip(_labels(before.constraints), before.class_probabilities.tolist(), strict=True))
    for i, label in enumerate(_labels(constraints)):
        if constraints.labels[i] != TARGET:
            probabilities[i] = known.get(label, 0.0)
    inside, points = points_in(crop, constraints)
    maps = map_indices(constraints, inside, targets)
    logits = sample(log_odds, points)[0].double().cpu().numpy()
    new = expit(logits[np.maximum(maps, 0), np.arange(len(maps))])
    new = np.where(constraints.positive[inside], new, 1 - new)
    other = (constraints.labels[inside] != TARGET) & (maps >= 0)
    probabilities[inside[other]] = new[other]
    return probabilities


def _labels(constraints: Constraints) -> list[tuple[int, ...]]:
    """Each label with its point, as a key: (x, y, positive, label)."""
    columns = constraints.points, constraints.positive, constraints.labels
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(x, y, positive, label) for (x, y), positive, label in rows]
