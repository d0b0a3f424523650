"""Augmented squares: photo and mask move together, what is unknown stays unknown, and a seed decides everything."""

import numpy as np
import pytest
import torch
from PIL import Image

from interactify.learning import Drawing, LabelledPhoto, MaskTask, Stage
from interactify.learning.augment import GENTLE, STRONG, augmented_squares, recoloured
from interactify.learning.object_crops import ObjectCrops


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """A photo that is red exactly on its object, with a stripe that nobody knows."""
    folder = tmp_path_factory.mktemp("photos")
    image = np.zeros((120, 160, 3), np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[30:90, 40:110] = 1
    mask[90:96] = 255
    image[mask == 1] = (255, 0, 0)
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(mask).save(folder / "m.png")
    return Drawing([LabelledPhoto(folder / "a.png", folder / "m.png", "instances")])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("motion", [STRONG, GENTLE])
def test_photo_and_mask_move_together(drawing, motion):
    image, mask = augmented_squares(drawing, 6, 96, generator(), motion=motion, colours=0.0)
    assert image.shape == (6, 3, 96, 96)
    assert mask.shape == (6, 1, 96, 96)
    known = ~mask.isnan()
    red = image[:, :1]
    assert ((red - mask)[known].abs() > 0.4).float().mean() < 0.02
    assert 0.02 < (mask.nan_to_num() > 0.5).float().mean() < 0.7


def test_what_is_unknown_stays_unknown(drawing):
    _, mask = augmented_squares(drawing, 8, 96, generator(), colours=0.0)
    assert (mask.isnan().flatten(1).any(1)).all()
    assert mask.isnan().float().mean() < 0.25


def test_pasting_adds_objects(drawing):
    plain = augmented_squares(drawing, 8, 64, generator(), colours=0.0)[1]
    pasted = augmented_squares(drawing, 8, 64, generator(), colours=0.0, pasted=1.0)[1]
    assert pasted.nan_to_num().mean() > plain.nan_to_num().mean()
    assert pasted.isnan().sum() <= plain.isnan().sum()


def test_a_seed_decides_everything(drawing):
    first, second, other = (augmented_squares(drawing, 2, 64, generator(seed), pasted=0.5)[0] for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_colours_stay_in_range():
    image = torch.rand(8, 3, 16, 16, generator=generator())
    changed = recoloured(image, generator(), 1.0)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert torch.equal(recoloured(image, generator(), 0.0), image)


def test_stages_follow_each_other(drawing):
    task = MaskTask(drawing, [], (0.5,) * 3, (0.5,) * 3, stages=(Stage(0.5, 32), Stage(1.0, 64, GENTLE)))
    assert [task.draw(generator(), 2, done)[0].shape[-1] for done in (0.0, 0.49, 0.5, 1.0)] == [32, 32, 64, 64]
    assert -1 <= task.draw(generator(), 2, 0.0)[0].min() < 0


def test_crops_hold_their_object(drawing):
    (photo,) = drawing.photos
    for seed in range(20):
        image, truth = ObjectCrops(side=80).cut(photo, np.random.default_rng(seed))
        assert image.shape == (80, 80, 3)
        assert truth.shape == (80, 80)
        assert set(np.unique(truth)) <= {-1, 0, 1}
        inside = image[truth == 1]
        assert (inside[:, 0] > 128).mean() > 0.95
        assert (truth == 1).sum() > 80
        area = (truth == 1).mean()
        assert area > 0.1  # the margin is at most 2.6 sides, or the whole photo, of which it has a fifth


def test_a_photo_without_objects_gives_no_crop(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "m.png")
    photo = LabelledPhoto(tmp_path / "a.png", tmp_path / "m.png", "instances")
    assert ObjectCrops().cut(photo, np.random.default_rng(0)) is None
