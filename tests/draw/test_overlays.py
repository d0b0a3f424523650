"""Drawing: tint, outline, the position of clicks, and the arrangement of panels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial

from interactify import draw
from interactify.draw.overlays import _columns, _distance_to_edge, contact_sheet, overlay
from interactify.errors import OptionError
from interactify.interactions.click import Click


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:120] = True
    return mask


def test_outside_stays_and_inside_is_tinted_by_the_stated_opacity(photo, mask):
    drawn = overlay(photo, mask, colour=(10, 20, 250), opacity=0.3)
    deep, far = ndimage.binary_erosion(mask, iterations=6), ~ndimage.binary_dilation(mask, iterations=6)
    assert np.array_equal(drawn[far], photo[far])
    expected = photo[deep] * 0.7 + np.array([10, 20, 250]) * 0.3
    assert np.abs(drawn[deep] - expected).max() <= 0.51


def test_the_outline_is_bright_on_the_edge_of_a_dark_photo(mask):
    drawn = overlay(np.zeros((120, 160, 3), np.uint8), mask, opacity=0)
    assert drawn[60, 39:41].min() > 150  # the two pixels on either side of the left edge
    assert drawn[60, 80].max() == 0
    assert drawn[60, 20].max() == 0


def test_the_outline_is_set_off_from_a_white_photo(mask):
    drawn = overlay(np.full((120, 160, 3), 255, np.uint8), mask, opacity=0)
    assert drawn[60, 34:46].min() < 215


def test_the_photo_is_not_changed(photo, mask):
    before = photo.copy()
    overlay(photo, mask, clicks=[Click(3, 3)])
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("fill", [False, True])
def test_a_mask_without_an_edge_has_no_outline(photo, fill):
    mask = np.full((120, 160), fill)
    expected = photo if not fill else np.rint(photo * 0.5 + np.array(draw.AZURE) * 0.5)
    assert np.abs(overlay(photo, mask, opacity=0.5).astype(int) - expected).max() <= 1


def test_the_distance_to_the_edge_is_exact_where_a_line_can_be(mask):
    mask = mask ^ (np.random.default_rng(1).random(mask.shape) < 0.01)
    here, there = np.argwhere(np.ones_like(mask)), [np.argwhere(mask), np.argwhere(~mask)]
    nearest = [spatial.KDTree(pixels).query(here)[0].reshape(mask.shape) for pixels in there]
    exact = np.where(mask, nearest[1], nearest[0]) - 0.5
    distance = _distance_to_edge(mask, 5)
    near = exact < 5
    np.testing.assert_allclose(distance[near], exact[near], atol=1e-5)
    assert (distance[~near] >= 4.4).all()


def test_clicks_are_discs_of_their_colour_centred_on_their_pixel(photo):
    grey = np.full((400, 400, 3), 128, np.uint8)
    nothing = np.zeros((400, 400), bool)
    for click, colour in ((Click(100, 300), draw.GREEN), (Click(310, 52, False), draw.RED)):
        drawn = overlay(grey, nothing, clicks=[click])
        painted = (drawn == np.array(colour)).all(axis=2)
        rows, columns = np.nonzero(painted)
        assert abs(columns.mean() - click.x) < 0.2 and abs(rows.mean() - click.y) < 0.2
        assert (drawn[click.y, click.x] == 255).all()  # the sign
        above = drawn[click.y - 4, click.x]  # the upright of a plus, which a minus lacks
        assert (above == 255).all() == click.positive


def test_discs_grow_with_the_picture():
    areas = []
    for side in (300, 900):
        blank = np.zeros((side, side, 3), np.uint8)
        drawn = overlay(blank, np.zeros((side, side), bool), clicks=[Click(side // 2, side // 2)])
        areas.append((drawn.max(axis=2) > 128).sum())
    assert areas[1] / areas[0] == pytest.approx(9, rel=0.15)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (159, 0), (0, 119), (159, 119)])
def test_clicks_in_corners_are_drawn_and_cut_off(photo, x, y):
    drawn = overlay(photo, np.zeros((120, 160), bool), clicks=[Click(x, y)])
    assert drawn.shape == photo.shape
    assert (drawn[y, x] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_the_smallest_pictures(shape):
    mask = np.zeros(shape, bool)
    mask[0, 0] = True
    drawn = overlay(np.zeros((*shape, 3), np.uint8), mask, clicks=[Click(0, 0)])
    assert drawn.shape == (*shape, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photo": np.zeros((5, 5), np.uint8)}, "photo"),
        ({"photo": np.zeros((5, 5, 3))}, "float64"),
        ({"mask": np.zeros((5, 6), bool)}, "5 x 5"),
        ({"mask": np.full((5, 5), 7, np.uint8)}, "uint8"),
        ({"opacity": 1.5}, "1.5"),
    ],
)
def test_invalid_pictures_and_masks(changes, message):
    given = {"photo": np.zeros((5, 5, 3), np.uint8), "mask": np.zeros((5, 5), bool)} | changes
    with pytest.raises(OptionError, match=message):
        overlay(given.pop("photo"), given.pop("mask"), **given)


def _box_of(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((sheet == np.array(colour)).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]


def _plain(colour: tuple[int, int, int], height: int = 60, width: int = 90) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def test_panels_are_equally_large_on_a_grid_in_reading_order():
    sheet = contact_sheet([(f"panel {i}\nmore", _plain(c)) for i, c in enumerate(COLOURS)], columns=2, width=640)
    assert sheet.shape[1] == 640 and sheet.dtype == np.uint8
    boxes = [_box_of(sheet, colour) for colour in COLOURS]
    sizes = {(bottom - top, right - left) for top, bottom, left, right in boxes}
    assert len(sizes) == 1
    height, width = sizes.pop()
    assert width / height == pytest.approx(90 / 60, rel=0.02)
    tops, lefts = [box[0] for box in boxes], [box[2] for box in boxes]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]
    assert lefts[0] == lefts[2] == lefts[4] < lefts[1] == lefts[3]
    assert lefts[0] == 640 - boxes[1][3]  # the same margin left and right, to the pixel with these numbers


def test_captions_are_under_their_panels():
    sheet = contact_sheet([("first", _plain(COLOURS[0])), ("second", _plain(COLOURS[1]))], width=640)
    silent = contact_sheet([("", _plain(COLOURS[0])), ("", _plain(COLOURS[1]))], width=640)
    assert sheet.shape == silent.shape
    rows, columns = np.nonzero((sheet != silent).any(axis=2))
    _, bottom, left, _ = _box_of(sheet, COLOURS[0])
    assert rows.min() >= bottom and columns.min() >= left
    inks = np.unique(sheet[rows, columns].sum(axis=1))
    assert len(inks) > 10  # anti-aliased


def test_a_long_caption_stays_in_its_column():
    panels = [("word " * 60, _plain(COLOURS[0])), ("", _plain(COLOURS[1]))]
    sheet, silent = (contact_sheet([(text, panels[0][1]), panels[1]], width=640) for text in (panels[0][0], ""))
    columns = np.nonzero((sheet != silent).any(axis=2))[1]
    assert columns.max() < _box_of(sheet, COLOURS[1])[2]


def test_a_title_takes_room_above():
    panels = [("photo", _plain(COLOURS[0]))]
    assert contact_sheet(panels, width=640, title="Cat").shape[0] > contact_sheet(panels, width=640).shape[0]


def test_a_picture_of_another_shape_is_whole_and_keeps_its_aspect():
    sheet = contact_sheet([("a", _plain(COLOURS[0])), ("b", _plain(COLOURS[1], 90, 30))], width=640)
    top, bottom, left, right = _box_of(sheet, COLOURS[1])
    assert (bottom - top) / (right - left) == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (5, 3), (6, 3), (7, 4), (8, 4), (9, 3), (10, 4)])
def test_the_last_row_is_as_full_as_it_gets(count, columns):
    assert _columns(count) == columns


def test_invalid_sheets():
    with pytest.raises(OptionError, match="at least one panel"):
        contact_sheet([])
    with pytest.raises(OptionError, match="'x'"):
        contact_sheet([("x", np.zeros((5, 5), np.uint8))])
    with pytest.raises(OptionError, match="no room"):
        contact_sheet([("x", _plain(COLOURS[0]))] * 9, columns=9, width=200)
    with pytest.raises(OptionError, match="column"):
        contact_sheet([("x", _plain(COLOURS[0]))], columns=0)
