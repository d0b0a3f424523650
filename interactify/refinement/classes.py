"""The most likely class of pixels in a crop, for networks of several classes."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.inspection.outputs import resized
from interactify.network.one_vs_rest import against_rest
from interactify.network.variables import class_logits
from interactify.pictures.resize_pad import View, sample
from interactify.pictures.window import Pixels, Window, whole
from interactify.refinement.choices import USUAL
from interactify.refinement.click_input import click_input
from interactify.refinement.history import Step
from interactify.refinement.problem import Crop, clicks_in
from interactify.refinement.wrapped import Wrapped

STRIP: Final = 2**22  # logits of all classes together that are resized to the photo at a time

ClassMap = NDArray[np.int64]
"""(H, W): the most likely class of each pixel of the photo."""

BestTwo = tuple[ClassMap, ClassMap]
"""The most likely class of each pixel, and the most likely one beside a class of its own."""


@torch.no_grad()
def displayed_logits(net: Wrapped, step: Step, last: Step) -> Tensor:
    """The logits (1, K, h', w') of all classes as they are displayed after `last`, in the size of the crop's image.

    The step's targets have their displayed log-odds, with colours and edges; the other classes are the network's own.
    """
    crop, constraints = step.crop, step.result.constraints
    size = (crop.image.shape[-2], crop.image.shape[-1])
    maps = click_input(net.network, crop, constraints, last)
    if maps is None:
        logits = crop.suffix(step.values, clicks_in(crop, constraints))
    else:
        clicks = clicks_in(crop, constraints)
        logits = class_logits(net.network, net.variables, crop.image, step.values, clicks, maps)
    logits = resized(logits.detach(), size)
    displayed = logits.clone()
    # Where the network did not run, the log-odds are those of before, which may have been chosen.
    if step.interactions and (crop.propagation.active or step.choice != USUAL or not step.evaluations):
        for t, target in enumerate(step.targets):
            if target is not None:
                displayed[:, target : target + 1] = step.log_odds[:, t : t + 1]
                if net.spec.output.exclusive:  # log-odds against all others together
                    own = logits[:, target : target + 1]
                    displayed[:, target : target + 1] += own - against_rest(logits, target)
    return displayed


def most_likely(view: View, logits: Tensor, own: int | None = None, part: Window | None = None) -> BestTwo:
    """The classes by logits (1, K, h', w') in a part of a view's photo, a few rows at a time to save memory.

    Returns the most likely class, and the most likely one but `own`; both are the same where `own` is None.
    """
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


def classes_at(crop: Crop, logits: Tensor, pixels: Pixels) -> list[int]:
    """The classes that logits (1, K, h, w) of a crop, on the network's own grid, have at photo pixels, (n, 2)."""
    corner = np.array([crop.window.left, crop.window.top])
    points = crop.view.points_to_network((pixels - corner).astype(float))
    # From the image's pixels to the map's: in both, pixel centres are at whole numbers.
    height, width = logits.shape[-2:]
    factors = (width / crop.image.shape[-1], height / crop.image.shape[-2])
    scale = torch.tensor(factors, dtype=torch.float32, device="cpu")
    on_grid = ((points + 0.5) * scale.to(points) - 0.5).clamp(min=0)
    on_grid = torch.minimum(on_grid, torch.tensor([width - 1, height - 1], device="cpu").to(on_grid))
    classes: list[int] = sample(logits, on_grid)[0].argmax(0).tolist()
    return classes
