"""Scribbles, boxes, lassos, masks and strokes: what is taken, what is refused and why, and there and back as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from interactify.errors import InteractionError
from interactify.interactions.click import Click, Interaction, checked
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble, interaction_from_json

SIZE = (20, 30)  # 30 wide, 20 high
INSIDE = st.tuples(st.integers(0, 29), st.integers(0, 19))
LINE = st.lists(INSIDE, min_size=1, max_size=6).map(tuple)
WIDTH = st.floats(0.1, 50)
CLASS = st.one_of(st.none(), st.integers(0, 8), st.sampled_from(["road", "a tree"]))
KINDS: dict[type, st.SearchStrategy] = {
    Click: st.builds(Click, st.integers(0, 29), st.integers(0, 19), st.booleans(), CLASS),
    Scribble: st.builds(Scribble, LINE, st.booleans(), WIDTH, st.floats(0.01, 9), CLASS),
    Paint: st.builds(Paint, LINE, WIDTH, st.booleans()),
    Box: st.builds(
        lambda a, b: Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), INSIDE, INSIDE
    ),
    Lasso: st.builds(Lasso, st.lists(INSIDE, min_size=3, max_size=7).map(tuple)),
    Mask: st.builds(
        lambda seed, share: Mask(np.random.default_rng(seed).random(SIZE) < share), st.integers(0, 99), st.floats(0, 1)
    ),
}


@given(interaction=st.one_of(*KINDS.values()))
def test_there_and_back_as_json(interaction: Interaction) -> None:
    taken = checked(interaction, SIZE)
    stored = json.loads(json.dumps(taken.to_json()))
    again = checked(interaction_from_json(stored), SIZE)
    assert again == taken == interaction and hash(again) == hash(taken) and type(again) is type(interaction)
    assert checked(taken, SIZE) == taken, "what was checked once stays as it is"
    assert again.to_json() == taken.to_json()


@given(pair=st.tuples(*[st.one_of(*KINDS.values())] * 2))
def test_two_are_equal_where_they_say_the_same(pair: tuple[Interaction, Interaction]) -> None:
    one, two = (checked(each, SIZE) for each in pair)
    assert (one == two) == (one.to_json() == two.to_json())


def test_a_mask_is_stored_as_cocos_run_lengths() -> None:
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    stored = checked(Mask(mask), SIZE).to_json()
    assert stored["kind"] == "mask" and stored["rle"]["size"] == [20, 30]
    assert np.array_equal(coco.decode({**stored["rle"], "counts": stored["rle"]["counts"].encode()}), mask)


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_of_numbers(top: int, dtype: Any) -> None:
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    numbers = (mask * top).astype(dtype)
    taken = checked(Mask(numbers), SIZE)
    assert np.array_equal(taken.mask, mask) and taken.mask.dtype == bool
    numbers[:] = 0
    assert np.array_equal(taken.mask, mask), "what is drawn later is not meant"
    with pytest.raises(ValueError, match="read-only"):
        taken.mask[0, 0] = True
    assert checked(Mask(torch.from_numpy(mask)), SIZE) == taken  # type: ignore[arg-type]


def test_equal_masks_have_equal_hashes() -> None:
    mask = np.eye(4, dtype=bool)
    same = [Mask(mask), Mask(mask.astype(np.uint8)), Mask(mask.astype(float)), Mask(np.asfortranarray(mask))]
    assert len(set(same)) == 1 and len({*same, Mask(~mask)}) == 2
    assert Mask(mask) != mask.tolist() and Mask(np.zeros((2, 3), bool)) != Mask(np.zeros((3, 2), bool))


def test_numbers_of_any_make_become_pixels() -> None:
    points = [(np.float32(3.4), torch.tensor(2)), [np.int64(29), 19.49], np.array([0.0, -0.5])]
    assert checked(Scribble(points, np.True_, np.float64(3), 2), SIZE) == Scribble(  # type: ignore[arg-type]
        ((3, 2), (29, 19), (0, 0)), True, 3.0, 2.0
    )
    assert checked(Lasso(np.array([[1.5, 2], [3, 4], [5, 1]])), SIZE) == Lasso(((2, 2), (3, 4), (5, 1)))  # type: ignore[arg-type]
    assert checked(Box(np.float32(2.6), 3, torch.tensor(9), 5.2), SIZE) == Box(3, 3, 9, 5)  # type: ignore[arg-type]
    for made in (Scribble(points), Paint(points), Lasso(points), Box(np.int64(1), 2, 3, np.float32(4))):  # type: ignore[arg-type]
        assert json.loads(json.dumps(made.to_json()))["kind"], "unchecked too"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Scribble([]), "scribble of 1 to 100000 points"),
        (Scribble(None), "scribble of 1 to"),  # type: ignore[arg-type]
        (Scribble([(1, 2), (3,)]), "points \\(x, y\\)"),  # type: ignore[list-item]
        (Scribble([(1, 2, 3)]), "points \\(x, y\\)"),  # type: ignore[list-item]
        (Scribble([(1, 2)] * 100_001), "1 to 100000"),
        (Scribble([(1, 2), (30, 2)]), "scribble's point.*30 wide and 20 high.*x=30, y=2, outside"),
        (Scribble([(19, 29)]), "swapped"),
        (Scribble([(float("nan"), 2)]), "finite"),
        (Scribble([("1", 2)]), "number of pixels"),  # type: ignore[list-item]
        (Scribble([(1, 2)], positive=2), "a scribble's positive to be True or False"),  # type: ignore[arg-type]
        (Scribble([(1, 2)], width=0), "width to be a number of pixels above 0"),
        (Scribble([(1, 2)], width=True), "width to be a number of pixels"),
        (Scribble([(1, 2)], weight=-1), "weight to be a number of clicks above 0"),
        (Scribble([(1, 2)], weight="2"), "weight to be a number of clicks"),  # type: ignore[arg-type]
        (Scribble([(1, 2)], weight=float("inf")), "weight to be a finite number of clicks"),
        (Scribble([(1, 2)], label=1.5), "scribble's label to be a class's index or name"),  # type: ignore[arg-type]
        (Click(1, 2, label=True), "click's label to be a class's index or name"),
        (Click(1, 2, label=float("nan")), "label to be a class's index or name"),  # type: ignore[arg-type]
        (Click(1, 2, label=[1]), "label to be a class's index or name"),  # type: ignore[arg-type]
        (Paint([]), "stroke of 1 to"),
        (Paint([(1, 20)]), "stroke's point .*x=1, y=20, outside"),
        (Paint([(1, 2)], width=-3), "a stroke's width to be a number of pixels above 0"),
        (Paint([(1, 2)], width=1e300), "width to be"),
        (Paint([(1, 2)], positive="yes"), "a stroke's positive to be True or False"),  # type: ignore[arg-type]
        (Box(9, 2, 3, 8), "right or bottom before its left or top"),
        (Box(1, 8, 3, 2), "right or bottom before its left or top"),
        (Box(0, 0, 30, 5), "box's corner .*x=30, y=5, outside"),
        (Box(0, None, 3, 5), "a box's corner's y to be"),  # type: ignore[arg-type]
        (Lasso([(1, 2), (3, 4)]), "lasso of 3 to"),
        (Lasso("abc"), "lasso of 3 to"),  # type: ignore[arg-type]
        (Lasso([(1, 2), (3, 4), (-1, 4)]), "lasso's point .*x=-1, y=4, outside"),
        (Mask(np.zeros((30, 20), bool)), "photo's size, \\(20, 30\\), got one of shape \\(30, 20\\)"),
        (Mask(np.zeros((20, 30, 1), bool)), "shape \\(20, 30, 1\\)"),
        (Mask(np.full(SIZE, 3)), "Try mask > 0"),
        (Mask(np.full(SIZE, 0.5)), "Try mask > 0"),
        (Mask(np.full(SIZE, np.nan)), "Try mask > 0"),
        (Mask(np.full(SIZE, "x")), "of 0 and 1"),
        (Mask(np.full(SIZE, None)), "of 0 and 1"),
        (Mask(None), "mask of the photo's size"),  # type: ignore[arg-type]
        (Mask([[1], [1, 2]]), "Expected a mask"),  # type: ignore[arg-type]
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Interaction) else each[:12],
)
def test_what_is_refused_and_why(wrong: Interaction, says: str) -> None:
    with pytest.raises(InteractionError, match=says) as caught:
        checked(wrong, SIZE)
    assert len(str(caught.value)) < 300


def test_a_mask_of_both_0_1_and_255_is_none() -> None:
    numbers = np.zeros(SIZE, np.uint8)
    numbers[0, :2] = 1, 255
    with pytest.raises(InteractionError, match="Try mask > 0"):
        checked(Mask(numbers), SIZE)


@pytest.mark.parametrize(
    "stored",
    [
        None, [], "box", {"kind": "circle"}, {"kind": None}, {"kind": ["box"]}, {"kind": "box"},
        {"kind": "box", "left": 1, "top": 2, "right": 3}, {"kind": "scribble"}, {"kind": "lasso", "points": [], "x": 1},
        {"kind": "paint", "points": [[1, 2]], "weight": 3}, {"kind": "mask", "mask": [[1]]}, {"kind": "mask", "rle": 3},
        {"kind": "mask", "rle": {"size": [2, 2], "counts": "1"}}, {"kind": "mask", "rle": {"size": [2], "counts": [4]}},
        {"kind": "mask", "rle": {"size": [10**9, 10**9], "counts": [10**18]}},
    ],
    ids=str,
)  # fmt: skip
def test_json_that_is_none(stored: Any) -> None:
    with pytest.raises(InteractionError):
        interaction_from_json(stored)


@pytest.mark.parametrize(
    "made",
    [
        Scribble([("a", 1)]), Scribble([(1, 1)], positive=2), Scribble([(1, 1)], width=None),  # type: ignore[list-item, arg-type]
        Scribble([(1, 1)], weight="w"), Scribble([(1, 1)], label=[]), Paint([(1, 1)], width=[]),  # type: ignore[arg-type]
        Lasso([(1, np.nan)]), Lasso(7), Paint([(1,)]), Box(1, 2, "3", 4), Mask([[0, 1]]),  # type: ignore[arg-type, list-item]
        Mask(np.zeros((2, 2, 2), bool)),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_what_cannot_be_written(made: Interaction) -> None:
    with pytest.raises(InteractionError):
        made.to_json()
