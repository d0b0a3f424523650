"""A picture gives the very numbers that the whole photo would, wherever it lies, and never reads it as a whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from interactify.errors import OptionError, PhotoError
from interactify.pictures import digests as fingerprints
from interactify.pictures import picture
from interactify.pictures import sources as stored
from interactify.pictures.decode import read_photo, to_uint8
from interactify.pictures.digests import tensors_digest
from interactify.pictures.picture import open_picture
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, whole
from tests.fixtures.pictures import COLOURS, DEEP, FLOATS, FORMS, GREY, Sliced, first, in_file, in_memmap, in_zarr

PART = Window(5, 7, 20, 31)


@pytest.fixture
def little(monkeypatch):
    """Everything counts as large, and is read and worked out in little pieces."""
    monkeypatch.setattr(picture, "SMALL", 0)
    monkeypatch.setattr(picture, "_STRIP", 4000)
    monkeypatch.setattr(stored, "BLOCK", 2000)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_window_equals_that_part_of_the_photo(tmp_path, little, form, channels):
    make, same = FORMS[form]
    opened, expected = open_picture(make(tmp_path), channels), read_photo(same, channels)
    assert opened.size == expected.shape[1:] and opened.channels == channels
    height, width = opened.size
    for window in (whole(opened.size), Window(5, 7, height - 8, width - 10), Window(height - 1, width - 1, 1, 1)):
        rows, columns = window.slices
        read = opened.read(window)
        assert read.dtype == torch.float32 and read.is_contiguous() and not read.requires_grad
        assert torch.equal(read, expected[:, rows, columns])
        assert np.array_equal(opened.uint8(window), to_uint8(expected[:, rows, columns]))
        part = opened.part(window)
        assert torch.equal(part.read(whole(part.size)), read) and part.size == read.shape[1:]
    assert np.array_equal(opened.uint8(), to_uint8(expected))


@pytest.mark.parametrize("make", [lambda a: a, first, Sliced], ids=["array", "tensor", "sliced"])
def test_other_numbers_of_channels_are_read_as_they_are(make):
    bands = np.random.default_rng(3).random((9, 8, 5)).astype(np.float32)
    assert torch.equal(open_picture(make(bands), 5).read(Window(2, 1, 4, 6)), first(bands)[:, 2:6, 1:7])
    with pytest.raises(PhotoError, match=r"\(H, W, 3\)|\(3, H, W\)"):
        open_picture(make(bands), 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_photo_in_memory_is_copied_in_its_own_type(dtype):
    photo = np.zeros((400, 500, 3), dtype)
    tracemalloc.start()
    opened = open_picture(photo)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert photo.nbytes <= held <= peak < 1.1 * photo.nbytes
    photo[...] = 1  # whoever gave it may go on with it
    opened.read(whole(opened.size)).fill_(1)
    opened.uint8()[...] = 1
    assert not opened.read(whole(opened.size)).any()


def test_small_digests_are_those_of_earlier_versions(tmp_path):
    known = "d1cfd500ca9036a67145190debbf6005bfb7ff82754abb86b2db15160d114828"
    ramp = np.arange(30 * 40 * 3).reshape(30, 40, 3).astype(np.uint8)
    assert tensors_digest([read_photo(ramp)]) == known
    for source in (ramp, first(ramp), in_file(ramp)(tmp_path), Sliced(ramp), (ramp / 255).astype(np.float32)):
        assert open_picture(source).digest() == known


def test_one_number_has_the_same_digest_whatever_its_stride():
    number = torch.tensor([0.25, 0.5])
    assert tensors_digest([number.as_strided((1,), (0,))]) == tensors_digest([number[:1]])


def test_a_large_photo_has_one_digest_in_every_place(little, tmp_path):
    sources = [COLOURS, first(COLOURS), in_file(COLOURS)(tmp_path), in_memmap(COLOURS)(tmp_path)]
    sources += [Sliced(COLOURS, (16, 16)), in_zarr(COLOURS)(tmp_path)]
    assert len({open_picture(source).digest() for source in sources}) == 1
    floats = [FLOATS, first(FLOATS), Sliced(FLOATS)]
    assert len({open_picture(source).digest() for source in floats}) == 1
    other = COLOURS.copy()
    other[20, 30, 1] ^= 1
    others = [other, COLOURS[:-1], COLOURS[:, ::-1], COLOURS.reshape(53, 37, 3), DEEP, GREY, FLOATS, COLOURS]
    assert len({open_picture(source).digest() for source in others}) == len(others)


def test_of_a_very_large_array_a_sample_is_hashed(monkeypatch):
    monkeypatch.setattr(picture, "SMALL", 0)
    monkeypatch.setattr(fingerprints, "_SAMPLED", 0)
    photo = np.zeros((3000, 2000, 3), np.uint8)
    array = Sliced(photo)
    before = open_picture(array).digest()
    assert len(array.windows) == 64 and {(w.height, w.width) for w in array.windows} == {(64, 64)}
    for row, column in ((0, 0), (2999, 1999), (2999, 0)):
        photo[row, column] = 1
        assert open_picture(array).digest() != before
        photo[row, column] = 0
    assert open_picture(array).digest() == before != open_picture(Sliced(photo[:-1])).digest()
    assert open_picture(Sliced(photo[:5, :3])).digest() == open_picture(Sliced(photo[:5, :3].copy())).digest()


def test_an_array_that_changes_has_another_digest_and_a_held_photo_the_same():
    photo = COLOURS.copy()
    lazy, held = open_picture(Sliced(photo)), open_picture(photo)
    before = lazy.digest()
    assert held.digest() == before
    photo[0, 0] ^= 255
    assert lazy.digest() != before == held.digest()


def test_values_are_checked_where_they_are_read():
    photo = FLOATS.clip(0, 1)
    photo[30, 50] = np.nan
    photo[31, 51] = 200
    lazy = open_picture(Sliced(photo))
    assert torch.equal(lazy.read(PART), first(photo)[:, 5:25, 7:38].float())
    for window, says in ((whole(lazy.size), "NaN"), (Window(31, 51, 1, 1), r"photo / 255")):
        with pytest.raises(PhotoError, match=says):
            lazy.read(window)
        with pytest.raises(PhotoError, match=says):
            lazy.uint8(window)
    with pytest.raises(PhotoError, match="NaN"):
        open_picture(photo)  # what is copied is checked at once
    with pytest.raises(PhotoError, match="1e\\+300"):
        open_picture(Sliced(np.full((4, 4), 1e300))).read(Window(0, 0, 4, 4))


def test_an_arrays_own_error_is_reported_with_its_cause():
    class Broken(Sliced):
        def __getitem__(self, index):
            raise self.problem

    array = Broken(COLOURS)
    array.problem = OSError("the disk is gone")
    with pytest.raises(PhotoError, match=r"Rows 5 to 25 and columns 7 to 38 .*the disk is gone") as caught:
        open_picture(array).read(PART)
    assert caught.value.__cause__ is array.problem
    array.problem = MemoryError()
    with pytest.raises(MemoryError):  # the session has its own words for it
        open_picture(array).read(PART)


@pytest.mark.parametrize("gives", [lambda a: a[:-1], lambda a: a / 255, lambda a: "words", lambda a: a[0, 0, 0]])
def test_an_array_that_slices_otherwise_is_refused(gives):
    class Odd(Sliced):
        def __getitem__(self, index):
            return gives(self.array[index])

    with pytest.raises(PhotoError, match="slices as NumPy's do"):
        open_picture(Odd(COLOURS)).read(PART)


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (Sliced(np.zeros((3, 40, 50), np.uint8)), "channels come first"),
        (Sliced(np.zeros((40, 50, 2), np.uint8)), r"\(40, 50, 2\)"),
        (Sliced(np.zeros((1, 4, 5, 3), np.uint8)), "batch of one"),
        (Sliced(np.zeros((0, 5), np.uint8)), "no pixels"),
        (Sliced(np.zeros((4, 5), np.int64)), "astype"),
        (Sliced(np.zeros((4, 5), object)), "object"),
        (np.float32(1), r"shape \(\)"),
        (np.ndarray, "shape and dtype"),
        (type("Unsure", (), {"shape": (float("nan"), 4), "dtype": np.uint8, "__getitem__": 0})(), "shape and dtype"),
        (type("Closed", (), {"shape": property(lambda self: 1 / 0)})(), "division by zero"),
        ([[0.0]], "list"),
        (None, "NoneType"),
        ("absent.png", "does not exist"),
    ],
)
def test_what_is_no_picture_is_a_clear_error(photo, says):
    with pytest.raises(PhotoError, match=says) as caught:
        open_picture(photo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 38, 5), (0, 49, 5, 5), (0, 0, 0, 5), (40, 60, 1, 1)])
def test_a_window_has_to_lie_within_the_picture(window):
    opened, window = open_picture(COLOURS), Window(*window)
    view = View((window.height, window.width), (5, 5), (64, 64))
    for ask in (opened.read, opened.uint8, opened.part, lambda asked: opened.to_network(asked, view)):
        with pytest.raises(PhotoError, match="within 53 x 37"):
            ask(window)


def test_pictures_views_and_channels_have_to_fit():
    opened = open_picture(COLOURS)
    assert open_picture(opened) is opened
    with pytest.raises(OptionError, match="Expected a picture of 1 channels"):
        open_picture(opened, 1)
    with pytest.raises(OptionError, match="channels as a whole number"):
        open_picture(COLOURS, True)
    with pytest.raises(PhotoError, match=r"View\.fit"):
        opened.to_network(PART, View.fit((20, 30)))
