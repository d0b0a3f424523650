"""Learning a network's own classes: label maps of photos, seen as the network sees them in use, moved gently."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from interactify.errors import PhotoError
from interactify.inspection.activation import BeforeActivation
from interactify.inspection.outputs import OutputSpec, resized, to_logits
from interactify.learning.augment import Motion, recoloured, uniform
from interactify.learning.labelled_photos import UNKNOWN, Drawing, LabelledPhoto
from interactify.learning.losses import cross_entropy_and_iou
from interactify.network.network import Network
from interactify.pictures.picture import open_picture
from interactify.pictures.resize_pad import View
from interactify.pictures.value_range import ValueRange
from interactify.pictures.window import whole

Batch = tuple[Tensor, Tensor]
NEAR_USE = Motion(zoom=(0.8, 1.1), shift=0.1, angle=0.08, stretch=0.1)
_SPARE = 1.3  # photos are kept at this many times the size that the network sees, so that magnified parts stay sharp
_KEPT = 100  # photos in memory


class ClassLogits(nn.Module):
    """A network whose output is its logits (N, K, h, w), whatever the network itself returns.

    Attributes:
        model: the network.
    """

    def __init__(
        self, model: nn.Module, output: OutputSpec, run: Callable[[nn.Module, Tensor], Any] | None = None
    ) -> None:
        """With `run`, how the network is run where that is not `model(image)`: `Knowledge.forward`."""
        super().__init__()
        self.model, self.output, self.run = model, output, run

    def forward(self, image: Tensor) -> Tensor:
        # Some networks return other things in training mode. And the statistics of few photos are worse than those
        # that the batch norms have.
        for module in nn.Module.modules(self):
            module.training = False
        image = image.clone()  # some networks write over their input
        with BeforeActivation() if self.output.bypassed else nullcontext() as activations:
            raw = self.model(image) if self.run is None else self.run(self.model, image)
        return to_logits(self.output, raw, activations)


@dataclass(frozen=True)
class ClassTask:
    """A `Task`: the classes of pixels, or the one object of a network of one class. Trains a `ClassLogits`.

    Attributes:
        photos: what is drawn from; their labels are classes, or 1 for the object, and 255 where nobody knows.
        held_back: photos on which the network is scored; none of them is trained on.
        network: how photos are resized and normalised, and what the output contains.
        value_range: the values of photos that are black and white; by default those of their types.
        motion: how photos are moved.
        colours: how strongly photos of three channels are recoloured, 0 to 1.
        flip: whether half of the photos are mirrored.
    """

    photos: Drawing
    held_back: Sequence[LabelledPhoto]
    network: Network
    value_range: ValueRange | None = None
    motion: Motion = NEAR_USE
    colours: float = 0.4
    flip: bool = True
    _read: dict[LabelledPhoto, tuple[Tensor, Tensor, View]] = field(default_factory=dict, repr=False, compare=False)

    def draw(self, generator: torch.Generator, count: int, done: float) -> Batch:
        """Normalised images (count, C, h, w) and labels (count, h, w) int64; (h, w) is what the first photo needs."""
        read = [self._kept(photo) for photo in self.photos.draw(count, generator)]
        size = read[0][2].network_size
        moved = [self._moved(*each, size, generator) for each in read]
        image = torch.cat([image for image, _ in moved])
        if image.shape[1] == 3:
            image = recoloured(image, generator, self.colours)
        return self.network.normalised(image), torch.cat([labels for _, labels in moved])

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch."""
        image, labels = batch
        logits = resized(network(image).float(), (image.shape[-2], image.shape[-1]))
        output = self.network.spec.output
        if output.classes > 1 and output.exclusive:
            return exclusive_loss(logits, labels)
        truths = (labels == 1)[:, None] if output.classes == 1 else _one_hot(labels, output.classes)
        return cross_entropy_and_iou(logits, truths.float().masked_fill((labels == UNKNOWN)[:, None], torch.nan))

    def score(self, network: nn.Module) -> float:
        """Mean IoU of the network's own masks on the photos that are held back, at their own size."""
        return unclicked_iou(network, self.held_back, self.network, self.value_range)

    def _kept(self, photo: LabelledPhoto) -> tuple[Tensor, Tensor, View]:
        """A photo (1, C, H, W) float16 in [0, 1], its labels (1, 1, H, W) uint8, and how the network sees it."""
        if photo not in self._read:
            picture = open_picture(photo.image, self.network.spec.channels, value_range=self.value_range)
            view, labels = self.network.view(picture.size), _labels_of(photo, picture.size)
            sides = zip(view.content_size, picture.size, strict=True)
            height, width = (min(own, math.ceil(_SPARE * side)) for side, own in sides)
            image = picture.to_network(whole(picture.size), View(picture.size, (height, width), (height, width)))
            small = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
            while len(self._read) >= _KEPT:
                self._read.pop(next(iter(self._read)))
            self._read[photo] = image.half(), torch.from_numpy(small)[None, None], view
        return self._read[photo]

    def _moved(
        self, image: Tensor, labels: Tensor, view: View, size: tuple[int, int], generator: torch.Generator
    ) -> Batch:
        """A photo in the network's input of `size`, at its scale there, moved at random; its labels (1, h, w)."""
        motion = self.motion
        angle, zoom, log_stretch = (
            float(uniform(low, high, 1, generator))
            for low, high in ((-motion.angle, motion.angle), motion.zoom, (-motion.stretch, motion.stretch))
        )
        flip = -1.0 if self.flip and float(torch.rand((), generator=generator)) < 0.5 else 1.0
        shift = (torch.rand(2, generator=generator) * 2 - 1) * motion.shift
        height, width = view.content_size
        stretch = math.exp(log_stretch / 2)
        cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
        # From coordinates in the content, -1 to 1, to those in the photo: angles are those of pixels.
        turn = torch.tensor(
            [
                [flip * stretch * cos, -stretch * sin * height / width],
                [flip * sin / stretch * width / height, cos / stretch],
            ]
        )
        # From coordinates in the network's input to those in the content, which lies in its upper left corner.
        scale = torch.tensor([size[1] / width, size[0] / height])
        theta = torch.cat([turn * scale, (turn @ (scale - 1) + shift)[:, None]], 1)[None]
        grid = F.affine_grid(theta, [1, 1, *size], align_corners=False)
        image = F.grid_sample(image.float(), grid, padding_mode="border", align_corners=False)
        # What lies outside of the photo is 0 after moving, and becomes unknown.
        known = torch.where(labels == UNKNOWN, 0.0, labels.float() + 1)
        nearest = F.grid_sample(known, grid, mode="nearest", align_corners=False)[:, 0].round().long()
        return image, torch.where(nearest == 0, UNKNOWN, nearest - 1)


def exclusive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus 1 - soft IoU, averaged over the classes that are present.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64; 255 counts in neither part.

    >>> logits = torch.tensor([[[[20.0, -20.0, 20.0]], [[-20.0, 20.0, -20.0]]]])
    >>> bool(exclusive_loss(logits, torch.tensor([[[0, 1, 255]]])) < 1e-6)
    True
    """
    known = labels != UNKNOWN
    entropy = F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / known.sum().clamp(min=1)
    truths = _one_hot(labels, logits.shape[1]).float() * known[:, None]
    p = logits.softmax(1) * known[:, None]
    both = (p * truths).sum((0, 2, 3))
    either = (p + truths).sum((0, 2, 3)) - both
    present = truths.sum((0, 2, 3)) > 0
    return entropy + (1 - (both + 1) / (either + 1))[present].sum() / present.sum().clamp(min=1)


def unclicked_iou(
    network: nn.Module, photos: Sequence[LabelledPhoto], seen_by: Network, value_range: ValueRange | None = None
) -> float:
    """IoU of a network's own masks, before any click, at the photos' own size; unknown pixels don't count.

    Args:
        network: a `ClassLogits`.
        photos: with their labels.
        seen_by: how photos are resized and normalised, and what the output contains.
        value_range: the values of photos that are black and white.

    Returns:
        Of one class, the mean over the photos. Of several, the mean over the classes that occur, in the truth or in a
        mask, over the pixels of all photos together.
    """
    if seen_by.spec.output.classes == 1:
        both, either = _counted(network, photos, seen_by, value_range)
        return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())
    each = unclicked_ious(network, photos, seen_by, value_range)
    return float(each[~np.isnan(each)].mean()) if not np.isnan(each).all() else 1.0


def unclicked_ious(
    network: nn.Module, photos: Sequence[LabelledPhoto], seen_by: Network, value_range: ValueRange | None = None
) -> NDArray[np.float64]:
    """IoU of each class (K,), over the pixels of all photos together; NaN where a class occurs nowhere.

    The rest is as in `unclicked_iou`.
    """
    both, either = (counts.sum(0) for counts in _counted(network, photos, seen_by, value_range))
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


@torch.no_grad()
def _counted(
    network: nn.Module, photos: Sequence[LabelledPhoto], seen_by: Network, value_range: ValueRange | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The known pixels in both of mask and truth, and in either, of each photo and class: (photos, K) each."""
    output = seen_by.spec.output
    both, either = np.zeros((len(photos), output.classes)), np.zeros((len(photos), output.classes))
    device = next(network.parameters()).device
    for k, photo in enumerate(photos):
        picture = open_picture(photo.image, seen_by.spec.channels, value_range=value_range)
        view, labels = seen_by.view(picture.size), _labels_of(photo, picture.size)
        image = seen_by.normalised(picture.to_network(whole(picture.size), view)).to(device)
        logits = resized(network(image).float(), view.network_size).cpu()
        masks = masks_of(view.to_photo(logits)[0], output)
        truths = (labels == 1)[None] if output.classes == 1 else labels == np.arange(output.classes)[:, None, None]
        known = labels != UNKNOWN
        both[k], either[k] = ((masks & truths & known).sum((1, 2)), ((masks | truths) & known).sum((1, 2)))
    return both, either


def masks_of(logits: Tensor, output: OutputSpec) -> NDArray[np.bool_]:
    """The mask of each class, (K, H, W), from logits (K, H, W): where it is the likeliest, or likely by itself."""
    if output.classes > 1 and output.exclusive:
        masks: NDArray[np.bool_] = logits.argmax(0).numpy() == np.arange(output.classes)[:, None, None]
        return masks
    return (logits > 0).numpy()


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N, K, H, W) bool of labels (N, H, W)."""
    return labels[:, None] == torch.arange(classes, device=labels.device).view(1, -1, 1, 1)


def _labels_of(photo: LabelledPhoto, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A photo's labels (H, W); PhotoError where their size is not the photo's."""
    labels = photo.read_labels()
    if labels.shape != size:
        raise PhotoError(
            f"Expected a mask of the photo's size, {size[1]} wide and {size[0]} high, got {photo.mask}, "
            f"{labels.shape[1]} wide and {labels.shape[0]} high. Try the mask that belongs to this photo."
        )
    return labels
