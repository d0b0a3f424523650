"""Objects of one class in CamVid's validation frames, as samples whose clicks refer to that class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from benchmarks.camvid_frames import CLASSES, TRAINED, UNLABELLED, frame_names, read_labels
from interactify.evaluation import Sample
from interactify.evaluation.data.dataset import Truth

Item = TypeVar("Item")
LEAST = 0.005  # of the frame's pixels: nobody would click a smaller object at this size


def objects_of(labels: NDArray[np.integer]) -> Iterator[tuple[int, Truth]]:
    """The objects in a label map, each with its class, by class and then from the top: connected pixels of one class.

    Args:
        labels: (H, W), 0 to 10, 11 unlabelled.

    Returns:
        Classes and truths (H, W) int8: 1 in the object, 0 in the other classes, -1 in unlabelled pixels and in the rest
        of the object's class, small pieces included: a right map of the class contains those, so they count as
        unknown and are never clicked. Pixels that touch at a corner are connected.
    """
    for k in range(UNLABELLED):
        pieces, count = label(labels == k, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        for piece in range(1, count + 1):
            if sizes[piece] >= LEAST * labels.size:
                truth = np.where((labels == k) | (labels == UNLABELLED), -1, 0).astype(np.int8)
                truth[pieces == piece] = 1
                yield k, truth


def class_objects(root: Path, every: int = 1, most: int | None = None, trained: int = TRAINED) -> list[Sample]:
    """Objects of the validation frames in `root`/CamVid, by class, then by frame; always the same for the same numbers.

    Args:
        root: the folder with CamVid/.
        every: take every n-th frame.
        most: the most objects of each class, spread evenly over the frames, so that the frequent buildings and
            pavements don't dominate the results; None for all.
        trained: the number of training frames, the first by name.

    Returns:
        Samples called FRAME#CLASS or FRAME#CLASS2, FRAME#CLASS3, …, the `target` of each the index of its class.
    """
    by_class: dict[int, list[Sample]] = {k: [] for k in range(UNLABELLED)}
    for name in frame_names(root, "validation", trained)[::every]:
        photo, counts = root / "CamVid" / "images" / f"{name}.jpg", dict.fromkeys(range(UNLABELLED), 0)
        for k, truth in objects_of(read_labels(root, name)):
            counts[k] += 1
            number = "" if counts[k] == 1 else str(counts[k])
            by_class[k].append(Sample(f"{name}#{CLASSES[k]}{number}", photo, truth, target=k))
    return [sample for samples in by_class.values() for sample in spread(samples, most)]


def spread(samples: list[Item], most: int | None) -> list[Item]:
    """At most `most` of the samples, evenly spaced, with the first one."""
    if most is None or len(samples) <= most:
        return samples
    return [samples[k * len(samples) // most] for k in range(most)]
