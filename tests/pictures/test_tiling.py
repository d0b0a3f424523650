"""Tiles cover a picture, and each pixel is asked of one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactify.errors import OptionError
from interactify.pictures.tiling import tiles


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 120), st.data())
def test_tiles_cover_a_picture_and_their_cores_make_it_up(size, side, data):
    overlap = data.draw(st.integers(0, side - 1).filter(lambda o: side - o > 8 or side - o == side))
    asked, last = np.zeros(size, int), (-1, -1)
    for tile in tiles(size, side, overlap):
        asked[tile.core.slices] += 1
        window, core = tile.window, tile.core
        assert (window.top, window.left) > last
        last = window.top, window.left
        assert (window.height, window.width) == (min(side, size[0]), min(side, size[1]))
        for start, length, first, count, end in (
            (window.top, window.height, core.top, core.height, size[0]),
            (window.left, window.width, core.left, core.width, size[1]),
        ):
            assert start >= 0 and start + length <= end and count > 0
            assert first == start == 0 or first - start >= overlap // 2
            assert first + count == start + length == end or start + length - first - count >= overlap // 2
    assert (asked == 1).all()


def test_tiles_are_as_few_as_will_do_and_refuse_what_can_not_be():
    assert len(tiles((100, 180), 100, 20)) == 2 and len(tiles((100, 181), 100, 20)) == 3
    for size, side, overlap in (((0, 5), 5, 1), ((5, 5), 0, 0), ((5, 5), 5, 5), ((5, 5), 5, -1), ((5, 5), 5.0, 1)):
        with pytest.raises(OptionError, match="Expected"):
            tiles(size, side, overlap)
