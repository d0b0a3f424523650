"""The most likely class of every pixel, for networks of several classes, after clicks on some of the classes."""

from __future__ import annotations

import numpy as np

from interactify.errors import OptionError
from interactify.inspection.outputs import resized
from interactify.interactions.gestures import UNKNOWN
from interactify.pictures.window import whole
from interactify.refinement.classes import BestTwo, ClassMap, displayed_logits, most_likely
from interactify.refinement.history import Track
from interactify.refinement.layers import CERTAIN
from interactify.refinement.refiner import Refiner
from interactify.refinement.result import Result


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
    the mask. An initial label map counts for more than either. So do masks, boxes and strokes: what they add to the
    object has its class, and what they take from it has the next most likely class.
    """

    def __init__(self, refiner: Refiner, track: Track) -> None:
        self.refiner, self.steps = refiner, track.steps
        self.initial = refiner.initial_step(track.target)
        self.own = self.steps[-1].targets[0] if self.steps else self.initial.targets[0]
        self._cache: dict[int, BestTwo] = {}

    def after(self, count: int) -> ClassMap:
        """The class map after the first `count` steps; 0 for that of the network alone."""
        best, other = self._best_two(count)
        if not count:
            return best
        labels = self.steps[count - 1].initial_map
        if labels is not None and labels.dtype != bool:
            best = np.where(labels == UNKNOWN, best, labels)
            other = np.where((labels == UNKNOWN) | (labels == self.own), other, labels)
        if self.own is None:
            return best
        return _as_displayed(self.refiner, self.steps[count - 1].result, self.own, best, other)

    def _best_two(self, count: int) -> BestTwo:
        if count not in self._cache:
            self._cache[count] = self._computed(count)
        return self._cache[count]

    def _computed(self, count: int) -> BestTwo:
        if not count:
            return _initial(self.refiner, self.own)
        step = self.steps[count - 1]
        last = self.steps[count - 2] if count > 1 else self.initial
        window = step.window
        inside = most_likely(step.crop.view, displayed_logits(self.refiner.net, step, last), self.own)
        if window == self.refiner.photo_window:
            return inside
        opened = count - 1
        while opened and self.steps[opened - 1].window == window:
            opened -= 1
        best, other = (classes.copy() for classes in self._best_two(opened))
        best[window.slices], other[window.slices] = inside
        return best, other


def _initial(refiner: Refiner, own: int | None) -> BestTwo:
    """The classes that the network predicts by itself."""
    both = np.empty(refiner.size, np.int64), np.empty(refiner.size, np.int64)
    for window, crop, logits in refiner.initial_parts():
        logits = resized(logits, (crop.image.shape[-2], crop.image.shape[-1]))
        part = most_likely(crop.view, logits, own, window.relative_to(crop.window))
        for classes, part_classes in zip(both, part, strict=True):
            classes[window.slices] = part_classes
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
    return np.where(result.mask, own, best) if refiner.net.spec.output.exclusive else best
