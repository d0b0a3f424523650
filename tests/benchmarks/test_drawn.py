"""Networks trained on drawn pictures: the pictures, their exact masks, and a training that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import nn

from benchmarks import one_scale, thin_trees
from benchmarks.drawn_training import DrawnNetwork, DrawnTask, SmallUNet, drawn_samples, train_drawn
from interactify.errors import CheckpointError
from interactify.learning import Recipe

DRAWERS = {**thin_trees.NETWORK.drawers, **one_scale.NETWORK.drawers}


@pytest.mark.parametrize("name", DRAWERS)
def test_pictures_are_the_same_for_the_same_name_and_differ_otherwise(name: str) -> None:
    one, other = drawn_samples(name, DRAWERS[name], 2)
    again = drawn_samples(name, DRAWERS[name], 1)[0]
    assert np.array_equal(one.photo, again.photo) and np.array_equal(one.truth, again.truth)
    assert not np.array_equal(one.truth, other.truth)
    assert 0.005 < (one.truth == 1).mean() < 0.3


@pytest.mark.parametrize("name", DRAWERS)
def test_objects_are_where_the_picture_differs(name: str) -> None:
    photo, mask = DRAWERS[name](np.random.default_rng(0))
    light = photo.astype(float).mean(2)
    darker = light[~mask].mean() - light[mask].mean()
    assert darker > 4 if "trees" in name else darker < -4


def test_vessels_are_thin_and_forks_keep_murrays_law() -> None:
    mask = thin_trees.coverage(np.random.default_rng(3), 128) >= 0.5
    assert 0 < distance_transform_edt(mask).max() < 8  # pixels from the middle of the widest vessels to their edge
    radii = [radius for _, _, radius in thin_trees.grown(np.random.default_rng(3), (64, 64), 0.0, 3.0, 128)]
    assert radii[0] == 3.0 and min(radii) < 1.0 and max(radii) == 3.0


def test_batches_are_normalised_and_have_masks_of_zeros_and_ones() -> None:
    task = DrawnTask(one_scale.draw_shapes, ())
    image, mask = task.draw(torch.Generator().manual_seed(0), 2, 0.0)
    assert image.shape == (2, 3, 128, 128) and mask.shape == (2, 1, 128, 128)
    assert set(mask.unique().tolist()) == {0.0, 1.0} and -2 <= image.min() < image.max() <= 2
    again, _ = task.draw(torch.Generator().manual_seed(0), 2, 0.0)
    assert torch.equal(image, again)
    logits = SmallUNet(nn.BatchNorm2d, (2, 3, 4, 5))(image)
    assert logits.shape == mask.shape


def test_a_training_is_kept_read_again_and_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    tiny = DrawnNetwork(
        "tiny",
        lambda: SmallUNet(nn.BatchNorm2d, (2, 2, 2, 2)),
        {"in": partial(thin_trees.draw_trees, side=32), "out": partial(thin_trees.draw_trees, shifted=True, side=32)},
        Recipe(minutes=1, batch=1),
        "benchmarks.tiny",
    )
    with pytest.raises(CheckpointError, match=r"python -m benchmarks\.tiny"):
        tiny.load(tmp_path)
    recipe = replace(tiny.recipe, minutes=None, steps=2, precision="float32")
    results = train_drawn(tiny, tmp_path, recipe)
    assert set(results["iou"]) == {"in", "out"} and results["steps"] == 2  # type: ignore[call-overload]
    assert json.loads((tmp_path / "tiny.json").read_text())["steps"] == 2
    loaded = tiny.load(tmp_path)
    assert not loaded.training
    again = train_drawn(tiny, tmp_path, recipe)  # the state says that it is over
    assert again["steps"] == 2 and again["iou"] == results["iou"]
