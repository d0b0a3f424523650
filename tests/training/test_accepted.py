"""Accepted masks in every layout that this library writes, and what they mean to a network."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import interactify
from interactify.cli import main
from interactify.errors import CheckpointError, OptionError, PhotoError
from interactify.training.accepted import accepted_in, as_files, labels_of_mask
from tests.fixtures.red_photos import network, red_photo, wrapped, write_pairs


@pytest.fixture(scope="module")
def one():
    return wrapped()


@pytest.fixture(scope="module")
def three():
    return wrapped(3)


def write_photos(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(red_photo(number)[0]).save(folder / f"{number}.png")
    return folder


def inside(k):
    """A pixel (x, y) in the middle of a block of photo 0."""
    return tuple(int(np.median(each)) for each in np.nonzero(red_photo(0)[1] == k)[::-1])


def test_images_and_masks(tmp_path, one, three):
    found = accepted_in(write_pairs(tmp_path / "one", 2), one)
    assert [each.name for each in found] == ["0", "1"]
    assert all((each.read() == (red_photo(k)[1] == 1)).all() for k, each in enumerate(found))
    several = accepted_in(write_pairs(tmp_path / "three", 2, several=True), three)
    assert all((each.read() == red_photo(k)[1]).all() for k, each in enumerate(several))


def test_a_map_of_objects_is_one_object_to_a_network_of_one_class(tmp_path, one):
    (found,) = accepted_in(write_pairs(tmp_path, 1, several=True), one)
    assert (found.read() == (red_photo(0)[1] > 0)).all()


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        ([0, 255], 2, [0, 1]),
        ([0, 1, 255], 2, [0, 1, 255]),
        ([0, 11, 255], 12, [0, 11, 255]),
        ([0, 1], 1, [0, 1]),
    ],
)
def test_values_of_masks(tmp_path, values, classes, labels):
    assert labels_of_mask(np.array([values]), classes, tmp_path).tolist() == [labels]


def test_a_class_that_the_network_lacks_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"0 to 2.*with 3, 7\."):
        labels_of_mask(np.array([[0, 3, 7, 255]]), 3, tmp_path / "mask.png")


def test_labels_are_written_once_under_names_of_their_own(tmp_path, one):
    folder = write_pairs(tmp_path, 2)
    for part in ("images", "masks"):
        (folder / f"{part}/0.png").rename(folder / f"{part}/a b.png")
        (folder / f"{part}/1.png").rename(folder / f"{part}/a-b.png")
    labelled = as_files(accepted_in(folder, one), tmp_path / "labels")
    assert len({photo.mask for photo in labelled}) == 2
    for photo in labelled:
        assert (photo.read_labels() == (np.asarray(Image.open(folder / "masks" / photo.image.name)) > 0)).all()


def test_what_the_command_segment_writes_beside_photos(tmp_path, one):
    folder = write_photos(tmp_path / "photos", 3)
    mask = np.zeros((48, 64), bool)
    mask[5:9] = True
    interactify.export.write_mask(folder / "1-mask.png", mask)
    shutil.copy(folder / "1.png", folder / "1-overlay.png")
    (found,) = accepted_in(folder, one)
    assert found.photo.name == "1.png" and (found.read() == mask).all()
    words = ["--model", "tests.fixtures.red_photos:network", "--mean", "0.5", "--std", "0.5"]
    assert main(["segment", str(folder / "0.png"), "--out", str(folder), *words]) == 0
    assert [each.name for each in accepted_in(folder, one)] == ["0", "1"]


def test_sessions_beside_their_photos(tmp_path, one, three):
    folder = write_photos(tmp_path, 2)
    session = one.session(folder / "0.png")
    session.click(*inside(2), False)
    session.add_object("second")
    session.click(*inside(1))
    session.save(folder / "0.npz")
    (found,) = accepted_in(folder, one)
    union = session.result_of("second").mask | session.result_of(session.objects[0]).mask
    assert (found.read() == union).all() and union.any()
    of_classes = three.session(folder / "0.png")
    of_classes.click(*inside(1), label=1)
    of_classes.save(folder / "0.npz")
    (found,) = accepted_in(folder, three)
    assert (found.read() == of_classes.class_map()).all() and found.read()[inside(1)[::-1]] == 1
    with pytest.raises(CheckpointError, match="images/ and masks/ always work"):
        accepted_in(folder, one)[0].read()


def test_objects_of_a_session_lie_over_its_classes(tmp_path, three):
    folder = write_photos(tmp_path, 1)
    session = three.session(folder / "0.png")
    session.click(*inside(1), label=1)
    session.add_object("other", target=2)
    session.click(*inside(2))
    session.save(folder / "0.npz")
    labels = accepted_in(folder, three)[0].read()
    assert [labels[inside(k)[::-1]] for k in (1, 2)] == [1, 2]


@pytest.fixture
def page(tmp_path):
    """The folder of the page, with one photo done, one open and one skipped."""
    photos = write_photos(tmp_path / "photos", 3)
    out = photos / "interactify-out"
    for key in "01":
        (out / "masks" / key).mkdir(parents=True)
        for number in (1, 2):
            mask = red_photo(int(key))[1] == number
            interactify.export.write_mask(out / "masks" / key / f"{number}-object.png", mask)
    status = {"0": "done", "1": "open", "2": "skipped"}
    stored = {f"{k}.png": {"key": k, "status": each, "said": 1} for k, each in status.items()}
    (out / "project.json").write_text(json.dumps({"interactify": 1, "photos": stored}))
    return out


def test_photos_that_are_done_in_the_page(page, one, three, tmp_path):
    for folder in (page, page.parent):
        (found,) = accepted_in(folder, one)
        assert found.photo == page.parent / "0.png"
        assert (found.read() == (red_photo(0)[1] > 0)).all()  # all objects together
    assert accepted_in(page, three) == []  # masks of objects are no map of classes
    (page / "classes").mkdir()
    interactify.export.write_labels(page / "classes/0.png", red_photo(0)[1])
    (found,) = accepted_in(page, three)
    assert (found.read() == red_photo(0)[1]).all()


def test_a_page_whose_photos_lie_elsewhere(page, one, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (page.parent / "0.png").rename(elsewhere / "0.png")
    with pytest.raises(PhotoError, match="--photos"):
        accepted_in(page, one)
    assert accepted_in(page, one, elsewhere)[0].photo == elsewhere / "0.png"


def test_folders_of_no_known_layout_are_refused(tmp_path, one, page):
    with pytest.raises(OptionError, match="no folder"):
        accepted_in(tmp_path / "absent", one)
    with pytest.raises(OptionError, match=r"images/ and masks/.*interactify app"):
        accepted_in(tmp_path, one)
    (page / "project.json").write_text("[]")
    with pytest.raises(OptionError, match="something else"):
        accepted_in(page, one)
    (page / "project.json").unlink()
    write_pairs(tmp_path / "broken", 1)
    (tmp_path / "broken/masks/0.png").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=r"0\.png"):
        accepted_in(tmp_path / "broken", one)[0].read()


def test_a_session_of_a_network_that_has_learned_since_is_refused(tmp_path, one):
    folder = write_photos(tmp_path, 1)
    one.session(folder / "0.png").save(folder / "0.npz")
    other = network()
    other[3].bias.data += 1
    with pytest.raises(CheckpointError, match="other weights"):
        accepted_in(folder, interactify.wrap(other, mean=0.5, std=0.5))[0].read()
