"""Which pixels a gesture covers, and where the points lie that stand for it: against every pixel tried by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LinearRing, LineString, Point, Polygon

from interactify.interactions.gestures import Box, Lasso, Paint, Scribble
from interactify.interactions.rasterise import bounds, points_inside, points_under, region_mask, stroke_mask
from interactify.interactions.sampling import (
    MASK_GRID,
    SCRIBBLE_POINTS,
    background_points,
    deepest_pixel,
    mask_points,
    scribble_points,
)
from interactify.pictures.window import Window, whole

SIZE = (18, 26)
INSIDE = st.tuples(st.integers(0, 25), st.integers(0, 17))
LINE = st.lists(INSIDE, min_size=1, max_size=6).map(tuple)
OUTLINE = st.lists(INSIDE, min_size=3, max_size=8).map(tuple)
BOX = st.builds(lambda a, b: Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), INSIDE, INSIDE)
REGION = st.one_of(BOX, st.builds(Lasso, OUTLINE))
WINDOWS = st.builds(
    lambda a, b: Window(min(a[1], b[1]), min(a[0], b[0]), abs(a[1] - b[1]) + 1, abs(a[0] - b[0]) + 1), INSIDE, INSIDE
)
PIXELS = np.stack(np.meshgrid(np.arange(26), np.arange(18)), -1).reshape(-1, 2)


def by_hand(region: Box | Lasso) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) whether a region holds each pixel, and whether that is sure: half a pixel from the outline it is not."""
    found, sure = np.zeros(SIZE, bool), np.ones(SIZE, bool)
    for x, y in PIXELS:
        if isinstance(region, Box):
            found[y, x] = region.left <= x <= region.right and region.top <= y <= region.bottom
            continue
        away = LineString((*region.points, region.points[0])).distance(Point(x, y))
        sure[y, x] = abs(away - 0.5) > 1e-9
        crossings = 0  # of a ray to the left, a hair below the centre line, so that it meets no corner
        for (x1, y1), (x2, y2) in zip(region.points, region.points[1:] + region.points[:1], strict=True):
            if (y1 > y + 1e-6) != (y2 > y + 1e-6):
                crossings += x1 + (y + 1e-6 - y1) * (x2 - x1) / (y2 - y1) < x
        found[y, x] = crossings % 2 or away <= 0.5
    return found, sure


@settings(max_examples=60)
@given(region=REGION, window=WINDOWS)
def test_inside(region: Box | Lasso, window: Window) -> None:
    found, sure = by_hand(region)
    pixels = region_mask(region, whole(SIZE))
    assert np.array_equal(pixels[sure], found[sure])
    assert np.array_equal(region_mask(region, window), pixels[window.slices])
    shuffled = np.random.default_rng(0).permutation(PIXELS)[:200]
    assert np.array_equal(points_inside(region, shuffled), pixels[shuffled[:, 1], shuffled[:, 0]])
    assert points_inside(region, shuffled[:0]).shape == (0,)
    box = bounds(region)
    assert not pixels[
        ~region_mask(Box(box.left, box.top, box.left + box.width - 1, box.top + box.height - 1), whole(SIZE))
    ].any()


def test_a_lasso_along_the_photos_borders_leaves_no_row_out() -> None:
    everything = Lasso(((0, 0), (25, 0), (25, 17), (0, 17)))
    assert region_mask(everything, whole(SIZE)).all() and len(background_points(everything, SIZE)) == 0
    half = background_points(Lasso(((5, 0), (20, 0), (20, 17), (5, 17))), SIZE)
    assert len(half) and ((half[:, 0] < 5) | (half[:, 0] > 20)).all()


def test_the_even_odd_rule_where_an_outline_crosses_itself() -> None:
    star = Lasso(((12, 0), (18, 17), (1, 6), (24, 6), (6, 17)))
    pixels = region_mask(star, whole(SIZE))
    assert not pixels[9, 12] and pixels[3, 12] and pixels[7, 4]


@settings(max_examples=60)
@given(points=LINE, width=st.floats(0.2, 14), window=WINDOWS)
def test_strewn(points: tuple, width: float, window: Window) -> None:
    stroke = Paint(points, width)
    line = LineString(points if len(points) > 1 else points * 2)
    away = np.array([line.distance(Point(x, y)) for x, y in PIXELS]).reshape(SIZE)
    sure = abs(away - width / 2) > 1e-9
    covered = stroke_mask(stroke, whole(SIZE))
    assert covered is not None and np.array_equal(covered[sure], (away <= width / 2)[sure])
    part = stroke_mask(stroke, window)
    assert np.array_equal(
        np.zeros((window.height, window.width), bool) if part is None else part, covered[window.slices]
    )
    shuffled = np.random.default_rng(0).permutation(PIXELS)[:200]
    assert np.array_equal(points_under(stroke, shuffled), covered[shuffled[:, 1], shuffled[:, 0]])


@settings(max_examples=80)
@given(points=LINE, width=st.floats(0.2, 14))
def test_along(points: tuple, width: float) -> None:
    places = scribble_points(Scribble(points, width=width), SIZE)
    line = LineString(points if len(points) > 1 else points * 2)
    assert len(np.unique(places, axis=0)) == len(places) and 1 <= len(places) <= 3 * SCRIBBLE_POINTS
    assert (places >= 0).all() and (places < (26, 18)).all()
    away = [line.distance(Point(x, y)) for x, y in places]
    assert max(away) <= max(width / 2, np.sqrt(0.5)) + 1e-9, "under the stroke, or of a fine one in its pixels"
    for end in (points[0], points[-1]):
        assert list(end) in places.tolist(), "from end to end"
    # Evenly: no part of the stroke is farther from a place than they are apart.
    apart = max(line.length / (SCRIBBLE_POINTS - 1), 1.0)
    for share in np.linspace(0, line.length, 40):
        at = line.interpolate(share)
        assert np.hypot(places[:, 0] - at.x, places[:, 1] - at.y).min() <= apart + 1


def test_a_wide_scribble_has_points_at_its_sides() -> None:
    fine, wide = (scribble_points(Scribble(((3, 9), (20, 9)), width=width), SIZE) for width in (1, 12))
    assert set(fine[:, 1]) == {9} and {5, 9, 13} == set(wide[:, 1])
    assert len(scribble_points(Scribble(((0, 0), (4000, 3000))), (6000, 8000))) == SCRIBBLE_POINTS


@settings(max_examples=60)
@given(region=REGION)
def test_beside(region: Box | Lasso) -> None:
    places, pixels = background_points(region, SIZE), region_mask(region, whole(SIZE))
    assert (places >= 0).all() and (places < (26, 18)).all() and len(np.unique(places, axis=0)) == len(places)
    assert not pixels[places[:, 1], places[:, 0]].any()
    box = bounds(region)
    if box.top > 0:
        assert (places[:, 1] < box.top).any(), "background points where the photo extends beyond the box"
    if box.left + box.width < 26:
        assert (places[:, 0] >= box.left + box.width).any()


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 6])
def test_eight_points_beside_the_smallest_box(side: int) -> None:
    assert len(background_points(Box(8, 8, 7 + side, 7 + side), SIZE)) == 8


@settings(max_examples=60)
@given(region=REGION)
def test_centre(region: Box | Lasso) -> None:
    x, y = deepest_pixel(region)
    pixels = region_mask(region, whole(SIZE))
    rows, columns = np.nonzero(~np.pad(pixels, 1))
    depth = np.array([np.hypot(columns - 1 - px, rows - 1 - py).min() for px, py in PIXELS]).reshape(SIZE)
    assert pixels[y, x]
    box = bounds(region)
    deepest = depth.max() if isinstance(region, Lasso) else (min(box.width, box.height) + 1) // 2
    assert depth[y, x] == pytest.approx(deepest)


def test_the_centre_of_a_lasso_around_a_very_large_picture() -> None:
    lasso = Lasso(((100, 100), (29_000, 200), (28_000, 29_500), (90, 28_000)))
    x, y = deepest_pixel(lasso)
    ring = LinearRing(lasso.points)
    best = max(ring.distance(Point(a, b)) for a in range(13_000, 16_000, 100) for b in range(13_000, 16_000, 100))
    assert Polygon(lasso.points).contains(Point(x, y)) and ring.distance(Point(x, y)) > 0.99 * best


@settings(max_examples=60)
@given(box=BOX, seed=st.integers(0, 99))
def test_grid(box: Box, seed: int) -> None:
    mask = region_mask(box, whole(SIZE)) & (np.random.default_rng(seed).random(SIZE) < 0.7)
    places, labels = mask_points(mask)
    assert len(np.unique(places, axis=0)) == len(places) <= 2 * MASK_GRID**2
    assert labels.tolist() == [bool(mask[y, x]) for x, y in places]
    assert not mask.all() and (~labels).any()
    if mask.any():
        assert labels.any() or mask.sum() <= 2, "even a small object has a point"
