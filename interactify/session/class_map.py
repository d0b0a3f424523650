"""The most likely class of every pixel, for networks of several classes, after clicks on some of the classes."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError
from interactify.inspection.outputs import resized
from interactify.network.one_vs_rest import against_rest
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, whole
from interactify.refinement.history import Step, Track
from interactify.refinement.layers import CERTAIN
from interactify.refinement.problem import clicks_in
from interactify.refinement.refiner import Refiner
from interactify.refinement.result import Result

STRIP: Final = 2**22  # logits of all classes together that are resized to the photo at a time

ClassMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


def class_map(refiner: Refiner, track: Track) -> ClassMap:
    """The current class map of an object; see `Session.class_map`."""
    if refiner.classes < 2:
        raise OptionError(
            "Expected a network of several classes for a class map, got one class only. Try result.mask, which is "
            "where it is."
        )
    return ClassMaps(refiner, track).after(len(track.steps))


class ClassMaps:
    """The class maps of an object's steps, each computed when it is asked for.

    Inside a step's window the map is that of the step; outside, it is the map from when the window was opened, as for
    the mask. Masks, boxes and strokes count here too: what they add to the object has its class, and what they take
    from it has the next most likely class.
    """

    def __init__(self, refiner: Refiner, track: Track) -> None:
        self.refiner, self.steps = refiner, track.steps
        self.own = self.steps[-1].targets[0] if self.steps else refiner.initial_step(track.target).targets[0]
        self._cache: dict[int, _BestTwo] = {}

    def after(self, count: int) -> ClassMap:
        """The class map after the first `count` steps; 0 for that of the network alone."""
        best, other = self._best_two(count)
        if self.own is None or not count:
            return best
        return _as_displayed(self.refiner, self.steps[count - 1].result, self.own, best, other)

    def _best_two(self, count: int) -> _BestTwo:
        if count not in self._cache:
            self._cache[count] = self._computed(count)
        return self._cache[count]

    def _computed(self, count: int) -> _BestTwo:
        if not count:
            return _initial(self.refiner, self.own)
        step = self.steps[count - 1]
        window = step.crop.window
        inside = _most_likely(step.crop.view, displayed_logits(self.refiner, step), self.own)
        if window == self.refiner.photo_window:
            return inside
        opened = count - 1
        while opened and self.steps[opened - 1].crop.window == window:
            opened -= 1
        best, other = (classes.copy() for classes in self._best_two(opened))
        best[window.slices], other[window.slices] = inside
        return best, other


@torch.no_grad()
def displayed_logits(refiner: Refiner, step: Step) -> Tensor:
    """The logits (1, K, h', w') of all classes as they are displayed, in the size of the crop's image.

    The step's targets have their displayed log-odds, with colours and edges; the other classes are the network's own.
    """
    crop = step.crop
    size = (crop.image.shape[-2], crop.image.shape[-1])
    logits = resized(crop.suffix(step.values, clicks_in(crop, step.result.constraints)).detach(), size)
    displayed = logits.clone()
    if step.interactions and crop.propagation.active:
        for t, target in enumerate(step.targets):
            if target is not None:
                displayed[:, target : target + 1] = step.log_odds[:, t : t + 1]
                if refiner.net.spec.output.activation != "sigmoid":  # exclusive: log-odds against all others together
                    own = logits[:, target : target + 1]
                    displayed[:, target : target + 1] += own - against_rest(logits, target)
    return displayed


_BestTwo = tuple[ClassMap, ClassMap]
"""The most likely class of each pixel, and the most likely one beside the object's own."""


def _initial(refiner: Refiner, own: int | None) -> _BestTwo:
    """The classes that the network predicts by itself."""
    both = np.empty(refiner.size, np.int64), np.empty(refiner.size, np.int64)
    for window, crop, logits in refiner.initial_parts():
        logits = resized(logits, (crop.image.shape[-2], crop.image.shape[-1]))
        part = _most_likely(crop.view, logits, own, window.relative_to(crop.window))
        for classes, part_classes in zip(both, part, strict=True):
            classes[window.slices] = part_classes
    return both


def _most_likely(view: View, logits: Tensor, own: int | None, part: Window | None = None) -> _BestTwo:
    """The classes by logits (1, K, h', w') in a part of a view's photo, a few rows at a time to save memory."""
    part = part or whole(view.photo_size)
    rows, columns = part.slices
    both = np.empty((part.height, part.width), np.int64), np.empty((part.height, part.width), np.int64)
    step = max(1, STRIP // (logits.shape[1] * part.width))
    for top in range(0, part.height, step):
        strip = slice(rows.start + top, min(rows.start + top + step, rows.stop))
        values = view.to_photo(logits, (strip, columns))[0]
        for classes in both:
            classes[top : top + step] = values.argmax(0).cpu().numpy()
            if own is not None:
                values[own] = -torch.inf
    return both


def _as_displayed(refiner: Refiner, result: Result, own: int, best: ClassMap, other: ClassMap) -> ClassMap:
    """The most likely classes, with the object where it is displayed."""
    if result.displayed is not result.layer:
        photo = whole(result.size)
        displayed, network = result.displayed.read(photo), result.layer.read(photo) > 0
        removed = (displayed <= 0) & (network | (displayed <= -CERTAIN))
        best = np.where(removed.cpu().numpy(), other, best)
        best = np.where(((displayed > 0) & ~network).cpu().numpy(), own, best)
    # Of classes that exclude each other, one that is more likely than not is more likely than any other.
    return best if refiner.net.spec.output.activation == "sigmoid" else np.where(result.mask, own, best)
