"""Learning to follow clicks: photos with masks of single objects, simulated clicks, and the maps that show them.

Two ways, both of the literature: many clicks at once, drawn from the truth (Jang & Kim, CVPR 2019, section 3.1), and
one click after the other on what the network gets wrong, with its own mask before as a further channel (Sofiiuk et al.,
"Reviving Iterative Training with Mask Guidance for Interactive Segmentation", 2021, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interactify.errors import OptionError
from interactify.inspection.click_input import ClickMaps
from interactify.interactions.click import Click
from interactify.interactions.click_maps import interaction_maps
from interactify.interactions.next_click import next_click
from interactify.learning.augment import recoloured
from interactify.learning.click_sampling import ClickSampler, FirstClick, SpreadClicks, Truth, click_on_error
from interactify.learning.labelled_photos import Drawing, LabelledPhoto
from interactify.learning.losses import Loss, normalised_focal
from interactify.learning.masks_task import normalised
from interactify.learning.object_crops import ObjectCrops

SCORED_CLICKS = 3
_MISSES = 500  # photos in a row without a usable object, before it is taken for a mistake


@dataclass(frozen=True)
class ClickBatch:
    """Samples of one size.

    Attributes:
        images: (N, 3, H, W), normalised.
        masks: (N, 1, H, W), 1 object, 0 background, NaN unknown.
        clicks: for each sample, in pixels of its square.
        rounds: how many clicks the network is corrected with before the loss.
        seed: of these clicks.
    """

    images: Tensor
    masks: Tensor
    clicks: list[list[Click]]
    rounds: int = 0
    seed: int = 0

    def to(self, device: torch.device) -> ClickBatch:
        """The batch on a device."""
        images = self.images.to(device, memory_format=torch.channels_last)
        return ClickBatch(images, self.masks.to(device), self.clicks, self.rounds, self.seed)


def plain_call(one_pass: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """The output of a network that returns one map of logits, (N, 1, H, W)."""
    output: Tensor = one_pass(x)
    return output


@dataclass(frozen=True)
class ClickTask:
    """A `Task` for a network of images and interaction maps, as `reconfigure_stem` makes it.

    Attributes:
        photos: what is drawn from: one object of a photo at a time.
        held_back: photos on whose objects, one of each, the network is scored.
        mean, std: the normalisation of photos in [0, 1].
        maps: how clicks are shown to the network.
        crops: how squares are cut around objects.
        samplers: (sampler, share): where the first clicks come from.
        rounds: the most clicks on current errors before the loss; drawn evenly from 0 up. 0 trains as in 2019.
        colours: the strength of colour changes, 0 to 1.
        loss_function: from logits and masks to the loss.
        read: runs the network on images and maps, and reads the log-odds (N, 1, H, W) of an object (`LogOdds`).
        bgr: whether the network reads blue, green, red.
    """

    photos: Drawing
    held_back: Sequence[LabelledPhoto]
    mean: Sequence[float]
    std: Sequence[float]
    maps: ClickMaps = field(default_factory=ClickMaps)
    crops: ObjectCrops = field(default_factory=ObjectCrops)
    samplers: Sequence[tuple[ClickSampler, float]] = ((FirstClick(), 0.6), (SpreadClicks(), 0.4))
    rounds: int = 3
    colours: float = 0.7
    loss_function: Loss = normalised_focal
    read: Callable[[Callable[[Tensor], Any], Tensor], Tensor] = plain_call
    bgr: bool = False
    _scored: list[tuple[Tensor, Truth]] = field(default_factory=list, init=False, repr=False, compare=False)

    def draw(self, generator: torch.Generator, count: int, done: float) -> ClickBatch:
        """Squares around objects, with the clicks that each begins with."""
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        shares = np.array([share for _, share in self.samplers])
        images: list[Tensor] = []
        truths: list[Truth] = []
        clicks: list[list[Click]] = []
        missed = 0
        while len(images) < count:
            (photo,) = self.photos.draw(1, generator)
            cut = self.crops.cut(photo, random)
            if cut is None:
                missed += 1
                if missed > _MISSES:
                    raise OptionError(
                        f"Expected photos with objects of {self.crops.smallest} pixels or more, got {missed} in a row "
                        f"without one, {photo.image} the last. Try masks with a number for each object, 0 elsewhere."
                    )
                continue
            missed = 0
            image, truth = cut
            sampler, _ = self.samplers[int(random.choice(len(shares), p=shares / shares.sum()))]
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
            truths.append(truth)
            clicks.append(sampler.clicks(truth, random))
        coloured = recoloured(torch.stack(images).float() / 255, generator, self.colours)
        rounds, seed = int(random.integers(self.rounds + 1)), int(random.integers(2**31))
        return ClickBatch(self._normalised(coloured), _as_masks(truths), clicks, rounds, seed)

    def loss(self, network: nn.Module, batch: ClickBatch) -> Tensor:
        """The loss after the batch's clicks, and after those that correct the network's errors on the way."""
        random = np.random.default_rng(batch.seed)
        clicks = [list(each) for each in batch.clicks]
        before: Tensor | None = None
        if batch.rounds:
            truths = [_as_truth(mask) for mask in batch.masks[:, 0].cpu()]
            with _evaluating(network), torch.no_grad():
                for _ in range(batch.rounds):
                    answer = torch.sigmoid(self.logits(network, batch.images, clicks, before).float())
                    # What is predicted without clicks is no answer: the mask before the first click is empty.
                    before = answer * answer.new_tensor([bool(own) for own in clicks])[:, None, None, None]
                    for truth, own, map_ in zip(truths, clicks, answer[:, 0].cpu().numpy(), strict=True):
                        new = click_on_error(truth, map_ > 0.5, own, random)
                        own.extend([new] if new else [])
        return self.loss_function(self.logits(network, batch.images, clicks, before).float(), batch.masks)

    def logits(
        self, network: nn.Module, images: Tensor, clicks: Sequence[Sequence[Click]], before: Tensor | None
    ) -> Tensor:
        """Logits (N, 1, H, W) of images (N, 3, H, W) with their clicks; `before` is the mask before, in [0, 1]."""
        size = (images.shape[-2], images.shape[-1])
        kind, radius = self.maps.kind, self.maps.radius
        drawn = [interaction_maps(each, size, kind, radius=radius, device=images.device) for each in clicks]
        maps = torch.stack(drawn)
        if self.maps.previous_mask:
            maps = torch.cat([maps, maps.new_zeros((len(maps), 1, *size)) if before is None else before], 1)
        return self.read(network, torch.cat([images, maps.to(images.dtype)], 1))

    def score(self, network: nn.Module) -> float:
        """Mean IoU after three clicks of the simulated user, each at the centre of the largest error."""
        return float(np.mean(self.ious(network)[:, SCORED_CLICKS]))

    @torch.no_grad()
    def ious(self, network: nn.Module, most: int = SCORED_CLICKS) -> np.ndarray:
        """IoU (photos, most + 1) after 0, 1, … clicks, on the held-back photos as squares of the network's size."""
        if not self._scored:
            self._scored.extend(self._squares())
        if not self._scored:
            raise OptionError("Expected an object in the photos that are held back, got none. Try other photos.")
        device = next(network.parameters()).device
        rows = []
        for image, truth in self._scored:
            clicks: list[Click] = []
            clicked, before = np.zeros(truth.shape, bool), None
            row = []
            for count in range(most + 1):
                answer = torch.sigmoid(self.logits(network, image.to(device), [clicks], before).float())
                before = answer if clicks else None
                mask = answer[0, 0].cpu().numpy() > 0.5
                row.append(_iou(truth, mask))
                new = next_click(truth, mask, clicked) if count < most else None
                if new is not None:
                    clicks.append(new)
                    clicked[int(new.y), int(new.x)] = True
            rows.append(row)
        return np.array(rows)

    def _squares(self) -> list[tuple[Tensor, Truth]]:
        """Held-back photos, normalised (1, 3, side, side), with the truth of one of its objects."""
        whole = ObjectCrops(self.crops.side, whole=1.0, smallest=1)
        squares = []
        for photo in self.held_back:
            cut = whole.cut(photo, np.random.default_rng(0))
            if cut is not None:
                image = torch.from_numpy(np.array(cut[0])).permute(2, 0, 1)[None].float() / 255
                squares.append((self._normalised(image), np.array(cut[1])))
        return squares

    def _normalised(self, image: Tensor) -> Tensor:
        return normalised(image.flip(1) if self.bgr else image, self.mean, self.std)


def _as_masks(truths: Sequence[Truth]) -> Tensor:
    stacked = torch.from_numpy(np.stack(truths)).float()[:, None]
    return stacked.masked_fill(stacked < 0, torch.nan)


def _as_truth(mask: Tensor) -> Truth:
    truth: Truth = torch.where(mask.isnan(), -1.0, mask).numpy().astype(np.int8)
    return truth


def _iou(truth: Truth, mask: np.ndarray) -> float:
    known, inside = truth >= 0, truth == 1
    either = ((mask | inside) & known).sum()
    return float((mask & inside).sum() / either) if either else 1.0


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's mode as it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
