"""The network of five kinds: which photos are measured, what their classes are, and a training that goes on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import kinds_network
from benchmarks.harm_networks import NETWORKS, photo_set
from benchmarks.kinds_photos import CLASSES, FOLDERS, is_measured, kind_photos, kind_samples
from interactify.errors import OptionError, TrainingError
from interactify.learning.class_task import ClassTask

EVERY_FOLDER = [folder for folders in FOLDERS.values() for folder in folders]


def names(folder: str, measured: int, trained: int) -> list[str]:
    """Names of photos, so many of each part."""
    every = [f"{n:02d}" for n in range(60)]
    yes = [name for name in every if is_measured(folder, name)]
    no = [name for name in every if not is_measured(folder, name)]
    return yes[:measured] + no[:trained]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folders in small, two measured photos in each and one or two others: two objects, and an unknown strip."""
    for folder in EVERY_FOLDER:
        for kind in ("images", "masks"):
            (tmp_path / "data" / folder / kind).mkdir(parents=True)
        for name in names(folder, 2, 2 if folder == "objects/fish" else 1):
            merged = folder.startswith("more/")
            mask = np.zeros((40, 56), np.uint8)
            mask[8:24, 4:20] = 255 if merged else 1
            mask[20:36, 30:50] = 255 if merged else 2
            mask[:, 54:] = 128 if merged else 255
            Image.fromarray(np.repeat(mask[..., None] // 2 + 60, 3, 2)).save(
                tmp_path / f"data/{folder}/images/{name}.png"
            )
            Image.fromarray(mask).save(tmp_path / f"data/{folder}/masks/{name}.png")
    return tmp_path / "data"


def test_no_photo_is_trained_on_and_measured_and_classes_come_equally_often(data: Path) -> None:
    known, measured = (kind_photos(data, measured=part) for part in (False, True))
    assert list(known) == list(measured) == EVERY_FOLDER
    assert [len(photos) for photos in measured.values()] == [2] * 9
    assert not {photo.image for each in known.values() for photo in each} & {
        photo.image for each in measured.values() for photo in each
    }
    weights: Counter[int] = Counter()
    for photos in known.values():
        for photo in photos:
            weights[photo.kind] += photo.weight  # type: ignore[assignment]
    assert weights == pytest.approx(dict.fromkeys(range(1, 6), 1.0))
    (data / "objects/mugs/masks").rename(data / "objects/mugs/elsewhere")
    with pytest.raises(OptionError, match="mugs"):
        kind_photos(data, measured=True)


@pytest.mark.parametrize("folder", ["more/weizmann_horse", "objects/bottles"])
def test_all_objects_of_a_photo_are_of_the_folders_class(folder: str, data: Path) -> None:
    photo = kind_photos(data, measured=True)[folder][0]
    _, labels = photo.read()
    assert CLASSES[photo.kind] == {"more/weizmann_horse": "horse", "objects/bottles": "vessel"}[folder]
    assert (labels == photo.kind).sum() == 16 * 16 + 16 * 20
    assert (labels == 255).sum() == 2 * 40 and (labels == 0).sum() == labels.size - 576 - 80


def test_samples_are_measured_photos_evenly_of_each_class(data: Path) -> None:
    samples = kind_samples(data, most=2)
    assert Counter(sample.target for sample in samples) == dict.fromkeys(range(1, 6), 2)
    assert Counter(each.target for each in kind_samples(data, most=4)) == {1: 4, 2: 4, 3: 2, 4: 2, 5: 4}
    for sample in samples:
        assert isinstance(sample.photo, Path)
        assert is_measured(str(sample.photo.parent.parent.relative_to(data)), sample.photo.stem)
        assert sample.truth.dtype == np.int8 and set(np.unique(sample.truth)) == {-1, 0, 1}
        assert (sample.truth == 1).sum() == 576
    photos = photo_set("Kinds", data)
    assert len({photo.name for photo in photos}) == len(photos) == 3 * 2 + 4 + 2 + 2 + 4
    assert NETWORKS["kinds"].options["class_names"] == CLASSES


def test_only_the_last_convolution_is_new() -> None:
    network, embedded = kinds_network.build().eval(), kinds_network.zoo.load().state_dict()
    changed = {
        key
        for key, tensor in network.state_dict().items()
        if tensor.shape != embedded[key].shape or not torch.equal(tensor, embedded[key])
    }
    assert changed == {"segmentation_head.0.weight", "segmentation_head.0.bias"}
    assert network(torch.zeros(1, 3, 32, 64)).shape == (1, len(CLASSES), 32, 64)


def test_an_interrupted_training_goes_on(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kinds_network, "build", lambda: nn.Conv2d(3, len(CLASSES), 3, padding=1))
    monkeypatch.setattr(kinds_network, "OPTIONS", {**kinds_network.OPTIONS, "resolution": 32})
    recipe = replace(kinds_network.RECIPE, minutes=None, steps=3, batch=2, precision="float32")
    original, calls = ClassTask.loss, 0

    def diverging(task: ClassTask, network: nn.Module, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(task, network, batch) * (torch.nan if calls == 3 else 1)

    train = kinds_network.train
    monkeypatch.setattr(kinds_network, "train", lambda *given, **more: train(*given, **more, save_every=0.0))
    monkeypatch.setattr(ClassTask, "loss", diverging)
    with pytest.raises(TrainingError):
        kinds_network.train_kinds(data, tmp_path / "out", recipe)
    assert calls == 3 and not (tmp_path / "out/kinds.pt").exists()
    results = kinds_network.train_kinds(data, tmp_path / "out", recipe)
    assert calls == 4 and results["steps"] == 3  # two steps were kept
    assert results["photos"] == {"trained": 10, "measured": 18} and list(results["iou"]) == list(CLASSES)
    assert 0 <= results["mean_iou"] == json.loads((tmp_path / "out/kinds.json").read_text())["mean_iou"] <= 1
    assert not kinds_network.load(tmp_path / "out").training
    again = kinds_network.train_kinds(data, tmp_path / "out", recipe)  # the state says that it is over
    assert calls == 4 and again["iou"] == results["iou"]
