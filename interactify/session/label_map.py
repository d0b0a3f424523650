"""Several objects in one label map: where objects overlap, the one that is most certain has the pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.interactions.constraints import TARGET
from interactify.interactions.rasterise import stroke_mask
from interactify.pictures.window import Window, whole
from interactify.refinement.history import Track
from interactify.refinement.result import Result

REACH: Final = 0.01  # of the photo's longer side: around a point of an object, other objects give way
CERTAIN: Final = 1000.0  # log-odds: interactions count for more, and the network for no more


def label_map(tracks: Sequence[Track], size: tuple[int, int]) -> NDArray[np.int32]:
    """All objects in one map, (H, W) int32: 0 for none, k for the k-th; see `Session.label_map`."""
    labels = np.zeros(size, np.int32)
    highest = torch.zeros(size, dtype=torch.float32, device="cpu")
    for k, track in enumerate(tracks, 1):
        if track.steps:
            log_odds = _log_odds(track.steps[-1].result)
            labels[(log_odds > highest).numpy()] = k
            highest = torch.maximum(highest, log_odds)
    return labels


def _log_odds(result: Result) -> Tensor:
    """The displayed log-odds (H, W) of an object, raised at the interactions that mark it and close around them."""
    photo = whole(result.size)
    log_odds = result.displayed.read(photo).float().cpu().clamp(max=CERTAIN)
    constraints = result.constraints
    reach = REACH * max(result.size)
    own = constraints.required & constraints.positive & (constraints.labels == TARGET)
    for x, y in constraints.points[own].tolist():
        spot = Window(y, x, 1, 1).grown(math.ceil(reach), result.size)
        rows, columns = (torch.arange(span.start, span.stop, dtype=torch.float32, device="cpu") for span in spot.slices)
        distance = torch.hypot(rows[:, None] - y, columns[None] - x)
        near = log_odds[spot.slices]
        raised = torch.where((distance <= reach) & (near > 0), CERTAIN + 1 - distance / (reach + 1), near)
        log_odds[spot.slices] = torch.maximum(near, raised)
    for stroke in constraints.strokes:
        covered = stroke_mask(stroke, photo) if stroke.positive else None
        if covered is not None:
            log_odds[torch.from_numpy(covered) & (log_odds > 0)] = CERTAIN + 1
    return log_odds
