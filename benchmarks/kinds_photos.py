"""Photos of five kinds of things, each of the class of its folder: three quarters are trained on, the rest is measured.

The folders lie in more/ (masks of 0 and 255, the object) and in objects/ (1 to 254 an object each, 255 unknown), each
with images/ and masks/. A photo's class is its folder's; whatever else it shows counts as background.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.camvid_objects import spread
from interactify.evaluation import Sample
from interactify.evaluation.data.dataset import truth_of
from interactify.learning import LabelledPhoto, photos_in
from interactify.learning.labelled_photos import UNKNOWN

FOLDERS = {
    "person": ("more/ccp_people", "objects/people_portraits", "objects/pedestrians_pennfudan"),
    "dog": ("objects/dogs_stanford", "objects/dogs_pug"),
    "horse": ("more/weizmann_horse",),
    "fish": ("objects/fish",),
    "vessel": ("objects/bottles", "objects/mugs"),
}
CLASSES = ("background", *FOLDERS)


@dataclass(frozen=True)
class KindPhoto(LabelledPhoto):
    """A photo whose objects are all of one class.

    Attributes:
        kind: the index of the class, from 1.
    """

    kind: int = 1

    def read_labels(self) -> NDArray[np.uint8]:
        """The classes (H, W) uint8: 0 background, `kind` on its objects, 255 unknown."""
        labels = super().read_labels()
        return np.where((labels > 0) & (labels != UNKNOWN), np.uint8(self.kind), labels)


def is_measured(folder: str, stem: str) -> bool:
    """Whether a photo is one of the quarter that is measured, by a hash of its name.

    >>> sum(is_measured("objects/fish", f"{n}") for n in range(1000))
    230
    """
    return hashlib.sha256(f"{folder}/{stem}".encode()).digest()[0] % 4 == 0


def kind_photos(root: Path, *, measured: bool) -> dict[str, list[KindPhoto]]:
    """The photos of one part, by folder, in the order of the classes and of their names.

    Their weights let the classes come equally often, and the folders of a class too.

    Args:
        root: the folder with more/ and objects/.
        measured: those to measure on, or those to train on.

    Raises:
        OptionError: a folder is missing, or has no photos with masks.
    """
    found = {}
    for kind, folders in enumerate(FOLDERS.values(), 1):
        for folder in folders:
            every = photos_in(root / folder, "object" if folder.startswith("more/") else "instances")
            part = [photo for photo in every if is_measured(folder, photo.image.stem) == measured]
            weight = 1 / (len(folders) * max(1, len(part)))
            found[folder] = [KindPhoto(photo.image, photo.mask, photo.values, weight, kind) for photo in part]
    return found


def kind_samples(root: Path, most: int) -> list[Sample]:
    """Measured photos as samples called FOLDER-NAME, whose `target` is the class; always the same ones.

    The object is all that the photo shows of its class.

    Args:
        root: the folder with more/ and objects/.
        most: the most photos of a class, in equal parts from its folders.
    """
    found = []
    by_folder = kind_photos(root, measured=True)
    for folders in FOLDERS.values():
        for k, folder in enumerate(folders):
            count = most * (k + 1) // len(folders) - most * k // len(folders)
            found += [_sample(folder, photo) for photo in spread(by_folder[folder], count)]
    return found


def _sample(folder: str, photo: KindPhoto) -> Sample:
    labels = photo.read_labels()
    truth = truth_of(labels == photo.kind, labels == UNKNOWN)
    return Sample(f"{Path(folder).name}-{photo.image.stem}", photo.image, truth, target=photo.kind)
