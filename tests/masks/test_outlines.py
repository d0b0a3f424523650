"""Outlines: the mask comes back of them, and an independent library finds them valid."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import shapely.geometry
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from interactify.errors import OptionError
from interactify.export import Polygon, filled, polygons, single_ring
from interactify.masks.contours import signed_area
from interactify.masks.fill import mask_of_polygons
from tests.fixtures.masks import AWKWARD, drawn, masks

awkward = pytest.mark.parametrize("mask", AWKWARD.values(), ids=AWKWARD)


def shapes(mask: np.ndarray) -> list[shapely.Polygon]:
    return [shapely.Polygon(polygon.outer, polygon.holes) for polygon in polygons(mask)]


def covered(geometry: shapely.Geometry, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside, as shapely sees it."""
    y, x = np.indices(size) + 0.5
    return shapely.contains_xy(geometry, x, y)


def check(mask: np.ndarray) -> None:
    found = polygons(mask)
    assert np.array_equal(filled(found, mask.shape), mask)
    seen = shapes(mask)
    assert all(shape.is_valid for shape in seen), [shapely.is_valid_reason(shape) for shape in seen]
    whole = shapely.MultiPolygon(seen)
    assert whole.is_valid, shapely.is_valid_reason(whole)
    assert whole.area == mask.sum()
    if found:
        assert np.array_equal(covered(whole, mask.shape), mask)
    components, count = ndimage.label(mask)
    assert len(found) == count
    for polygon, shape in zip(found, seen, strict=True):
        assert len(np.unique(components[covered(shape, mask.shape)])) == 1
        assert signed_area(polygon.outer) > 0 and all(signed_area(hole) < 0 for hole in polygon.holes)
        for ring in (polygon.outer, *polygon.holes):
            assert len(np.unique(ring, axis=0)) == len(ring)  # none meets itself
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps != 0).sum(axis=1) == 1).all()  # along the pixels' edges
            assert ((steps != 0) != (np.roll(steps, 1, axis=0) != 0)).all()  # and no corner is none


@awkward
def test_awkward_masks_come_back_of_valid_polygons(mask):
    check(mask)


@given(mask=masks())
@settings(deadline=None, max_examples=80)
def test_any_mask_comes_back_of_valid_polygons(mask):
    check(mask)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3)])
def test_every_mask_there_is(size):
    count = size[0] * size[1]
    for number in range(2**count):
        mask = (number >> np.arange(count) & 1).astype(bool).reshape(size)
        assert np.array_equal(filled(polygons(mask), size), mask)
        assert all(shape.is_valid for shape in shapes(mask))


def check_single_rings(mask: np.ndarray) -> None:
    joined = [single_ring(polygon) for polygon in polygons(mask)]
    assert np.array_equal(mask_of_polygons([ring.ravel().tolist() for ring in joined], mask.shape), mask)
    assert sum(signed_area(ring) for ring in joined) == mask.sum()
    for ring in joined:
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((ring >= 0) & (ring <= mask.shape[::-1])).all()


@awkward
def test_holes_are_joined_without_a_pixel_lost(mask):
    check_single_rings(mask)


@given(mask=masks())
@settings(deadline=None, max_examples=80)
def test_holes_of_any_mask_are_joined_without_a_pixel_lost(mask):
    check_single_rings(mask)


def test_a_polygon_without_holes_is_its_own_single_ring():
    (polygon,) = polygons(drawn("##", "#."))
    assert np.array_equal(single_ring(polygon), polygon.outer)


@given(mask=masks(40), tolerance=st.sampled_from([0.3, 0.5, 1.0, 2.5, 30.0]))
@settings(deadline=None, max_examples=60)
def test_simplified_outlines_stay_within_their_tolerance(mask, tolerance):
    exact, simple = polygons(mask), polygons(mask, tolerance)
    assert len(simple) == len(exact)  # no object is lost
    for before, after in zip(exact, simple, strict=True):
        assert len(after.outer) <= len(before.outer) and len(after.holes) <= len(before.holes)
        drawn_instead = shapely.LinearRing(after.outer)
        for point in before.outer:
            assert drawn_instead.distance(shapely.Point(point)) <= tolerance + 1e-9
        for hole in after.holes:
            assert signed_area(hole) < 0
        assert signed_area(after.outer) > 0
        single_ring(after)  # whatever it has become


def test_a_tolerance_of_a_pixel_takes_the_stairs_off_a_slope():
    mask = np.tri(40, dtype=bool)
    exact, simple = polygons(mask)[0].outer, polygons(mask, 1.0)[0].outer
    assert len(exact) == 82 and len(simple) <= 5
    assert (filled(polygons(mask, 1.0), mask.shape) != mask).sum() <= 40


def test_holes_below_the_tolerance_are_filled_and_small_components_are_kept():
    mask = np.zeros((40, 60), bool)
    mask[5:35, 5:35] = True
    mask[20, 20] = False
    mask[10, 50] = True
    big, small = polygons(mask, 3.0)
    assert big.outer.tolist() == [[5, 5], [35, 5], [35, 35], [5, 35]] and not big.holes
    assert small.outer.tolist() == [[50, 10], [51, 10], [51, 11], [50, 11]]


def test_a_large_photo_is_outlined_quickly():
    y, x = np.indices((2000, 3000))
    mask = (np.hypot(y - 1000, x - 1500) < 900) & (np.hypot(y - 900, x - 1400) > 200)
    (polygon,) = polygons(mask)
    assert len(polygon.holes) == 1
    assert np.array_equal(filled([polygon], mask.shape), mask)


def test_the_same_mask_in_another_memory_order():
    mask = AWKWARD["an island in a hole"]
    for other in (np.asfortranarray(mask), np.repeat(mask, 2, axis=1)[:, ::2], np.flipud(np.flipud(mask).copy())):
        for one, two in zip(polygons(mask), polygons(other), strict=True):
            assert np.array_equal(one.outer, two.outer)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.zeros((0, 3), bool), np.ones((2, 3, 3), bool), None])
def test_what_is_no_mask(wrong):
    with pytest.raises(OptionError, match="Expected a mask"):
        polygons(wrong)


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), "wide", None])
def test_what_is_no_tolerance(tolerance):
    with pytest.raises(OptionError, match="tolerance"):
        polygons(np.ones((3, 3), bool), tolerance)


def test_what_can_not_be_filled():
    square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    for size in [(0, 3), (3,), "ab", None, (3, float("inf"))]:
        with pytest.raises(OptionError, match="size"):
            filled([Polygon(square)], size)
    with pytest.raises(OptionError, match="three points"):
        filled([Polygon(square[:2])], (3, 3))
    assert not filled([], (3, 3)).any()
    assert not filled([Polygon(square + 7)], (3, 3)).any()  # beside the photo
