"""What interactions say together: the later over the earlier, and what is overruled says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactify.interactions.click import Click, Interaction, checked
from interactify.interactions.constraints import MASK_WEIGHT, TARGET, Constraints, combine
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.interactions.sampling import scribble_points

SIZE = (40, 60)
BOX = Box(10, 10, 39, 29)


def combined(*interactions: Interaction, **options: Any) -> Constraints:
    return combine([checked(each, SIZE) for each in interactions], SIZE, **options)


def labels(found: Constraints, owner: int | None = None) -> list[tuple[int, int, bool]]:
    """(x, y, positive) of what holds, of one interaction or all."""
    rows = zip(found.points.tolist(), found.positive.tolist(), found.owners.tolist(), strict=True)
    return [(x, y, yes) for (x, y), yes, own in rows if owner in (None, own)]


# ---- clicks ----------------------------------------------------------------------------------------------------------

CLICKS = st.lists(
    st.builds(Click, st.integers(0, 1), st.integers(0, 1), st.booleans(), st.sampled_from([None, None, 0, 1, 2])),
    max_size=9,
)


@given(clicks=CLICKS, own=st.sampled_from([None, 0, 1]), exclusive=st.booleans())
def test_clicks_alone(clicks: list[Click], own: int | None, exclusive: bool) -> None:
    """A click holds where no later one that holds is at odds with it; each pair is tried."""

    def at_odds(one: Click, other: Click) -> bool:
        if (one.x, one.y) != (other.x, other.y):
            return False
        first, second = (own if click.label is None else click.label for click in (one, other))
        same = first == second if own is not None else one.label == other.label
        if same:
            return one.positive != other.positive
        unknown = own is None and None in (one.label, other.label)
        return one.positive and other.positive and exclusive and not unknown

    def holds(place: int) -> bool:
        return not any(
            holds(later) and at_odds(clicks[place], clicks[later]) for later in range(place + 1, len(clicks))
        )

    found = combined(*clicks, own=own, exclusive=exclusive)
    expected = [place for place in range(len(clicks)) if holds(place)]
    assert found.owners.tolist() == expected
    assert found.in_effect == tuple(clicks[place] for place in expected)
    assert found.overruled == tuple(click for place, click in enumerate(clicks) if place not in expected)
    assert found.points.tolist() == [[clicks[place].x, clicks[place].y] for place in expected]
    assert found.positive.tolist() == [clicks[place].positive for place in expected]
    meant = [clicks[place].label for place in expected]
    assert found.labels.tolist() == [TARGET if label in (None, own) else label for label in meant]
    assert (found.weights == 1).all() and found.required.all() and found.interactions == tuple(clicks)
    assert found.region is found.mask is None and found.strokes == ()


def test_no_interactions() -> None:
    found = combined()
    assert found.points.shape == (0, 2) and found.points.dtype == np.int64 and found.in_effect == ()


def test_class_labels_at_one_pixel() -> None:
    road, tree = Click(5, 5, True, 3), Click(5, 5, True, 4)
    assert combined(road, tree).overruled == (road,) and combined(tree, road).overruled == (tree,)
    assert combined(road, Click(5, 5, False, 4)).overruled == (), "it is road, and no tree"
    assert combined(Click(5, 5), road, own=3).overruled == (), "the same, in other words"
    assert combined(Click(5, 5, False), road, own=3).overruled == (Click(5, 5, False),)
    assert combined(Click(5, 5), road, own=4).overruled == (Click(5, 5),), "the object is a tree"
    assert combined(Click(5, 5), road, own=4, exclusive=False).overruled == ()
    assert combined(Click(5, 5), Click(5, 5, False), Click(5, 5, False, 3), own=4).overruled == (Click(5, 5),)


# ---- scribbles -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 39)), min_size=1, max_size=5),
    st.floats(0.5, 12), st.floats(0.01, 50),
)  # fmt: skip
def test_a_scribble_counts_as_much_as_its_weight(points: list[Any], width: float, weight: float) -> None:
    scribble = Scribble(tuple(points), width=width, weight=weight)
    found = combined(Click(0, 0), scribble, Click(59, 39))
    own = found.owners == 1
    if not {(0, 0), (59, 39)} & set(points):
        assert found.weights[own].sum() == pytest.approx(weight) and len(set(found.weights[own])) == 1
    assert found.points[own].tolist() == scribble_points(checked(scribble, SIZE), SIZE).tolist()


def test_a_scribble_over_a_click_and_back() -> None:
    click, scribble = Click(20, 5), Scribble(((10, 5), (30, 5)), False)
    places = scribble_points(scribble, SIZE).tolist()
    assert [20, 5] in places
    over = combined(click, scribble)
    assert over.overruled == (click,) and labels(over) == [(x, y, False) for x, y in places]
    back = combined(click, scribble, Click(20, 5))
    assert back.overruled == () and (20, 5, False) not in labels(back), "the one point gives way, the others stand"
    assert len(back.points) == len(places) + 1 and back.weights[back.owners == 1].sum() < 1
    assert combined(scribble, Scribble(scribble.points, True)).overruled == (scribble,)


def test_a_scribble_labels_all_its_pixels_and_not_only_its_points() -> None:
    across = Scribble(((0, 5), (59, 5)), False)
    between = next(x for x in range(60) if [x, 5] not in scribble_points(across, SIZE).tolist())
    assert combined(Click(between, 5), across).overruled == (Click(between, 5),)
    assert combined(Click(between, 7), across).overruled == ()
    assert combined(Click(between, 7), Scribble(across.points, False, width=5)).overruled == (Click(between, 7),)
    assert combined(Click(between, 5), across, Click(between, 5)).overruled == ()
    dab = Paint(((between, 5),), 1, True)
    assert combined(dab, across).overruled == (dab,)
    corner = Scribble(((20, 20), (59, 20), (20, 21)))  # leaves the box between its ends
    assert combined(BOX, corner).overruled == (BOX,)
    crossing = Scribble(((between, 0), (between, 12)))
    assert (between, 5, True) not in labels(combined(crossing, across)) and combined(crossing, across).overruled == ()


# ---- strokes that erase and restore ----------------------------------------------------------------------------------


def test_a_stroke_over_a_click() -> None:
    erase = Paint(((10, 5), (30, 5)), 4)
    assert combined(Click(20, 6), erase).overruled == (Click(20, 6),)
    assert combined(Click(20, 8), erase).overruled == (), "beside it"
    assert combined(Click(20, 6, False), erase).overruled == (), "it says the same"
    assert combined(Click(20, 6, True, 3), erase).overruled == (), "of another class, and so not of the object"
    restore = Paint(erase.points, 4, True)
    assert combined(Click(20, 6, True, 3), restore, own=4).overruled == (Click(20, 6, True, 3),)
    assert combined(Click(20, 6), erase, restore).overruled == (), "the mask has the click's label again"
    assert combined(Click(20, 6), restore, erase).overruled == (Click(20, 6),)
    assert combined(Click(20, 6), erase, restore).strokes == (erase, restore)


def test_a_click_over_a_stroke() -> None:
    erase = Paint(((10, 5), (30, 5)), 4)
    found = combined(Click(12, 5), erase, Click(20, 6))
    assert found.overruled == (erase,) and found.strokes == ()
    assert labels(found) == [(12, 5, True), (20, 6, True)], "what the stroke had overruled holds again"
    assert combined(erase, Click(20, 6, False)).strokes == (erase,)
    assert combined(erase, Scribble(((20, 0), (20, 12)))).overruled == (erase,)
    assert combined(erase, Click(20, 6), erase).strokes == (erase, erase)


# ---- boxes and lassos ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", [BOX, Lasso(((10, 10), (39, 10), (39, 29), (10, 29)))])
def test_boxes_and_clicks_outside(region: Box | Lasso) -> None:
    outside, inside = Click(50, 20), Click(20, 20)
    found = combined(outside, inside, region)
    assert found.overruled == (outside,) and found.region == region and (20, 20, True) in labels(found)
    assert not found.region_only and combined(region).region_only
    assert all(not yes for _, _, yes in labels(found, 2)) and len(labels(found, 2)) == 8
    found = combined(region, outside)
    assert found.overruled == (region,) and found.region is None and labels(found) == [(50, 20, True)]
    assert combined(region, Click(50, 20, False)).region == region, "not there: the box says so too"
    assert combined(region, Click(50, 20, True, 3)).region == region, "another class may be there"
    assert combined(region, outside, Paint(((50, 20),), 5)).region == region, "the click no longer holds"


def test_a_scribble_that_leaves_a_box() -> None:
    scribble = Scribble(((20, 20), (55, 20)))
    found = combined(scribble, BOX)
    assert found.overruled == () and max(x for x, _, _ in labels(found, 0)) <= 39
    assert combined(BOX, scribble).overruled == (BOX,)


def test_a_second_box() -> None:
    wide = Box(5, 5, 55, 35)
    found = combined(Click(50, 20), BOX, wide)
    assert found.overruled == (BOX,) and found.region == wide and (50, 20, True) in labels(found)
    assert labels(found, 1) == []
    assert combined(wide, BOX).overruled == (wide,)


def test_strokes_and_boxes() -> None:
    restore, erase = Paint(((50, 20),), 3, True), Paint(((50, 20),), 3)
    assert combined(restore, BOX).overruled == (restore,) and combined(erase, BOX).strokes == (erase,)
    assert combined(BOX, restore).strokes == (restore,) and combined(BOX, restore).region == BOX


def test_the_centre_of_a_box_is_assumed_and_not_required() -> None:
    middle = (24, 19)
    assert labels(combined(BOX, assume_centre=True))[0] == (*middle, True)
    for other in (Click(*middle, False), Scribble(((12, 19), (36, 19)), False), Paint((middle,), 3)):
        for order in ((other, BOX), (BOX, other)):
            found = combined(*order, assume_centre=True)
            assert (*middle, True) not in labels(found) and found.overruled == (), "nothing gives way to it"


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_a_mask_and_what_came_before() -> None:
    shape = np.zeros(SIZE, bool)
    shape[10:30, 10:40] = True
    mask = Mask(shape)
    right, wrong, other = Click(20, 20), Click(5, 5), Click(5, 6, True, 3)
    stroke = Paint(((20, 20),), 3)
    found = combined(right, wrong, other, BOX, mask)
    assert found.overruled == (wrong, BOX) and found.mask == mask and found.region is None
    assert combined(wrong, stroke, mask).overruled == (wrong, stroke)
    pulling = found.owners == 4
    assert not found.required[pulling].any() and found.weights[pulling].sum() == pytest.approx(MASK_WEIGHT)
    assert all(yes == shape[y, x] for x, y, yes in labels(found, 4))
    again = Mask(~shape)
    assert combined(mask, again).overruled == (mask,) and combined(mask, again).mask == again
    assert combined(mask, mask).overruled == (mask,)


def test_clicks_and_boxes_after_a_mask() -> None:
    shape = np.zeros(SIZE, bool)
    shape[10:30, 10:40] = True
    x, y, _ = next(each for each in labels(combined(Mask(shape))) if each[2])
    found = combined(Mask(shape), Click(x, y, False))
    assert found.overruled == () and found.mask is not None and (x, y, True) not in labels(found)
    found = combined(Mask(shape), Box(10, 10, 19, 19))
    assert found.mask is not None and found.region is not None and found.overruled == ()
    assert all(px < 20 and py < 20 for px, py, yes in labels(found) if yes)
