"""The step that follows a refinement: the network's map in its crop, and over it what interactions set directly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.gestures import UNKNOWN
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Window
from interactify.propagation.propagation import own_share
from interactify.refinement.history import InitialMap, Step
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
    initial_map: InitialMap | None = None,
    *,
    class_probabilities: NDArray[np.float64] | None = None,
    layer: NetworkLayer | None = None,
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
        initial_map: the mask or label map that the object began with, with later changes merged in; None without one.
        class_probabilities: those of the `Result`, where they are known; else they are read from the log-odds.
        layer: the network's map over the photo, where it stays as it was when the network last ran.
        evaluations, status, seconds: of the refinement.
    """
    layer = layer or network_layer(last, constraints, crop, log_odds, photo)
    if class_probabilities is None:
        class_probabilities = _class_probabilities(last, constraints, crop, log_odds, targets)
    displayed: Layer = layer if initial_map is None else _with_initial_map(initial_map, targets[0], layer)
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
        class_probabilities=class_probabilities,
        evaluations=evaluations,
        status=status,
        seconds=seconds,
        previous=last.later_result,
    )
    return Step(constraints.interactions, crop, values, result, log_odds, tuple(targets), initial_map)


def _with_initial_map(initial_map: InitialMap, own: int | None, layer: Layer) -> Layer:
    """The object over the network's map: an initial mask, or a label map's pixels of the object's class."""
    if initial_map.dtype == bool:
        return InitialMaskLayer(initial_map.astype(bool, copy=False), layer)
    # As for the network's own prediction: while no class is decided, everything but class 0 is the object.
    return InitialMaskLayer(initial_map > 0 if own is None else initial_map == own, layer, initial_map != UNKNOWN)


def network_layer(last: Step, constraints: Constraints, crop: Crop, log_odds: Tensor, photo: Window) -> NetworkLayer:
    """The network's map in a crop, over the layer from when its window was opened. At points it is the map alone."""
    if crop.window == photo:
        return NetworkLayer(log_odds[:, :1], crop.view, crop.window)
    share = crop.inner_share
    if share is not None:
        inside, points = points_in(crop, constraints)
        required = torch.from_numpy(constraints.required[inside])
        share = torch.maximum(share, own_share(points[required], share)).to(log_odds)
    return NetworkLayer(log_odds[:, :1], crop.view, crop.window, last.layer_around(crop.window), share)


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
