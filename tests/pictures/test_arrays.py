"""Photos without torch: the same colours, to the bit, as by way of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from interactify.pictures.arrays import colours_of, decoded_array, drawing_of_array
from interactify.pictures.decode import read_photo, to_uint8

RANDOM = np.random.default_rng(0)
PHOTOS: dict[str, tuple[Any, int, Any]] = {
    "colours": (RANDOM.integers(0, 256, (40, 30, 3), np.uint8), 3, None),
    "grey": (RANDOM.integers(0, 256, (40, 30), np.uint8), 3, None),
    "transparent": (RANDOM.integers(0, 256, (40, 30, 4), np.uint8), 3, None),
    "16 bits": (RANDOM.integers(0, 65536, (40, 30, 3), np.uint16), 3, None),
    "12 bits": (RANDOM.integers(0, 4096, (40, 30), np.uint16), 3, (100, 4000)),
    "signed": (RANDOM.integers(-2000, 3000, (40, 30), np.int16), 3, (-1000.5, 1000.3)),
    "floats": (RANDOM.random((40, 30, 3)), 3, None),
    "wide floats": (RANDOM.normal(0, 3, (40, 30, 3)), 3, (-2.7, 3.1)),
    "32 bits": (RANDOM.integers(0, 2**31, (40, 30), np.int64), 3, (17, 2**31)),
    "bool": (RANDOM.random((40, 30)) > 0.5, 3, None),
    "two bands": (RANDOM.integers(0, 256, (40, 30, 2), np.uint8), 2, None),
    "five bands": (RANDOM.integers(0, 65536, (40, 30, 5), np.uint16), 5, (3, 60000)),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_drawings_are_those_of_tensors(name: str):
    photo, channels, value_range = PHOTOS[name]
    expected = to_uint8(read_photo(photo, channels, value_range=value_range))
    assert np.array_equal(drawing_of_array(photo, channels, value_range), expected)


@pytest.mark.parametrize("name", ["colours", "transparent", "16 bits", "grey"])
def test_a_network_of_grey_sees_luminance(name: str):
    pixels, levels = decoded_array(PHOTOS[name][0], 1)
    assert np.array_equal(colours_of(pixels, 1, levels), to_uint8(read_photo(PHOTOS[name][0], 1)))


def test_large_photos_are_drawn_in_strips(tmp_path):
    photo = RANDOM.integers(0, 65536, (700, 900), np.uint16)
    Image.fromarray(photo).save(tmp_path / "deep.png")
    expected = to_uint8(read_photo(tmp_path / "deep.png"))
    assert np.array_equal(drawing_of_array(tmp_path / "deep.png"), expected)
