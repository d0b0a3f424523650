"""Photos of any values: a stated range maps them to black and white, and nothing is changed without a word."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix

from interactify.errors import OptionError, PhotoError
from interactify.pictures.decode import read_photo
from interactify.pictures.picture import drawing_of, open_picture
from interactify.pictures.value_range import check_floats, checked_value_range
from interactify.pictures.window import Window, whole
from tests.fixtures.pictures import Sliced

RAMP = np.array([[-1200, -1000, -500, 0], [500, 1000, 1001, 3000]])
EXPECTED = torch.tensor([[0, 0, 0.25, 0.5], [0.75, 1, 1, 1]])
CT = (-1000, 1000)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_window_of_values_of_any_type(dtype, lazy):
    photo = RAMP.astype(dtype)
    opened = open_picture(Sliced(photo) if lazy else photo, channels=1, value_range=CT)
    assert torch.allclose(opened.read(whole(opened.size))[0], EXPECTED, rtol=0, atol=2e-7)
    assert opened.value_range == CT and opened.part(Window(0, 0, 1, 2)).value_range == CT
    if dtype is not np.longdouble:
        for given in (photo, torch.from_numpy(photo)):
            assert torch.allclose(read_photo(given, 1, value_range=CT)[0], EXPECTED, rtol=0, atol=2e-7)
    assert np.array_equal(drawing_of(photo, 1, CT)[..., 0], (EXPECTED * 255).round().numpy())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, bool])
def test_a_range_of_whole_numbers(dtype):
    photo = np.array([[0, 1, 50, 100]]).astype(dtype)
    expected = torch.tensor([[0, 0, 0.49, 0.99]]) if dtype is not bool else torch.zeros(1, 4)
    for given in (photo, torch.from_numpy(photo), Sliced(photo)):
        opened = open_picture(given, 1, value_range=(1, 101))
        assert torch.allclose(opened.read(whole(opened.size))[0], expected, rtol=0, atol=1e-6)


def test_twelve_bits_are_seen_as_they_were_meant(tmp_path):
    twelve = np.random.default_rng(0).integers(0, 4096, (8, 9, 3), dtype=np.uint16)
    expected = read_photo(twelve / 4095)
    assert torch.allclose(read_photo(twelve, value_range=(0, 4095)), expected, rtol=0, atol=1e-6)
    grey = twelve[..., 0]
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "wide.tif")
    for name in ("deep.png", "wide.tif"):
        read = read_photo(tmp_path / name, 1, value_range=(0, 4095))
        assert torch.allclose(read[0], torch.from_numpy(grey / 4095).float(), rtol=0, atol=1e-6)


def test_the_numbers_are_the_same_with_the_range_of_the_type():
    for photo, value_range in (
        (np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8), (0, 255)),
        (np.random.default_rng(0).integers(0, 65536, (8, 9, 4), dtype=np.uint16), (0, 65535)),
        (np.random.default_rng(0).random((8, 9, 3), np.float32), (0, 1)),
    ):
        assert torch.equal(read_photo(photo), read_photo(photo, value_range=value_range))


@pytest.mark.parametrize(
    "wrong", [5, (1,), (1, 2, 3), (2, 1), (1, 1), (0, np.inf), (np.nan, 1), ("a", "b"), "12", b"12", None.__class__]
)
def test_what_is_no_range_is_refused(wrong):
    with pytest.raises(OptionError, match=r"value_range as \(low, high\)"):
        open_picture(np.zeros((4, 4)), value_range=wrong)


def test_a_range_may_be_a_list_or_an_array():
    assert checked_value_range([0, 4095]) == checked_value_range(np.array([0, 4095])) == (0.0, 4095.0)


def test_a_picture_that_was_opened_with_another_range_is_refused():
    opened = open_picture(RAMP, 1, value_range=CT)
    assert open_picture(opened, 1) is opened is open_picture(opened, 1, value_range=CT)
    with pytest.raises(OptionError, match=r"value_range=\(0\.0, 9\.0\), got Picture.*from -1000 to 1000"):
        open_picture(opened, 1, value_range=(0, 9))


@pytest.mark.parametrize("value_range", [None, (0, 5)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused_whatever_the_range(value, value_range):
    photo = np.full((4, 4), value)
    for given in (photo, torch.from_numpy(photo)):
        with pytest.raises(PhotoError, match=r"NaN or infinity.*nan_to_num"):
            read_photo(given, value_range=value_range)
    with pytest.raises(PhotoError, match="NaN or infinity"):
        open_picture(Sliced(photo), value_range=value_range).read(Window(0, 0, 4, 4))


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.0, 1.02, r"photo\.clip\(0, 1\)"),
        (-0.05, 1.07, r"photo\.clip\(0, 1\)"),
        (-0.2, 0.9, r"photo\.clip\(0, 1\)"),
        (0.0, 200.0, "photo / 255"),
        (0.0, 3000.0, r"value_range=\(0, 4095\).*photo / 4095"),
        (0.0, 60000.0, "photo / 65535"),
        (-2.1, 2.6, "normalised already"),
        (-1024.0, 3071.0, r"Hounsfield's, try value_range=\(low, high\)"),
        (0.0, 1e9, r"value_range=\(low, high\)"),
    ],
)
def test_floats_out_of_range_get_the_advice_that_fits_them(low, high, says):
    with pytest.raises(PhotoError, match=says) as caught:
        check_floats(low, high, "a photo")
    assert high > 2 or "255" not in str(caught.value)  # divided by it, it would be black


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.full((4, 4), 3000, np.int16), r"value_range=\(0, 4095\)"),
        (np.full((4, 4), 200, np.int16), r"astype\(np\.uint8\)"),
        (np.full((4, 4), -1000, np.int16), r"value_range=\(low, high\).*Hounsfield"),
        (np.full((4, 4), 9, np.uint32), r"astype\(np\.uint8\)"),
        (np.full((4, 4), 10**6, np.uint32), r"value_range=\(low, high\)"),
        (Image.new("I", (4, 4), -1), r"value_range=\(low, high\)"),
        (Sliced(np.full((4, 4), 9, np.int16)), r"value_range=\(low, high\).*\(0, 4095\) for 12 bits"),
    ],
)
def test_whole_numbers_without_a_usual_range_are_refused_with_what_to_write(photo, says):
    with pytest.raises(PhotoError, match=says) as caught:
        open_picture(photo)
    if "Hounsfield" in says:
        assert "uint8)" not in str(caught.value)  # which would wrap around
    if isinstance(photo, np.ndarray):
        with pytest.raises(PhotoError, match=says.replace(r"astype\(np\.uint8\)", r"to\(torch\.uint8\)")):
            read_photo(torch.from_numpy(photo))


@pytest.mark.parametrize(("highest", "full"), [(200, 255), (1000, 1023), (4095, 4095), (10000, 16383)])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_photo_of_few_of_its_bits_has_a_note(highest, full, lazy):
    photo = np.full((8, 9), highest, np.uint16)
    opened = open_picture(Sliced(photo) if lazy else photo)
    if lazy:
        assert opened.dim_note() == ""  # nothing was read yet
    opened.read(Window(0, 0, 2, 2))
    assert f"value_range=(0, {full})" in opened.dim_note() == opened.part(Window(0, 0, 2, 2)).dim_note()
    assert open_picture(photo, value_range=(0, 65535)).dim_note() == ""


@pytest.mark.parametrize("photo", [np.zeros((4, 4), np.uint16), np.full((4, 4), 30000, np.uint16),
                                   np.full((4, 4), 9, np.uint8), np.full((4, 4), 0.01)])  # fmt: skip
def test_no_note_where_nothing_is_known_to_be_wrong(photo):
    assert open_picture(photo).dim_note() == ""


def test_colours_of_16_bits_of_which_pillow_reads_eight_are_refused_with_a_range(tmp_path):
    import cv2

    deep = np.full((4, 5, 3), 4000, np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert read_photo(tmp_path / "deep.png").shape == (3, 4, 5)
    with pytest.raises(PhotoError, match=r"deep\.png.*IMREAD_UNCHANGED"):
        read_photo(tmp_path / "deep.png", value_range=(0, 4095))
    read = cv2.imread(str(tmp_path / "deep.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]  # as the error says
    assert torch.allclose(read_photo(read, value_range=(0, 4000)), torch.ones(3, 4, 5))


def test_matrices_are_read_as_arrays():
    dense = np.eye(6, 7, dtype=np.uint8) * 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forms = [csr_matrix(dense).todense(), np.asmatrix(dense / 255)]
    for form in forms:
        assert torch.allclose(read_photo(form), read_photo(dense), rtol=0, atol=1e-6)
        opened = open_picture(form)
        assert torch.allclose(opened.read(whole(opened.size)), read_photo(dense), rtol=0, atol=1e-6)


def test_masked_pixels_are_refused_and_others_read():
    values = np.full((4, 5), 90, np.uint8)
    hidden = np.zeros((4, 5), bool)
    assert torch.equal(read_photo(np.ma.masked_array(values, hidden)), read_photo(values))
    hidden[1, 2] = True
    for photo in (np.ma.masked_array(values, hidden), np.ma.masked_invalid(np.where(hidden, np.nan, values / 255))):
        with pytest.raises(PhotoError, match=r"got 1 masked values .*photo\.filled\(0\)"):
            open_picture(photo)
        with pytest.raises(PhotoError, match="got 1 masked values"):  # as netCDF's variables are
            open_picture(Sliced(photo)).read(Window(0, 0, 4, 5))
        filled = read_photo(photo.filled(0))
        assert filled[0, 1, 2] == 0 and torch.allclose(filled[0, 0, 0], torch.tensor(90 / 255))
