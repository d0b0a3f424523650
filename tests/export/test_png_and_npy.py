"""Files: the contents of PNG and npy, and that a file is written whole or not at all."""

from __future__ import annotations

import os
import pkgutil

import numpy as np
import pytest
from PIL import Image

from interactify import export
from interactify.errors import OptionError


def test_a_mask_file_holds_255_where_the_object_is(tmp_path):
    mask = np.random.default_rng(0).random((13, 7)) < 0.5
    with Image.open(export.write_mask(tmp_path / "m.png", mask)) as image:
        assert (image.mode, image.format) == ("L", "PNG")
        assert np.array_equal(np.asarray(image), np.where(mask, 255, 0))


def test_a_picture_file_holds_the_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (13, 7, 3), dtype=np.uint8)
    with Image.open(export.write_picture(tmp_path / "p.png", picture)) as image:
        assert np.array_equal(np.asarray(image), picture)


def test_up_to_255_labels_have_the_palette_of_voc(tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (13, 70))
    with Image.open(export.write_labels(tmp_path / "l.png", labels)) as image:
        assert (image.mode, image.format) == ("P", "PNG")
        assert np.array_equal(np.asarray(image), labels)
        assert np.array_equal(np.asarray(image.convert("RGB")), export.voc_palette()[labels])


def test_few_labels_are_eight_bits_too(tmp_path):
    path = export.write_labels(tmp_path / "l.png", np.eye(3, dtype=np.int64))
    assert path.read_bytes()[24:26] == bytes([8, 3])  # IHDR: depth, and colours by palette


def test_more_labels_are_sixteen_bits(tmp_path):
    labels = np.array([[0, 1, 255], [256, 4660, 65535]], np.int32)
    path = export.write_labels(tmp_path / "l.png", labels)
    assert path.read_bytes()[24:26] == bytes([16, 0])  # IHDR: depth, and grey
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), labels)


def test_the_palette_is_vocs():
    # The table of VOC's development kit: aeroplane, bicycle, …, tv monitor, and the void.
    voc = "000000 800000 008000 808000 000080 800080 008080 808080 400000 c00000 408000 c08000"
    voc += " 400080 c00080 408080 c08080 004000 804000 00c000 80c000 004080"
    colours = [colour.tobytes().hex() for colour in export.voc_palette()]
    assert colours[:21] == voc.split() and colours[255] == "e0e0c0"
    assert len(set(colours)) == 256


def test_masks_become_labels(tmp_path):
    one, two = np.tri(4, dtype=bool), np.eye(4, dtype=bool)
    labels = export.label_map([one, two])
    assert labels.dtype == np.uint8
    assert np.array_equal(labels == 2, two) and np.array_equal(labels == 1, one & ~two)
    many = export.label_map(np.eye(300, dtype=bool)[:, None, :])
    assert many.dtype == np.uint16 and np.array_equal(many[0], np.arange(1, 301))
    for wrong in ([], [one, two[:3]], [one.astype(int)], 3):
        with pytest.raises(OptionError, match="Expected"):
            export.label_map(wrong)


def test_probabilities_in_sixteen_bits(tmp_path):
    probability = np.random.default_rng(0).random((13, 7)).astype(np.float32)
    probability[0, :3] = 0, 0.5, 1
    path = export.write_probability_png(tmp_path / "p.png", probability)
    assert path.read_bytes()[24:26] == bytes([16, 0])  # IHDR: depth, and grey
    with Image.open(path) as image:
        values = np.asarray(image)
    assert (values[0, 0], values[0, 2]) == (0, 65535)
    assert abs(values / 65535 - probability).max() <= 0.5 / 65535 + 1e-9


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_as_npy(tmp_path, dtype):
    probability = np.random.default_rng(0).random((13, 7)).astype(dtype)
    path = export.write_probability_npy(tmp_path / "p.of.npy", probability.T)
    assert path.name == "p.of.npy"
    read = np.load(path)
    assert read.dtype == np.float32 and np.array_equal(read, probability.T.astype(np.float32))


@pytest.mark.parametrize("write", [export.write_probability_png, export.write_probability_npy])
def test_invalid_probabilities(tmp_path, write):
    good = np.full((3, 3), 0.5)
    outside, nan = good.copy(), good.copy()
    outside[1, 1], nan[1, 1] = 1.5, np.nan
    for wrong in (outside, -good, nan, good > 0, good.astype(int), good[0], good[:0], [[0.5]]):
        with pytest.raises(OptionError, match="Expected probabilities"):
            write(tmp_path / "p", wrong)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "wrong", [np.eye(3), np.eye(3, dtype=bool), np.array([[-1]]), np.array([[65536]]), np.arange(3), [[1]]]
)
def test_invalid_labels(tmp_path, wrong):
    with pytest.raises(OptionError, match="Expected labels"):
        export.write_labels(tmp_path / "l.png", wrong)
    assert not os.listdir(tmp_path)


CUP = np.eye(3, dtype=bool)
WRITERS = {
    "mask": lambda path: export.write_mask(path, CUP),
    "labels": lambda path: export.write_labels(path, CUP.astype(int)),
    "png": lambda path: export.write_probability_png(path, CUP.astype(float)),
    "npy": lambda path: export.write_probability_npy(path, CUP.astype(float)),
    "rle": lambda path: export.write_rle(path, CUP),
    "coco": lambda path: export.write_coco(path, [export.CocoPhoto("a.png", CUP)]),
    "geojson": lambda path: export.write_geojson(path, CUP),
    "yolo": lambda path: export.write_yolo(path, CUP),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_writer_replaces_its_file_in_one_step_or_leaves_it(tmp_path, monkeypatch, write):
    path = tmp_path / "file"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        with pytest.raises(OptionError, match="No space left"):
            write(path)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["file"]
    assert write(str(path)) == path
    assert path.read_bytes() != b"before" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(OptionError, match="nowhere"):
        write(tmp_path / "nowhere" / "file")


@pytest.mark.parametrize("name", export.__all__)
def test_every_public_name_is_there(name):
    assert getattr(export, name).__doc__


def test_no_module_has_a_public_name():
    """Importing it would put the module in the place of the function that is loaded at its first use."""
    modules = {each.name for each in pkgutil.iter_modules(export.__path__)}
    assert "coco" in modules and not modules & set(export.__all__)


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "m.png"
    export.write_mask(path, np.zeros((4, 4), bool))
    export.write_mask(path, np.ones((4, 4), bool))
    assert np.asarray(Image.open(path)).min() == 255
    assert os.listdir(tmp_path) == ["m.png"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.png"
    export.write_mask(path, np.zeros((4, 4), bool))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OptionError, match="No space left"):
        export.write_mask(path, np.ones((4, 4), bool))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.png"]


def test_others_may_read_the_file_as_far_as_the_umask_allows(tmp_path):
    (tmp_path / "plain").touch()
    path = export.write_mask(tmp_path / "m.png", np.zeros((4, 4), bool))
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folders_are_created(tmp_path):
    folder = export.prepare_folder(tmp_path / "a" / "b")
    assert folder.is_dir() and not os.listdir(folder)


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "taken").touch()
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(OptionError, match="taken"):
            export.prepare_folder(path)


def test_a_folder_without_the_right_to_write(tmp_path):
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(OptionError, match="Permission denied"):
            export.prepare_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.eye(3, dtype=np.uint8) * 2, np.zeros((0, 3), bool), [[True]]])
def test_an_invalid_mask_is_refused_before_a_file_is_touched(tmp_path, wrong):
    with pytest.raises(OptionError, match="Expected a mask"):
        export.write_mask(tmp_path / "m.png", wrong)
    assert not os.listdir(tmp_path)


def test_an_invalid_picture_is_refused(tmp_path):
    with pytest.raises(OptionError, match="Expected a picture"):
        export.write_picture(tmp_path / "p.png", np.zeros((3, 3), np.uint8))
