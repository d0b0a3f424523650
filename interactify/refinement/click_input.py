"""What a click network reads in a crop beside the image: maps of the clicks in effect, and the mask before the newest.

They are drawn once for a problem, and handed on as one tensor.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interactify.interactions.click import Click
from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.gestures import Mask
from interactify.network.network import Network
from interactify.optim.status import Status
from interactify.refinement.history import Step
from interactify.refinement.problem import Crop, labels_in


def click_input(network: Network, crop: Crop, constraints: Constraints, last: Step) -> Tensor | None:
    """The maps (1, M, h', w') that a click network reads for some constraints; None for other networks.

    Drawn are the points that have to be satisfied: those of clicks, of scribbles, and around boxes. The points of an
    initial mask only pull, and are no clicks; the mask is the previous one of the first answer. `last` is the step
    before.
    """
    click_maps = network.spec.click_maps
    if click_maps is None:
        return None
    previous = _previous_mask(crop, constraints, last) if click_maps.previous_mask else None
    return network.click_maps(_drawn(crop, constraints, network.spec.output.exclusive), crop.image, previous)


def _drawn(crop: Crop, constraints: Constraints, exclusive: bool) -> list[Click]:
    """The clicks on the object or beside it, in network pixels.

    Of classes that exclude each other, a pixel of another class is not of the object; other labels tell nothing of it.
    """
    inside, points = labels_in(crop, constraints)
    clicks = []
    for (x, y), index in zip(points.tolist(), inside.tolist(), strict=True):
        own, positive = constraints.labels[index] == TARGET, bool(constraints.positive[index])
        if constraints.required[index] and (own or (positive and exclusive)):
            clicks.append(Click(x, y, positive and bool(own)))
    return clicks


def _previous_mask(crop: Crop, constraints: Constraints, last: Step) -> Tensor | None:
    """(h', w') probabilities of the displayed mask before the newest interaction; None before the first one.

    A mask that the object begins with is the one before its first answer.
    """
    if last.status != Status.PLAIN:  # nobody has seen the network's own prediction as an answer
        return last.displayed_in(crop)
    if isinstance(constraints.mask, Mask):
        part = constraints.mask.mask[crop.window.slices]
        return crop.view.to_network(torch.from_numpy(part.astype(np.float32))[None])[0, 0]
    return None
