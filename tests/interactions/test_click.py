"""A click is checked against a photo; errors tell what was expected and what was given."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interactify.errors import InteractionError
from interactify.interactions.click import Click, checked

SIZE = (20, 30)  # 30 wide, 20 high


def test_a_click_is_positive_by_default_and_immutable():
    click = Click(3, 4)
    assert click.positive is True
    assert click == Click(3, 4, True) != Click(3, 4, False)
    assert len({click, Click(3, 4)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        click.x = 5


@pytest.mark.parametrize(
    "value",
    [7, 7.0, 7.4, 6.5, np.int64(7), np.uint8(7), np.float32(7.2), np.float16(7), torch.tensor(7), torch.tensor(6.9),
     np.array(7), Fraction(15, 2) - Fraction(1, 4), np.longdouble(7)],
)  # fmt: skip
def test_numbers_of_any_make_become_pixels(value):
    got = checked(Click(value, value, np.True_), SIZE)
    assert got == Click(7, 7, True)
    assert type(got.x) is int and type(got.y) is int and type(got.positive) is bool


@pytest.mark.parametrize("corner", [(0, 0), (29, 0), (0, 19), (29, 19), (-0.5, -0.5), (29.4999, 19.4999)])
def test_every_point_of_the_photo_has_its_pixel(corner):
    got = checked(Click(*corner), SIZE)
    assert abs(got.x - corner[0]) <= 0.5 and abs(got.y - corner[1]) <= 0.5


@pytest.mark.parametrize(
    "outside", [(-1, 0), (30, 0), (0, 20), (0, -0.51), (29.5, 0), (0, 19.5), (1e300, 0), (10**400, 0)]
)
def test_outside_the_photo(outside):
    with pytest.raises(InteractionError, match=r"x from 0 to 29 and y from 0 to 19, .*30 wide and 20 high"):
        checked(Click(*outside), SIZE)


def test_swapped_coordinates_are_suspected():
    with pytest.raises(InteractionError, match="swapped"):
        checked(Click(19, 29), SIZE)
    with pytest.raises(InteractionError) as caught:
        checked(Click(300, 5), SIZE)
    assert "swapped" not in str(caught.value)


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -np.inf, np.float32("nan"), torch.tensor(torch.nan), "7", None, True, np.True_,
     torch.tensor(True), [7], (7,), np.array([7]), torch.tensor([7]), 7 + 0j, Decimal(7), np.datetime64("2020-01-01"),
     Fraction(10**400)],
)  # fmt: skip
def test_what_is_no_finite_number_is_no_coordinate(axis, value):
    click = dataclasses.replace(Click(7, 7), **{axis: value})
    for use in (lambda: checked(click, SIZE), click.to_json):
        with pytest.raises(InteractionError, match=rf"click's {axis} to be"):
            use()


@pytest.mark.parametrize("value", [2, -1, None, "yes", np.array([True]), 1.0, np.float32(0), torch.tensor([1])])
def test_positive_is_a_bool_or_one_or_zero(value):
    with pytest.raises(InteractionError, match="True or False"):
        checked(Click(7, 7, value), SIZE)


@pytest.mark.parametrize("kind", [int, bool, np.bool_, np.int64, np.uint8, torch.tensor, np.array])
def test_positive_may_be_one_or_zero(kind):
    for value in (1, 0):
        click = Click(7, 7, kind(value))
        got = checked(click, SIZE)
        assert got.positive is bool(value) and click.to_json()["positive"] is bool(value)


@pytest.mark.parametrize("value", [(7, 7), None, {"x": 1, "y": 2}])
def test_only_a_click_is_checked(value):
    with pytest.raises(InteractionError, match="Expected an interaction"):
        checked(value, SIZE)


def test_a_long_value_is_shortened_in_errors():
    with pytest.raises(InteractionError) as caught:
        checked(Click("x" * 5000, 1), SIZE)
    assert len(str(caught.value)) < 200


@given(
    x=st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    y=st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    positive=st.booleans(),
)
def test_json_there_and_back(x, y, positive):
    click = Click(x, y, positive)
    assert Click.from_json(json.loads(json.dumps(click.to_json()))) == click


def test_numpy_and_torch_numbers_are_written_plainly():
    stored = Click(np.int64(3), torch.tensor(4.5), np.False_).to_json()
    assert json.loads(json.dumps(stored)) == {"kind": "click", "x": 3, "y": 4.5, "positive": False}


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (None, "NoneType"),
        ([1, 2, True], "list"),
        ("click", "str"),
        ({}, "without"),
        ({"x": 1, "y": 2}, "positive"),
        ({"kind": "box", "x": 1, "y": 2, "positive": True}, "box"),
        ({"kind": None, "x": 1, "y": 2, "positive": True}, "None"),
        ({"x": 1, "y": 2, "positive": True, "z": 3}, "unknown.*z"),
        ({"x": "1", "y": 2, "positive": True}, "x to be"),
        ({"x": 1, "y": None, "positive": True}, "y to be"),
        ({"x": 1, "y": float("nan"), "positive": True}, "finite"),
        ({"x": True, "y": 2, "positive": True}, "x to be"),
        ({"x": 1, "y": 2, "positive": 2}, "True or False"),
    ],
)
def test_malformed_json_is_a_clear_error(stored, says):
    with pytest.raises(InteractionError, match=says):
        Click.from_json(stored)


def test_the_kind_may_be_left_out():
    assert Click.from_json({"x": 1, "y": 2, "positive": False}) == Click(1, 2, False)
