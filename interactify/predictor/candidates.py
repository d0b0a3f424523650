"""Three masks for one prompt, and how good each may be: the narrow, usual and wide reading of a session's result.

What a click means is ambiguous; `interactify.refinement.alternatives` has the readings. A prompt tells which object is
meant, and not how a mask changes: so of the narrow reading only the pieces count that the prompt points at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.interactions.click import Click


def pointed_at(logits: NDArray[np.float32], clicks: Sequence[Click]) -> NDArray[np.float32]:
    """Logits (H, W), mirrored to below 0 in every connected piece of the mask without a positive click.

    Unchanged where the mask holds no positive click.

    >>> pointed_at(np.array([[4, 2, -8, 6], [-8, -8, -8, -2]], np.float32), [Click(0, 0)]).astype(int).tolist()
    [[4, 2, -8, -6], [-8, -8, -8, -2]]
    """
    pieces, _ = ndimage.label(logits > 0)
    clicked = {int(pieces[int(c.y), int(c.x)]) for c in clicks if c.positive} - {0}  # none is 0, the outside
    return np.where(np.isin(pieces, list(clicked)), logits, -np.abs(logits)) if clicked else logits


def expected_iou(logits: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """The IoU of a mask with the truth that the network's own probabilities predict.

    The expected intersection over the expected union, in [0, 1]; 1 for an empty mask where no pixel is likely.

    >>> expected_iou(np.array([[20.0, 0.0, -20.0]], np.float32), np.array([[True, False, False]]))
    0.666...
    """
    probability = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))
    inside, outside = probability[mask].sum(), probability[~mask].sum()
    union = mask.sum() + outside
    return float(inside / union) if union >= 0.5 else 1.0
