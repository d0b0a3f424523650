"""Simulated clicks of training: their numbers, where they are, and what they react to."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import nn

from interactify import ClickMaps
from interactify.interactions.click import Click
from interactify.learning import ClickTask, Drawing, LabelledPhoto, NoClick
from interactify.learning.click_sampling import FirstClick, SpreadClicks, click_on_error, pixel_inside, spread_pixels
from interactify.learning.click_task import ClickBatch


@pytest.fixture
def truth():
    truth = np.zeros((120, 160), np.int8)
    truth[40:80, 50:110] = 1
    truth[38:40, 50:110] = -1
    return truth


def test_spread_clicks_are_where_the_paper_says(truth):
    away = distance_transform_edt(truth != 1)
    counts = set()
    for seed in range(60):
        clicks = SpreadClicks().clicks(truth, np.random.default_rng(seed))
        positive = [click for click in clicks if click.positive]
        negative = [click for click in clicks if not click.positive]
        counts.add((len(positive), len(negative)))
        assert 1 <= len(positive) <= 10
        assert len(negative) <= 10
        assert all(truth[click.y, click.x] == 1 for click in positive)
        assert all(truth[click.y, click.x] == 0 and 5 <= away[click.y, click.x] <= 40 for click in negative)
    assert {count for count, _ in counts} == set(range(1, 11))
    assert {count for _, count in counts} == set(range(11))


def test_medoids_are_farther_apart_than_random_pixels(truth):
    def closest(pixels):
        points = np.array(pixels, float)
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
        return (distance + 1e9 * np.eye(len(points))).min()

    region = truth == 1
    ys, xs = np.nonzero(region)
    spread, drawn = [], []
    for seed in range(30):
        random = np.random.default_rng(seed)
        spread.append(closest(spread_pixels(region, 6, random)))
        some = random.permutation(len(ys))[:6]
        drawn.append(closest(list(zip(xs[some], ys[some], strict=True))))
    assert np.mean(spread) > 1.5 * np.mean(drawn)


def test_a_small_region_gives_all_of_its_pixels():
    region = np.zeros((5, 5), bool)
    region[2, 1:3] = True
    assert sorted(spread_pixels(region, 9, np.random.default_rng(0))) == [(1, 2), (2, 2)]


def test_no_object_no_clicks():
    empty = np.zeros((9, 9), np.int8)
    assert SpreadClicks().clicks(empty, np.random.default_rng(0)) == []
    assert FirstClick().clicks(empty, np.random.default_rng(0)) == []


def test_the_first_click_is_in_the_inner_half(truth):
    depth = distance_transform_edt(truth == 1)
    for seed in range(40):
        (click,) = FirstClick().clicks(truth, np.random.default_rng(seed))
        assert click.positive
        assert depth[click.y, click.x] > depth.max() / 2


def test_depth_ends_at_the_picture():
    everything = np.ones((21, 21), bool)
    for seed in range(20):
        x, y = pixel_inside(everything, np.random.default_rng(seed))
        assert 5 <= x <= 15
        assert 5 <= y <= 15


def test_errors_are_clicked(truth):
    random = np.random.default_rng(0)
    missed = click_on_error(truth, np.zeros(truth.shape, bool), [], random)
    assert missed.positive
    assert truth[missed.y, missed.x] == 1
    added = click_on_error(truth, np.ones(truth.shape, bool), [], random)
    assert not added.positive
    assert truth[added.y, added.x] == 0


def test_nothing_wrong_nothing_clicked(truth):
    assert click_on_error(truth, truth == 1, [], np.random.default_rng(0)) is None
    assert click_on_error(truth, truth != 0, [], np.random.default_rng(0)) is None  # only unknown pixels differ


def test_a_pixel_is_clicked_once():
    truth = np.zeros((5, 5), np.int8)
    truth[2, 2] = 1
    assert click_on_error(truth, np.zeros((5, 5), bool), [Click(2, 2)], np.random.default_rng(0)) is None


def test_the_first_click_of_a_sample_without_clicks_corrects_the_networks_guess(truth):
    assert NoClick().clicks(truth, np.random.default_rng(0)) == []
    # A guess of far too much: the first click is negative, outside of the object and in the guess.
    click = click_on_error(truth, np.ones(truth.shape, bool), [], np.random.default_rng(0))
    assert not click.positive and truth[click.y, click.x] == 0
    empty = click_on_error(truth, np.zeros(truth.shape, bool), [], np.random.default_rng(0))
    assert empty.positive and truth[empty.y, empty.x] == 1


class Spy(nn.Module):
    """Marks the whole square, and keeps what it read."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.bias.expand(len(x), 1, *x.shape[-2:])


def test_the_mask_before_the_first_click_is_empty_and_then_the_networks_own(truth):
    small = truth[30:94, 40:120:1][:64, :64]
    masks = torch.from_numpy(small).float()[None, None].expand(2, 1, 64, 64)
    batch = ClickBatch(torch.zeros(2, 3, 64, 64), masks, [[], [Click(32, 20)]], rounds=2)
    nothing = Drawing([LabelledPhoto(Path("a.png"), Path("b.png"))])
    task = ClickTask(nothing, [], (0.5,) * 3, (0.5,) * 3, ClickMaps("disk", radius=3, previous_mask=True))
    network = Spy()
    task.loss(network, batch)
    guess, second, third = (seen[:, 3:] for seen in network.seen)
    assert guess[0].eq(0).all() and guess[1, 0].any()  # the maps: positive clicks, negative clicks, the mask before
    assert second[0, 1].any() and not second[0, 0].any()  # the guess is too large: a negative click
    assert second[0, 2].eq(0).all()  # it answers no click
    torch.testing.assert_close(second[1, 2], torch.sigmoid(torch.ones(64, 64)))
    torch.testing.assert_close(third[0, 2], torch.sigmoid(torch.ones(64, 64)))
