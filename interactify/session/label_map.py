"""Several objects in one map: which of those that claim a pixel has it."""

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

NEAR: Final = 0.01  # of the photo's longer side: how far what was said of one object holds against another
CERTAIN: Final = 1000.0  # log-odds: no network is more certain than a person


def label_map(tracks: Sequence[Track], size: tuple[int, int]) -> NDArray[np.int32]:
    """All objects in one map, (H, W) int32: 0 for none, k for the k-th; see `Session.label_map`."""
    labels = np.zeros(size, np.int32)
    most = torch.zeros(size)
    for k, track in enumerate(tracks, 1):
        if track.steps:
            odds = _certain(track.steps[-1].result)
            labels[(odds > most).numpy()] = k
            most = torch.maximum(most, odds)
    return labels


def _certain(result: Result) -> Tensor:
    """Log-odds (H, W) of an object, most certain where it was said to be, and almost so around."""
    photo = whole(result.size)
    odds = result.shown.read(photo).float().cpu().clamp(max=CERTAIN)
    told = result.constraints
    reach = NEAR * max(result.size)
    own = told.required & told.positive & (told.labels == TARGET)
    for x, y in told.points[own].tolist():
        spot = Window(y, x, 1, 1).grown(math.ceil(reach), result.size)
        rows, columns = (torch.arange(span.start, span.stop, dtype=torch.float32) for span in spot.slices)
        away = torch.hypot(rows[:, None] - y, columns[None] - x)
        near = odds[spot.slices]
        sure = torch.where((away <= reach) & (near > 0), CERTAIN + 1 - away / (reach + 1), near)
        odds[spot.slices] = torch.maximum(near, sure)
    for stroke in told.strokes:
        covered = stroke_mask(stroke, photo) if stroke.positive else None
        if covered is not None:
            odds[torch.from_numpy(covered) & (odds > 0)] = CERTAIN + 1
    return odds
