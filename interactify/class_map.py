"""The most likely class of every pixel, for networks of several classes, as clicks on some of them left it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError
from interactify.outputs import resized
from interactify.request import clicks_in
from interactify.scene import Scene
from interactify.timeline import Step, Track

ClassMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""


def class_map(scene: Scene, track: Track) -> ClassMap:
    """What holds now; see `Session.class_map`."""
    if scene.classes < 2:
        raise OptionError("The network knows one class only: result.mask says where it is.")
    return class_maps(scene, track)[-1]


def class_maps(scene: Scene, track: Track) -> list[ClassMap]:
    """The class map before the first step and after each.

    Inside a step's window it is that of the step; outside, what held when the window was opened, as for the mask.
    """
    begun = scene.begun(track.target)
    maps = [_class_map(scene, begun, None)]
    outside: ClassMap | None = None  # what holds outside of the last step's window
    last = begun
    for step in track.steps:
        if step.frame.window == scene.photo:
            outside = None
        elif step.frame.window != last.frame.window:
            outside = maps[-1]
        maps.append(_class_map(scene, step, outside))
        last = step
    return maps


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
                others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1).logsumexp(1, keepdim=True)
                found[:, target : target + 1] = step.odds[:, t : t + 1] + others
    return found


def _class_map(scene: Scene, step: Step, outside: ClassMap | None) -> ClassMap:
    frame = step.frame
    inside: ClassMap = frame.view.to_photo(shown_logits(scene, step))[0].argmax(0).cpu().numpy()
    if outside is None:
        return inside
    whole = outside.copy()
    whole[frame.window.slices] = inside
    return whole
