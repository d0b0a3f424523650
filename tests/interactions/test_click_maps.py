"""Interaction maps against values worked out by hand and against SciPy's distance transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from interactify.errors import InteractionError, OptionError
from interactify.interactions.click import Click
from interactify.interactions.click_maps import interaction_maps

KINDS = ("distance", "disk", "gaussian", "tanh")
FORMULAS = {
    "distance": lambda d, r: 1 - np.minimum(d, r) / r,
    "disk": lambda d, r: (d <= r).astype(float),
    "gaussian": lambda d, r: np.exp(-(d**2) / (2 * r**2)),
    "tanh": lambda d, r: np.tanh(2 * d / r),
}
DEFAULTS = {"distance": 255, "disk": 5, "gaussian": 10, "tanh": 260}


def transformed(clicks: list[Click], size: tuple[int, int]) -> np.ndarray:
    free = np.ones(size, bool)
    for click in clicks:
        free[click.y, click.x] = False
    return distance_transform_edt(free)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", [None, 3.5, 40])
def test_against_the_distance_transform(kind, radius):
    random = np.random.default_rng(4)
    size = (61, 300)
    corners = [Click(0, 0), Click(299, 60), Click(299, 0, False), Click(0, 60, False)]
    inner = [
        Click(int(x), int(y), bool(p))
        for x, y, p in zip(random.integers(0, 300, 9), random.integers(0, 61, 9), random.integers(0, 2, 9), strict=True)
    ]
    for clicks in (corners, inner, corners + inner, inner[:1]):
        got = interaction_maps(clicks, size, kind, radius=radius)
        assert got.shape == (2, *size) and got.dtype == torch.float32
        for channel, positive in ((0, True), (1, False)):
            those = [click for click in clicks if click.positive is positive]
            distance = transformed(those, size) if those else np.full(size, np.inf)
            expected = FORMULAS[kind](distance, DEFAULTS[kind] if radius is None else radius)
            assert np.abs(got[channel].numpy() - expected).max() < 1e-6


def test_values_worked_out_by_hand():
    clicks = [Click(0, 0), Click(300, 0), Click(3, 4, False)]
    near, far = (4, 3), (0, 150)  # (y, x): 5 and 0 px away from a click; 150 px away from the nearest positive one
    distance = interaction_maps(clicks, (5, 301))
    assert distance[0][near].item() == pytest.approx(1 - 5 / 255)
    assert distance[1][near].item() == 1
    assert distance[0][far].item() == pytest.approx(1 - 150 / 255)
    assert distance[1, 0, 300].item() == 0  # further than 255 px
    disk = interaction_maps(clicks, (5, 301), "disk")
    assert disk[0][near].item() == 1 and disk[0, 4, 4].item() == 0  # 5 px away is in, sqrt(32) is out
    gaussian = interaction_maps(clicks, (5, 301), "gaussian", radius=5)
    assert gaussian[0][near].item() == pytest.approx(math.exp(-0.5))
    tanh = interaction_maps(clicks, (5, 301), "tanh")
    assert tanh[0][near].item() == pytest.approx(math.tanh(10 / 260))
    assert tanh[1][near].item() == 0


@pytest.mark.parametrize(("kind", "empty"), [("distance", 0), ("disk", 0), ("gaussian", 0), ("tanh", 1)])
def test_without_clicks_and_at_a_click(kind, empty):
    nothing = interaction_maps([], (4, 6), kind)
    assert nothing.shape == (2, 4, 6) and (nothing == empty).all()
    one = interaction_maps([Click(5, 3, False)], (4, 6), kind)
    assert (one[0] == empty).all()
    assert one[1, 3, 5] == 1 - empty
    assert one.min() >= 0 and one.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_points_between_and_outside_pixels_count_with_their_true_distance(kind):
    y, x = np.mgrid[:7, :9]
    for point in ((2.25, 3.5), (-2.0, 8.5), (8.9, -0.4)):
        distance = np.hypot(x - point[0], y - point[1])
        got = interaction_maps([Click(*point)], (7, 9), kind, radius=4)
        assert np.abs(got[0].numpy() - FORMULAS[kind](distance, 4)).max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_repetition_change_nothing(kind):
    clicks = [Click(1, 2), Click(7, 0, False), Click(3, 3), Click(1, 2)]
    once = interaction_maps(clicks, (5, 9), kind)
    assert torch.equal(once, interaction_maps(clicks[::-1], (5, 9), kind))
    assert torch.equal(once, interaction_maps(iter(clicks[:3]), (5, 9), kind))


def test_large_grids_are_exact():
    got = interaction_maps([Click(4000, 0)], (1, 4001), "disk", radius=4000)
    assert got[0].all()
    got = interaction_maps([Click(4000, 0)], (1, 4001), "disk", radius=3999)
    assert got[0, 0, 0] == 0 and got[0, 0, 1:].all()


@pytest.mark.parametrize("kind", ["euclid", "", None, 3, "Distance", ["disk"]])
def test_an_unknown_kind_names_the_known_ones(kind):
    with pytest.raises(OptionError, match="'distance', 'disk', 'gaussian', 'tanh'"):
        interaction_maps([], (4, 4), kind)


@pytest.mark.parametrize("radius", [0, -1, math.nan, math.inf, "5", True])
def test_a_radius_is_positive(radius):
    with pytest.raises(OptionError, match="radius"):
        interaction_maps([], (4, 4), radius=radius)


def test_a_size_has_pixels():
    with pytest.raises(OptionError, match="size"):
        interaction_maps([], (0, 4))


@pytest.mark.parametrize("click", [Click(math.nan, 0), Click(0, math.inf), Click("1", 0), (1, 2)])
def test_a_click_has_finite_coordinates(click):
    with pytest.raises(InteractionError):
        interaction_maps([click], (4, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu(kind):
    clicks = [Click(1, 2), Click(7, 0, False)]
    got = interaction_maps(clicks, (5, 9), kind, device="cuda")
    assert got.device.type == "cuda"
    assert torch.allclose(got.cpu(), interaction_maps(clicks, (5, 9), kind), atol=1e-6)
