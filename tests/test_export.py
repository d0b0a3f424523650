"""Files: what a mask PNG holds, and that a file is there whole or not at all."""

from __future__ import annotations

import os

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


def test_others_may_read_the_file_as_far_as_the_umask_lets_them(tmp_path):
    (tmp_path / "plain").touch()
    path = export.write_mask(tmp_path / "m.png", np.zeros((4, 4), bool))
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folders_are_made(tmp_path):
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


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.zeros((3, 3), np.uint8), np.zeros((0, 3), bool), [[True]]])
def test_what_is_no_mask_is_refused_before_a_file_is_touched(tmp_path, wrong):
    with pytest.raises(OptionError, match="Expected a mask"):
        export.write_mask(tmp_path / "m.png", wrong)
    assert not os.listdir(tmp_path)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(OptionError, match="Expected a picture"):
        export.write_picture(tmp_path / "p.png", np.zeros((3, 3), np.uint8))
