"""The most likely class of every pixel, for networks of several classes, as clicks on some of them left it."""

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

_NUMBERS: Final = 2**22  # of all classes together that are made at a time

ClassMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


def class_map(refiner: Refiner, track: Track) -> ClassMap:
    """What holds now; see `Session.class_map`."""
    if refiner.classes < 2:
        raise OptionError("The network knows one class only: result.mask says where it is.")
    return ClassMaps(refiner, track).after(len(track.steps))


class ClassMaps:
    """The class maps of an object's steps, each made when it is asked for.

    Inside a step's window it is that of the step; outside, what held when the window was opened, as for the mask. Where
    a mask, a box or a stroke says more than the network, it holds here too: what is the object has its class, and what
    was taken out of it has the next most likely one.
    """

    def __init__(self, refiner: Refiner, track: Track) -> None:
        self.refiner, self.steps = refiner, track.steps
        self.own = self.steps[-1].targets[0] if self.steps else refiner.initial_step(track.target).targets[0]
        self._known: dict[int, _Both] = {}

    def after(self, count: int) -> ClassMap:
        """The class map after so many steps; 0 for that of the network alone."""
        best, others = self._both(count)
        if self.own is None or not count:
            return best
        return _as_shown(self.refiner, self.steps[count - 1].result, self.own, best, others)

    def _both(self, count: int) -> _Both:
        if count not in self._known:
            self._known[count] = self._made(count)
        return self._known[count]

    def _made(self, count: int) -> _Both:
        if not count:
            return _first(self.refiner, self.own)
        step = self.steps[count - 1]
        window = step.crop.window
        inside = _most_likely(step.crop.view, shown_logits(self.refiner, step), self.own)
        if window == self.refiner.photo_window:
            return inside
        opened = count - 1
        while opened and self.steps[opened - 1].crop.window == window:
            opened -= 1
        both = tuple(every.copy() for every in self._both(opened))
        for every, part in zip(both, inside, strict=True):
            every[window.slices] = part
        return both[0], both[1]


@torch.no_grad()
def shown_logits(refiner: Refiner, step: Step) -> Tensor:
    """The logits (1, K, h', w') of all classes as a person sees them, as large as the image that the network read.

    The classes that were spoken of have the log-odds that are shown for them, colours and edges included; the others
    are as the network has them.
    """
    crop = step.crop
    size = (crop.image.shape[-2], crop.image.shape[-1])
    logits = resized(crop.suffix(step.values, clicks_in(crop, step.result.constraints)).detach(), size)
    found = logits.clone()
    if step.interactions and crop.propagation.active:
        for t, target in enumerate(step.targets):
            if target is not None:
                found[:, target : target + 1] = step.odds[:, t : t + 1]
                if refiner.net.spec.output.activation != "sigmoid":  # exclusive: against all others together
                    own = logits[:, target : target + 1]
                    found[:, target : target + 1] += own - against_rest(logits, target)
    return found


_Both = tuple[ClassMap, ClassMap]
"""The most likely class of each pixel, and the most likely but for the object's own."""


def _first(refiner: Refiner, own: int | None) -> _Both:
    """Those of the network alone."""
    both = np.empty(refiner.size, np.int64), np.empty(refiner.size, np.int64)
    for core, crop, plain in refiner.initial_parts():
        logits = resized(plain, (crop.image.shape[-2], crop.image.shape[-1]))
        part = _most_likely(crop.view, logits, own, core.relative_to(crop.window))
        for every, its in zip(both, part, strict=True):
            every[core.slices] = its
    return both


def _most_likely(view: View, logits: Tensor, own: int | None, part: Window | None = None) -> _Both:
    """Those of logits (1, K, h', w') in a part of a view's photo; some rows at a time, since all would be too much."""
    part = part or whole(view.photo_size)
    rows, columns = part.slices
    both = np.empty((part.height, part.width), np.int64), np.empty((part.height, part.width), np.int64)
    step = max(1, _NUMBERS // (logits.shape[1] * part.width))
    for top in range(0, part.height, step):
        strip = slice(rows.start + top, min(rows.start + top + step, rows.stop))
        seen = view.to_photo(logits, (strip, columns))[0]
        for every in both:
            every[top : top + step] = seen.argmax(0).cpu().numpy()
            if own is not None:
                seen[own] = -torch.inf
    return both


def _as_shown(refiner: Refiner, result: Result, own: int, best: ClassMap, others: ClassMap) -> ClassMap:
    """The most likely classes, and the object where it is shown."""
    if result.shown is not result.layer:
        photo = whole(result.size)
        odds, network = result.shown.read(photo), result.layer.read(photo) > 0
        taken = (odds <= 0) & (network | (odds <= -CERTAIN))
        best = np.where(taken.cpu().numpy(), others, best)
        best = np.where(((odds > 0) & ~network).cpu().numpy(), own, best)
    # Classes that exclude each other: more likely than not is more likely than any other.
    return best if refiner.net.spec.output.activation == "sigmoid" else np.where(result.mask, own, best)
