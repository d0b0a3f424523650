"""Masks as they come: bool, 0 and 1, 0 and 255, matrices and masked arrays; all else says what to write."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array, csr_matrix

from interactify import Mask, draw, export
from interactify.errors import InteractionError, OptionError
from interactify.interactions.click import checked
from interactify.masks.arrays import checked_labels, checked_mask, checked_masks, checked_probability

CUP = np.zeros((6, 9), bool)
CUP[2:5, 3:8] = True


def matrix(values: np.ndarray) -> np.ndarray:
    """What SciPy's `todense` gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asmatrix(values)


SAME = {
    "bool": CUP,
    "0 and 1": CUP.astype(np.uint8),
    "0 and 255": CUP.astype(np.uint8) * 255,
    "matrix": matrix(CUP),
    "todense": csr_matrix(CUP.astype(np.uint8)).todense(),
    "nothing masked": np.ma.masked_array(CUP, mask=False),
    "no mask": np.ma.masked_array(CUP.astype(np.uint8) * 255),
}


@pytest.mark.parametrize("mask", SAME.values(), ids=SAME)
def test_every_form_of_a_mask_is_written_as_the_same_mask(tmp_path, mask):
    assert type(checked_mask(mask)) is np.ndarray and np.array_equal(checked_mask(mask), CUP)
    assert [np.array_equal(each, CUP) for each in checked_masks(mask)] == [True]
    with Image.open(export.write_mask(tmp_path / "m.png", mask)) as image:
        assert np.array_equal(np.asarray(image), CUP * 255)
    assert export.run_lengths(mask) == export.run_lengths(CUP)
    assert export.coco_annotation(mask) == export.coco_annotation(CUP)
    assert export.geojson(mask) == export.geojson(CUP) and export.yolo_lines(mask) == export.yolo_lines(CUP)
    assert np.array_equal(export.label_map(mask), CUP)
    assert np.array_equal(checked(Mask(mask), CUP.shape).mask, CUP)
    photo = np.full((6, 9, 3), 90, np.uint8)
    assert np.array_equal(draw.overlay(photo, mask), draw.overlay(photo, CUP))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_mask_of_one_value_is_empty_or_full(value):
    assert (checked_mask(np.full((2, 3), value, np.uint8)) == bool(value)).all()


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.array([[0, 1, 255]], np.uint8), r"mask > 127, or mask == label"),
        (np.array([[0, 3]], np.uint8), r"mask == label"),
        (np.array([[0, 1]]), r"Try mask > 0\."),
        (np.array([[0.2, 1.0]]), r"Try mask > 0\.5"),
        (csr_array(CUP), r"mask\.toarray\(\)"),
        (np.ma.masked_array(CUP, mask=CUP), r"without masked pixels, got 15 .* mask\.filled\(0\)"),
    ],
)
def test_any_other_mask_is_refused_with_what_to_write(tmp_path, mask, says):
    for use in (export.run_lengths, export.polygons, lambda mask: export.write_mask(tmp_path / "m.png", mask)):
        with pytest.raises(OptionError, match=says):
            use(mask)
    assert not list(tmp_path.iterdir())


def test_masked_pixels_of_labels_probabilities_and_first_masks_are_refused():
    hidden = np.ma.masked_array(np.zeros((2, 2), np.uint8), mask=[[True, False], [False, False]])
    for check in (checked_labels, lambda values: checked_probability(values / 9.0)):
        with pytest.raises(OptionError, match="got 1 masked values"):
            check(hidden)
    with pytest.raises(InteractionError, match="got 1 masked values"):
        checked(Mask(hidden), (2, 2))
    with pytest.raises(InteractionError, match="got 1 masked values"):
        Mask(hidden).to_json()


@pytest.mark.parametrize(
    ("write", "content"),
    [
        (export.write_mask, CUP),
        (export.write_labels, CUP.astype(int)),
        (export.write_probability_png, CUP.astype(float)),
        (export.write_picture, np.zeros((6, 9, 3), np.uint8)),
    ],
)
@pytest.mark.parametrize("name", ["m.jpg", "m.TIFF", "m.npy", "m.json"])
def test_no_png_is_written_under_the_name_of_another_format(tmp_path, write, content, name):
    with pytest.raises(OptionError, match=r"ends in \.png.*m\.png"):
        write(tmp_path / name, content)
    with pytest.raises(OptionError, match=r"ends in \.png"):  # before anything else is looked at
        write(tmp_path / name, None)
    assert not list(tmp_path.iterdir())
    for good in ("m.png", "m.PNG", "plain", "cup.of.tea"):
        assert write(tmp_path / good, content).read_bytes()[1:4] == b"PNG"


def test_no_npy_is_written_under_the_name_of_a_picture(tmp_path):
    with pytest.raises(OptionError, match=r"ends in \.npy.*p\.npy"):
        export.write_probability_npy(tmp_path / "p.png", CUP.astype(float))
    assert not list(tmp_path.iterdir())
