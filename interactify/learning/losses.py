"""Losses of training: logits (N, 1, H, W) against masks of the same shape, 1 object, 0 background, NaN unknown."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits and masks (N, 1, H, W) to the loss, 0-d."""


def _known(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Masks with 0 for unknown, and which pixels are known (1 or 0); soft labels between 0 and 1 stay as they are."""
    known = ~masks.isnan()
    return torch.where(known, masks, 0.0), known.to(masks.dtype)


def cross_entropy_and_iou(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus 1 - soft IoU, both over the known pixels, averaged over the batch.

    >>> masks = torch.tensor([[[[1.0, 0.0, float("nan")]]]])
    >>> bool(cross_entropy_and_iou(torch.tensor([[[[20.0, -20.0, 20.0]]]]), masks) < 1e-6)
    True
    """
    masks, known = _known(masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * known
    p = torch.sigmoid(logits) * known
    both = (p * masks).sum((1, 2, 3))
    soft_iou = (both + 1) / ((p + masks).sum((1, 2, 3)) - both + 1)
    return entropy.sum() / known.sum().clamp(min=1) + (1 - soft_iou).mean()


def normalised_focal(logits: Tensor, masks: Tensor, gamma: float = 2.0, alpha: float = 0.5) -> Tensor:
    """Normalised focal loss, averaged over the batch.

    The focal loss, divided in each picture by its own mean weight, so that a picture does not count less as it gets
    better. Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation" (RITM), 2021,
    section 3.2.

    >>> logits, masks = torch.tensor([[[[2.0, -2.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    >>> entropy = F.binary_cross_entropy_with_logits(logits, masks)
    >>> bool(torch.isclose(normalised_focal(logits, masks), 0.5 * entropy))  # equal errors have equal weights
    True
    """
    masks, known = _known(masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    p = torch.sigmoid(logits)
    away = (masks - p).abs().pow(gamma) * known
    scale = (known.sum((1, 2, 3)) / away.sum((1, 2, 3)).clamp(min=1e-8)).detach()
    balance = alpha * masks + (1 - alpha) * (1 - masks)
    each = (balance * away * entropy).sum((1, 2, 3)) * scale / known.sum((1, 2, 3)).clamp(min=1)
    return each.mean()


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy over the known pixels, as Jang & Kim (CVPR 2019, section 3.1) train with, averaged."""
    masks, known = _known(masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * known
    return entropy.sum() / known.sum().clamp(min=1)


LOSSES: dict[str, Loss] = {
    "bce+iou": cross_entropy_and_iou,
    "normalised-focal": normalised_focal,
    "bce": cross_entropy,
}
