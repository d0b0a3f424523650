"""What is shown after an answer: the network's map in its window, and over it all that a person has said otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit
from torch import Tensor

from interactify.interactions.constraints import OWN, Said
from interactify.interactions.gestures import Mask
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Window
from interactify.refinement.history import Step
from interactify.refinement.layers import Cleared, Given, Layer, Painted, Seen
from interactify.refinement.problem import Frame, maps_of, seen_in
from interactify.refinement.result import Result


def composed(
    last: Step,
    told: Said,
    frame: Frame,
    values: Tensor,
    odds: Tensor,
    targets: Sequence[int | None],
    photo: Window,
    given: NDArray[np.bool_] | None = None,
    *,
    evaluations: int,
    status: str,
    seconds: float,
) -> Step:
    """The step that follows `last`.

    Args:
        last: the one before, or that before anything was said.
        told: all that was said.
        frame: where the network looked.
        values: the variables.
        odds: (1, T, h', w') log-odds, as they are shown, of each of `targets`.
        photo: the window that is the whole photo.
        given: the mask that was begun from, as far as it stands; None where none was.
        evaluations, status, seconds: of the refinement.
    """
    layer = Seen(odds[:, :1], frame.view, frame.window, _outside(last, frame.window, photo))
    shown: Layer = layer if given is None else Given(given, layer)
    shown = shown if told.region is None else Cleared(told.region, shown)
    shown = Painted(told.strokes, shown) if told.strokes else shown
    result = Result(
        layer.logits,
        frame.view,
        frame.window,
        layer,
        shown,
        (photo.height, photo.width),
        told,
        _met(last, told, frame, odds, targets),
        evaluations,
        status,
        seconds,
        last.result,
    )
    return Step(told.interactions, frame, values, result, odds, tuple(targets), given)


def standing(last: Step, told: Said, frame: Frame, odds: Tensor, photo: Window) -> NDArray[np.bool_] | None:
    """The mask (H, W) that was begun from, changed in the pieces that later interactions contradict.

    A piece is connected, and in all of it the network says otherwise: the progressive merge of Chen et al.,
    "FocalClick: Towards Practical Interactive Image Segmentation", CVPR 2022. None where no mask was begun from.
    """
    if told.mask is None:
        return None
    given = last.given
    if given is None or any(isinstance(each, Mask) for each in told.interactions[len(last.interactions) :]):
        given = told.mask.mask
    window = frame.window
    own = told.required & (told.labels == OWN)
    places, positive = told.places[own], told.positive[own]
    wrong = given[places[:, 1], places[:, 0]] != positive
    places = places[wrong & window.holds_places(places)] - np.array([window.left, window.top])
    if not len(places):
        return given
    layer = Seen(odds[:, :1], frame.view, window, _outside(last, window, photo))
    pieces, _ = ndimage.label(layer.read(window).gt(0).cpu().numpy() != given[window.slices])
    hit = np.unique(pieces[places[:, 1], places[:, 0]])
    changed = given.copy()
    changed[window.slices] ^= np.isin(pieces, hit[hit > 0])
    changed.setflags(write=False)
    return changed


def _outside(last: Step, window: Window, photo: Window) -> Layer | None:
    """What holds outside a step's window: what held when the window was opened."""
    if window == photo:
        return None
    layer = last.result.layer
    return layer.outside if isinstance(layer, Seen) and window == layer.window else layer


def _met(last: Step, told: Said, frame: Frame, odds: Tensor, targets: Sequence[int | None]) -> NDArray[np.float64]:
    """(n,) how likely what is said of other classes is, by what is shown; NaN of what is said of the object's own.

    Outside the window it is what it was; what was never seen is 0.
    """
    met = np.where(told.labels == OWN, np.nan, 0.0)
    if np.isnan(met).all():
        return met
    before = last.result
    known = dict(zip(_keys(before.said), before.met.tolist(), strict=True))
    for i, key in enumerate(_keys(told)):
        if told.labels[i] != OWN:
            met[i] = known.get(key, 0.0)
    inside, points = seen_in(frame, told)
    maps = maps_of(told, inside, targets)
    logits = sample(odds, points)[0].double().cpu().numpy()
    chances = expit(logits[np.maximum(maps, 0), np.arange(len(maps))])
    chances = np.where(told.positive[inside], chances, 1 - chances)
    other = (told.labels[inside] != OWN) & (maps >= 0)
    met[inside[other]] = chances[other]
    return met


def _keys(told: Said) -> list[tuple[int, ...]]:
    """Each label of a place, as what it can be found again by."""
    return [
        (x, y, positive, label)
        for (x, y), positive, label in zip(
            told.places.tolist(), told.positive.tolist(), told.labels.tolist(), strict=True
        )
    ]
