"""The most likely class of every pixel, for networks of several classes, as clicks on some of them left it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError
from interactify.layers import SAID
from interactify.outputs import resized
from interactify.request import clicks_in
from interactify.result import Result
from interactify.scene import Scene
from interactify.timeline import Step, Track
from interactify.window import whole

ClassMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


def class_map(scene: Scene, track: Track) -> ClassMap:
    """What holds now; see `Session.class_map`."""
    if scene.classes < 2:
        raise OptionError("The network knows one class only: result.mask says where it is.")
    return class_maps(scene, track)[-1]


def class_maps(scene: Scene, track: Track) -> list[ClassMap]:
    """The class map before the first step and after each.

    Inside a step's window it is that of the step; outside, what held when the window was opened, as for the mask. Where
    a mask, a box or a stroke says more than the network, it holds here too: what is the object has its class, and what
    was taken out of it has the next most likely one.
    """
    begun = scene.begun(track.target)
    own = track.steps[-1].targets[0] if track.steps else begun.targets[0]
    maps = [_first(scene, own)]
    outside: _Both | None = None  # what holds outside of the last step's window
    found = [maps[0][0]]
    last = begun
    for step in track.steps:
        if step.frame.window == scene.photo:
            outside = None
        elif last is begun or step.frame.window != last.frame.window:
            outside = maps[-1]
        maps.append(_both(scene, step, own, outside))
        found.append(maps[-1][0] if own is None else _as_shown(scene, step.result, own, *maps[-1]))
        last = step
    return found


@torch.no_grad()
def shown_logits(scene: Scene, step: Step) -> Tensor:
    """The logits (1, K, h', w') of all classes as a person sees them, as large as the image that the network read.

    The classes that were spoken of have the log-odds that are shown for them, colours and edges included; the others
    are as the network has them.
    """
    frame = step.frame
    size = (frame.image.shape[-2], frame.image.shape[-1])
    logits = resized(frame.suffix(step.values, clicks_in(frame, step.result.said)).detach(), size)
    found = logits.clone()
    if step.interactions and frame.propagation.active:
        for t, target in enumerate(step.targets):
            if target is not None:
                found[:, target : target + 1] = step.odds[:, t : t + 1]
                if scene.net.spec.output.activation != "sigmoid":  # exclusive: against all others together
                    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1)
                    found[:, target : target + 1] += others.logsumexp(1, keepdim=True)
    return found


_Both = tuple[ClassMap, ClassMap]
"""The most likely class of each pixel, and the most likely but for the object's own."""


def _first(scene: Scene, own: int | None) -> _Both:
    """Those of the network alone."""
    both = np.empty(scene.size, np.int64), np.empty(scene.size, np.int64)
    for core, frame, plain in scene.first_seen():
        size = (frame.image.shape[-2], frame.image.shape[-1])
        logits = frame.view.to_photo(resized(plain, size), core.seen_from(frame.window).slices)[0]
        for every, part in zip(both, _most_likely(logits, own), strict=True):
            every[core.slices] = part
    return both


def _both(scene: Scene, step: Step, own: int | None, outside: _Both | None) -> _Both:
    inside = _most_likely(step.frame.view.to_photo(shown_logits(scene, step))[0], own)
    if outside is None:
        return inside
    both = outside[0].copy(), outside[1].copy()
    for every, part in zip(both, inside, strict=True):
        every[step.frame.window.slices] = part
    return both


def _most_likely(logits: Tensor, own: int | None) -> _Both:
    best = logits.argmax(0)
    if own is not None:
        logits[own] = -torch.inf
    return best.cpu().numpy(), logits.argmax(0).cpu().numpy()


def _as_shown(scene: Scene, result: Result, own: int, best: ClassMap, others: ClassMap) -> ClassMap:
    """The most likely classes, and the object where it is shown."""
    if result.shown is not result.layer:
        photo = whole(result.size)
        odds, network = result.shown.read(photo), result.layer.read(photo) > 0
        taken = (odds <= 0) & (network | (odds <= -SAID))
        best = np.where(taken.cpu().numpy(), others, best)
        best = np.where(((odds > 0) & ~network).cpu().numpy(), own, best)
    # Classes that exclude each other: more likely than not is more likely than any other.
    return best if scene.net.spec.output.activation == "sigmoid" else np.where(result.mask, own, best)
