"""Photos with masks on disk: what the values of each kind of mask mean, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from interactify.errors import OptionError, PhotoError
from interactify.learning import Drawing, LabelledPhoto, photos_in
from interactify.learning.labelled_photos import as_square


def write(folder, name, mask, size=None):
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    height, width = size or mask.shape
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(folder / f"images/{name}.jpg")
    Image.fromarray(mask.astype(np.uint8)).save(folder / f"masks/{name}.png")


@pytest.mark.parametrize(
    ("values", "mask", "labels"),
    [
        ("object", [0, 128, 255], [0, 255, 1]),
        ("object", [0, 1, 1], [0, 1, 1]),
        ("instances", [0, 7, 255], [0, 7, 255]),
        ("classes", [0, 11, 255], [0, 11, 255]),
    ],
)
def test_values_of_masks(tmp_path, values, mask, labels):
    write(tmp_path, "a", np.array([mask, mask]))
    (photo,) = photos_in(tmp_path, values)
    image, read = photo.read()
    assert image.shape == (2, 3, 3)
    assert read[0].tolist() == labels


@pytest.mark.parametrize(
    ("masks", "values"),
    [
        ([[0, 255]], "object"),
        ([[0, 128, 255]], "object"),
        ([[0, 0], [0, 3]], "instances"),
        ([[0, 7, 255]], "instances"),
    ],
)
def test_what_values_mean_is_found(tmp_path, masks, values):
    for k, mask in enumerate(masks):
        write(tmp_path, str(k), np.array([mask, mask]))
    assert {photo.values for photo in photos_in(tmp_path)} == {values}


def test_a_large_photo_is_shrunk_with_its_mask(tmp_path):
    mask = np.zeros((200, 400), np.uint8)
    mask[:, 200:] = 255
    write(tmp_path, "a", mask)
    image, labels = photos_in(tmp_path)[0].read(100)
    assert image.shape == (50, 100, 3)
    assert labels.shape == (50, 100)
    assert labels[:, :50].max() == 0
    assert labels[:, 50:].min() == 1


def test_a_mask_of_another_size_is_refused(tmp_path):
    write(tmp_path, "a", np.zeros((5, 7)), size=(5, 8))
    with pytest.raises(PhotoError, match="8 wide and 5 high"):
        photos_in(tmp_path)[0].read()


def test_a_damaged_photo_is_refused(tmp_path):
    write(tmp_path, "a", np.zeros((5, 7)))
    (tmp_path / "images/a.jpg").write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"a\.jpg"):
        photos_in(tmp_path)[0].read()


def test_folders_without_photos_are_refused(tmp_path):
    with pytest.raises(OptionError, match="images/ and masks/"):
        photos_in(tmp_path)
    write(tmp_path, "a", np.zeros((5, 7)))
    with pytest.raises(OptionError, match="got none"):
        photos_in(tmp_path, stems=["b"])


def test_photos_without_masks_are_left_out(tmp_path):
    for name in "ab":
        write(tmp_path, name, np.zeros((5, 7)))
    (tmp_path / "masks/a.png").unlink()
    assert [photo.image.stem for photo in photos_in(tmp_path)] == ["b"]


def test_each_photo_is_drawn_as_often_as_its_weight_says(tmp_path):
    photos = [LabelledPhoto(tmp_path / "a", tmp_path / "a", weight=3.0), LabelledPhoto(tmp_path / "b", tmp_path / "b")]
    drawn = list(Drawing(photos).draw(2000, torch.Generator().manual_seed(0)))
    assert 0.71 < sum(photo is photos[0] for photo in drawn) / 2000 < 0.79


def test_a_square_keeps_labels_whole():
    labels = np.zeros((40, 80), np.uint8)
    labels[:, 40:] = 9
    image, small = as_square(np.zeros((40, 80, 3), np.uint8), labels, 16)
    assert image.shape == (3, 16, 16)
    assert sorted(set(small.flatten().tolist())) == [0, 9]
