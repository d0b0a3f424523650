"""What is shown after an answer: the network's map in its window, and over it all that a person has said otherwise."""

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
    told: Constraints,
    crop: Crop,
    values: Tensor,
    odds: Tensor,
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
        last: the one before, or that before anything was said.
        told: all that was said.
        crop: where the network looked.
        values: the variables.
        odds: (1, T, h', w') log-odds, as they are shown, of each of `targets`.
        photo: the window that is the whole photo.
        initial_mask: the mask that was begun from, as far as it stands; None where none was.
        evaluations, status, seconds: of the refinement.
    """
    layer = NetworkLayer(odds[:, :1], crop.view, crop.window, _outside(last, crop.window, photo))
    shown: Layer = layer if initial_mask is None else InitialMaskLayer(initial_mask, layer)
    shown = shown if told.region is None else RegionLayer(told.region, shown)
    shown = StrokeLayer(told.strokes, shown) if told.strokes else shown
    result = Result(
        layer.logits,
        crop.view,
        crop.window,
        layer,
        shown,
        (photo.height, photo.width),
        told,
        _class_probabilities(last, told, crop, odds, targets),
        evaluations,
        status,
        seconds,
        last.result,
    )
    return Step(told.interactions, crop, values, result, odds, tuple(targets), initial_mask)


def merged_mask(last: Step, told: Constraints, crop: Crop, odds: Tensor, photo: Window) -> NDArray[np.bool_] | None:
    """The mask (H, W) that was begun from, changed in the pieces that later interactions contradict.

    A piece is connected, and in all of it the network says otherwise: the progressive merge of Chen et al.,
    "FocalClick: Towards Practical Interactive Image Segmentation", CVPR 2022. None where no mask was begun from.
    """
    if told.mask is None:
        return None
    initial_mask = last.initial_mask
    if initial_mask is None or any(isinstance(each, Mask) for each in told.interactions[len(last.interactions) :]):
        initial_mask = told.mask.mask
    window = crop.window
    own = told.required & (told.labels == TARGET)
    places, positive = told.points[own], told.positive[own]
    wrong = initial_mask[places[:, 1], places[:, 0]] != positive
    places = places[wrong & window.contains(places)] - np.array([window.left, window.top])
    if not len(places):
        return initial_mask
    layer = NetworkLayer(odds[:, :1], crop.view, window, _outside(last, window, photo))
    pieces, _ = ndimage.label(layer.read(window).gt(0).cpu().numpy() != initial_mask[window.slices])
    hit = np.unique(pieces[places[:, 1], places[:, 0]])
    changed = initial_mask.copy()
    changed[window.slices] ^= np.isin(pieces, hit[hit > 0])
    changed.setflags(write=False)
    return changed


def _outside(last: Step, window: Window, photo: Window) -> Layer | None:
    """What holds outside a step's window: what held when the window was opened."""
    if window == photo:
        return None
    layer = last.result.layer
    return layer.outside if isinstance(layer, NetworkLayer) and window == layer.window else layer


def _class_probabilities(
    last: Step, told: Constraints, crop: Crop, odds: Tensor, targets: Sequence[int | None]
) -> NDArray[np.float64]:
    """(n,) how likely what is said of other classes is, by what is shown; NaN of what is said of the object's own.

    Outside the window it is what it was; what was never seen is 0.
    """
    met = np.where(told.labels == TARGET, np.nan, 0.0)
    if np.isnan(met).all():
        return met
    before = last.result
    known = dict(zip(_keys(before.constraints), before.class_probabilities.tolist(), strict=True))
    for i, key in enumerate(_keys(told)):
        if told.labels[i] != TARGET:
            met[i] = known.get(key, 0.0)
    inside, points = points_in(crop, told)
    maps = map_indices(told, inside, targets)
    logits = sample(odds, points)[0].double().cpu().numpy()
    chances = expit(logits[np.maximum(maps, 0), np.arange(len(maps))])
    chances = np.where(told.positive[inside], chances, 1 - chances)
    other = (told.labels[inside] != TARGET) & (maps >= 0)
    met[inside[other]] = chances[other]
    return met


def _keys(told: Constraints) -> list[tuple[int, ...]]:
    """Each label of a place, as what it can be found again by."""
    return [
        (x, y, positive, label)
        for (x, y), positive, label in zip(
            told.points.tolist(), told.positive.tolist(), told.labels.tolist(), strict=True
        )
    ]
