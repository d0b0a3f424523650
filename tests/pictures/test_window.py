"""Zoom-in: where windows open, how long they stay, and that nothing outside them is lost."""

import numpy as np
import pytest

import interactify
from interactify.interactions.click import Click
from interactify.pictures.window import Window, extent_of, whole
from interactify.refinement.zoom import next_window
from tests.fixtures import networks


def square(size, top, left, side):
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def chosen(current, mask, clicks, resolution):
    places = np.array([(c.x, c.y) for c in clicks if c.positive] + [(clicks[-1].x, clicks[-1].y)])
    return next_window(current, extent_of(mask), places, places[-1:], mask.shape, resolution)


def test_the_first_click_sees_the_whole_photo(zoomed):
    assert zoomed.steps[0].crop.window == whole((400, 600))


def test_windows_that_meet():
    window = Window(10, 20, 30, 40)
    assert window.common(Window(30, 0, 100, 30)) == Window(30, 20, 10, 10)
    assert window.common(Window(40, 0, 5, 500)) is None and window.common(window) == window
    assert Window(30, 20, 10, 10).relative_to(window) == Window(20, 0, 10, 10)
    assert window.contains(np.array([(20, 10), (59, 39), (60, 10), (20, 40)])).tolist() == [
        True,
        True,
        False,
        False,
    ]
    mask = square((50, 70), 4, 6, 9)
    assert extent_of(mask) == Window(4, 6, 9, 9) and extent_of(~mask & mask) is None


def test_a_small_object_is_looked_at_closely_from_the_second_click_on():
    size = (300, 400)
    clicks = [Click(110, 110), Click(140, 140)]
    window = chosen(whole(size), square(size, 100, 100, 100), clicks, 200)
    assert window == Window(80, 80, 140, 140)  # 1.4 times the box, around its middle


def test_a_window_stays_inside_the_photo_and_is_not_smaller_than_there_is_to_see():
    size = (300, 400)
    clicks = [Click(2, 2), Click(3, 3)]
    window = chosen(whole(size), square(size, 0, 0, 5), clicks, 200)
    assert window == Window(0, 0, 100, 100)


def test_no_window_where_the_object_fills_the_photo_or_the_photo_is_not_resized():
    size = (300, 400)
    clicks = [Click(200, 150), Click(140, 140)]
    assert chosen(whole(size), square(size, 10, 10, 280), clicks, 200) == whole(size)
    assert chosen(whole(size), square(size, 100, 100, 50), clicks, None) == whole(size)


def test_a_window_is_kept_until_a_click_leaves_it():
    size = (300, 400)
    mask = square(size, 100, 100, 100)
    window = chosen(whole(size), mask, [Click(110, 110), Click(140, 140)], 200)
    inside = [Click(110, 110), Click(140, 140), Click(205, 205, False)]
    assert chosen(window, mask, inside, 200) is window
    outside = [Click(110, 110), Click(140, 140), Click(350, 150)]
    moved = chosen(window, mask, outside, 200)
    assert moved != window and moved.contains(np.array([[350, 150]])).all()


@pytest.mark.parametrize(
    ("other", "expected"), [(Window(0, 0, 10, 10), 1.0), (Window(0, 5, 10, 10), 1 / 3), (Window(20, 20, 5, 5), 0.0)]
)
def test_overlap(other, expected):
    assert Window(0, 0, 10, 10).overlap(other) == pytest.approx(expected)


@pytest.fixture(scope="module")
def zoomed():
    """A session on a large picture with one small bright square, clicked until it looked closer."""
    photo = np.full((400, 600, 3), 90, np.uint8)
    photo[180:240, 280:340] = (250, 120, 60)
    session = interactify.wrap(networks.slim_saliency()).session(photo)
    for x in range(20, 600, 80):  # whatever the network takes for salient, leave the square alone
        if session.result.mask.any() and session.result.mask[:100].any():
            session.click(x=x, y=30, positive=False)
    session.click(x=310, y=210)
    return session


def test_outside_the_window_the_mask_stays(zoomed):
    for x, y in ((300, 200), (320, 220), (310, 230), (285, 185)):
        before = zoomed.result
        result = zoomed.click(x=x, y=y)
        if result.window != before.window and result.layer.outside is not None:
            outside = np.ones(result.mask.shape, bool)
            outside[result.window.slices] = False
            np.testing.assert_array_equal(result.mask[outside], before.mask[outside])
        assert result.satisfied
        assert result.mask.shape == (400, 600)


def test_off_means_off():
    photo = np.full((200, 300, 3), 90, np.uint8)
    photo[90:120, 140:170] = (250, 120, 60)
    session = interactify.wrap(networks.slim_saliency(), zoom=False).session(photo)
    for x in (150, 155, 160):
        assert session.click(x=x, y=105).window == whole((200, 300))


@pytest.mark.parametrize("size", [(100, 200), (200, 100), (7, 90), (33, 33)])
def test_a_window_with_the_aspect_ratio_of_the_photo(size):
    random = np.random.default_rng(0)
    for _ in range(50):
        top, left = (int(random.integers(0, side)) for side in size)
        window = Window(
            top, left, int(random.integers(1, size[0] - top + 1)), int(random.integers(1, size[1] - left + 1))
        )
        grown = window.with_aspect_of(size)
        assert grown.common(window) == window and grown.common(whole(size)) == grown
        assert abs(grown.height * size[1] - grown.width * size[0]) <= max(size)  # to within a pixel
        assert grown.height == window.height or grown.width == window.width  # no larger than it has to be
    assert whole(size).with_aspect_of(size) == whole(size)
