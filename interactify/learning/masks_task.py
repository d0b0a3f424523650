"""Learning to segment: photos and the masks of their objects, without clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactify.learning.augment import GENTLE, STRONG, Motion, augmented_squares
from interactify.learning.labelled_photos import UNKNOWN, Drawing, LabelledPhoto, as_square
from interactify.learning.losses import Loss, cross_entropy_and_iou

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes:
        until: the share of the training at which it ends, up to 1.
        side: of the squares, in pixels.
        motion: how photos are moved.
        colours: how strongly they are recoloured, 0 to 1.
        pasted: the share of pictures into which an object is pasted.
    """

    until: float
    side: int
    motion: Motion = STRONG
    colours: float = 1.0
    pasted: float = 0.0


@dataclass(frozen=True)
class MaskTask:
    """A `Task`: one logit for each pixel, positive on the objects of a photo.

    Attributes:
        photos: what is drawn from.
        held_back: photos on which the network is scored, by mean IoU; none of them is trained on.
        mean, std: the normalisation of photos in [0, 1], one number for each channel.
        stages: from the first to the last.
        loss_function: from logits and masks to the loss.
        score_side: the side of the squares that are scored.
    """

    photos: Drawing
    held_back: Sequence[LabelledPhoto]
    mean: Sequence[float]
    std: Sequence[float]
    stages: Sequence[Stage] = (Stage(0.65, 160, pasted=0.3), Stage(0.85, 224, pasted=0.3), Stage(1.0, 224, GENTLE, 0.5))
    loss_function: Loss = cross_entropy_and_iou
    score_side: int = 224

    def draw(self, generator: torch.Generator, count: int, done: float) -> Batch:
        """Normalised images (count, 3, side, side) and masks (count, 1, side, side)."""
        stage = next((each for each in self.stages if done < each.until), self.stages[-1])
        image, mask = augmented_squares(
            self.photos,
            count,
            stage.side,
            generator,
            motion=stage.motion,
            colours=stage.colours,
            pasted=stage.pasted,
        )
        return normalised(image, self.mean, self.std), mask

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch."""
        image, mask = batch
        logits = network(image)
        return self.loss_function(logits.float(), mask)

    def score(self, network: nn.Module) -> float:
        """Mean IoU on the photos that are held back, seen as squares, at their own size."""
        return mean_iou(network, self.held_back, self.score_side, self.mean, self.std)


def normalised(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] as a network reads them."""
    return (image - torch.tensor(tuple(mean)).view(1, -1, 1, 1)) / torch.tensor(tuple(std)).view(1, -1, 1, 1)


@torch.no_grad()
def mean_iou(
    network: nn.Module, photos: Sequence[LabelledPhoto], side: int, mean: Sequence[float], std: Sequence[float]
) -> float:
    """Mean IoU of a network's masks, without clicks, at logit 0; photos are seen as squares of `side` pixels.

    Masks are compared at the photo's own size; unknown pixels don't count.
    """
    device = next(network.parameters()).device
    scores = []
    for photo in photos:
        image, labels = photo.read()
        square, _ = as_square(image, labels, side)
        logits = network(normalised(square[None].float() / 255, mean, std).to(device)).float()
        mask = F.interpolate(logits, size=labels.shape, mode="bilinear", align_corners=False)[0, 0].cpu().numpy() > 0
        known, truth = labels != UNKNOWN, (labels > 0) & (labels != UNKNOWN)
        both, either = (mask & truth & known).sum(), ((mask | truth) & known).sum()
        scores.append(both / either if either else 1.0)
    return float(np.mean(scores))
