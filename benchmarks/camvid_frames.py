"""CamVid for training and validation: frames and label maps, augmented batches, and IoU for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from interactify.learning.augment import recoloured

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = len(CLASSES)
TRAINED = 180  # frames, the first by name; the others validate
SCALE = 0.8  # network pixels per frame pixel


@dataclass(frozen=True)
class Frames:
    """Frames of a split: names, photos (H, W, 3) uint8 and label maps (H, W) uint8, 11 unlabelled."""

    names: list[str]
    photos: list[NDArray[np.uint8]]
    labels: list[NDArray[np.uint8]]

    @property
    def weights(self) -> Tensor:
        """(11,): for each class one over the root of its share of the pixels, with a mean of 1 over all pixels.

        A compromise between equal pixels, where poles hardly count, and equal classes, where they count too much.
        """
        counts = sum(np.bincount(labels.ravel(), minlength=UNLABELLED + 1)[:UNLABELLED] for labels in self.labels)
        share = torch.as_tensor(counts / np.sum(counts)).clamp(min=1e-4)
        weights = share**-0.5
        return (weights / (weights * share).sum()).float()


def frame_names(root: Path, split: str, trained: int = TRAINED) -> list[str]:
    """The frames of "train" (the first `trained` by name) or "validation" (the others) in `root`/CamVid, by name."""
    names = sorted(path.stem for path in (root / "CamVid" / "images").glob("*.jpg"))
    return names[:trained] if split == "train" else names[trained:]


def read_labels(root: Path, name: str) -> NDArray[np.uint8]:
    """The label map of a frame, (H, W): 0 to 10, or 11 where it is unlabelled."""
    with Image.open(root / "CamVid" / "masks" / f"{name}.png") as image:
        return np.array(image)


def read_split(root: Path, split: str) -> Frames:
    """All frames of a split, in memory."""
    names = frame_names(root, split)
    if not names:
        raise FileNotFoundError(
            f"Expected frames of the {split} split in {root / 'CamVid' / 'images'}, got none. Try another --data."
        )
    photos = []
    for name in names:
        with Image.open(root / "CamVid" / "images" / f"{name}.jpg") as image:
            photos.append(np.array(image.convert("RGB")))
    return Frames(names, photos, [read_labels(root, name) for name in names])


def training_batch(
    frames: Frames, count: int, size: tuple[int, int], generator: torch.Generator, *, gentle: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw frames of `size` (h, w): images (count, 3, h, w) in [0, 1] and labels (count, h, w), -1 where unknown.

    Each is flipped, scaled, rotated and recoloured at random; half of them are around a pixel of a randomly drawn
    class, so that rare classes occur. `gentle` stays near whole, unchanged frames, for the end of the training.
    """
    images, labels = [], []
    for k in range(count):
        index = int(torch.randint(len(frames.names), (), generator=generator))
        centre = None
        if k % 2 and not gentle:
            index, centre = _around_a_class(frames, generator)
        image, truth = _crop(frames.photos[index], frames.labels[index], size, centre, generator, gentle)
        images.append(image)
        labels.append(truth)
    return recoloured(torch.cat(images), generator, strength=0.4 if gentle else 0.8), torch.cat(labels)


def _around_a_class(frames: Frames, generator: torch.Generator) -> tuple[int, Tensor]:
    """A frame and a pixel (x, y) in it, of a randomly drawn class; of any class if ten frames have none."""
    wanted = int(torch.randint(UNLABELLED, (), generator=generator))
    for _ in range(10):
        index = int(torch.randint(len(frames.names), (), generator=generator))
        found = np.flatnonzero(frames.labels[index] == wanted)
        if len(found):
            break
    else:
        found = np.arange(frames.labels[index].size)
    pixel = int(found[int(torch.randint(len(found), (), generator=generator))])
    y, x = divmod(pixel, frames.labels[index].shape[1])
    return index, torch.tensor([float(x), float(y)])


def _crop(
    photo: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    size: tuple[int, int],
    centre: Tensor | None,
    generator: torch.Generator,
    gentle: bool,
) -> tuple[Tensor, Tensor]:
    def draw(low: float, high: float) -> float:
        return float(torch.rand((), generator=generator)) * (high - low) + low

    whole = torch.tensor([photo.shape[1], photo.shape[0]], dtype=torch.float)
    scale = SCALE * (draw(0.95, 1.25) if gentle else 0.7 * (2.2 ** draw(0, 1)))
    extent = torch.tensor([size[1], size[0]]) / scale  # of the crop, in frame pixels
    room = (whole - extent).clamp(min=0) / 2
    if centre is None:
        centre = whole / 2 + room * torch.tensor([draw(-1, 1), draw(-1, 1)])
    else:
        moved = centre + extent * torch.tensor([draw(-0.3, 0.3), draw(-0.3, 0.3)])
        centre = torch.minimum(torch.maximum(moved, whole / 2 - room), whole / 2 + room)
    angle = draw(-0.03, 0.03) if gentle else draw(-0.12, 0.12)
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float)
    flip = torch.diag(torch.tensor([-1.0 if draw(0, 1) < 0.5 else 1.0, 1.0]))
    # From the crop's coordinates, -1 to 1, to the frame's.
    matrix = torch.diag(2 / whole) @ turn @ torch.diag(extent / 2) @ flip
    affine = torch.cat([matrix, (centre * 2 / whole - 1)[:, None]], 1)[None]
    grid = F.affine_grid(affine, [1, 3, *size], align_corners=False)
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    if scale < 0.9:  # like the library's resizing: no aliasing
        pixels = F.interpolate(pixels, scale_factor=scale, mode="bilinear", antialias=True, align_corners=False)
    image = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    # One is added, so that zeros outside the frame mean unlabelled.
    known = torch.from_numpy(np.where(labels < UNLABELLED, labels + 1, 0)).float()
    truth = F.grid_sample(known[None, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return image, truth[:, 0].round().long() - 1


def confusion(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Counts of pixels by true class (row) and predicted class (column), without unlabelled ones: (11, 11).

    >>> confusion(np.array([[0, 1, 11]]), np.array([[0, 0, 0]]))[:2, :2]
    array([[1, 0],
           [1, 0]])
    """
    known = truth < UNLABELLED
    pairs = truth[known].astype(np.int64) * UNLABELLED + predicted[known]
    return np.bincount(pairs, minlength=UNLABELLED**2).reshape(UNLABELLED, UNLABELLED)


def class_ious(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each class of a confusion (11, 11); NaN for a class that is neither present nor predicted."""
    right = np.diag(counts).astype(float)
    either = counts.sum(0) + counts.sum(1) - right
    with np.errstate(invalid="ignore"):
        return right / either
