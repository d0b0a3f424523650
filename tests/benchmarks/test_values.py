"""The benchmark of clicks on maps of numbers: its pictures, its user, what it compares with, and its figures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import value_networks, values
from benchmarks.drawn_depth import FARTHEST, _ball, _box, rooms, shifted
from benchmarks.drawn_mattes import Mattes
from benchmarks.value_clicks import Blobs, Fitted, order_click, value_click
from benchmarks.value_networks import NETWORKS
from benchmarks.values import Run, errors_of, harm
from interactify.learning import Recipe
from interactify.values import ValueClick


def cut_out():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), bool)
    mask[10:30, 12:40] = True
    return rng.integers(0, 255, (40, 50, 3), np.uint8), mask


@pytest.mark.parametrize("draw", [Mattes(), Mattes(behind=True), Mattes([cut_out()], share=1.0)], ids=str)
def test_mattes_are_what_the_picture_was_mixed_with(draw):
    picture, matte = draw(np.random.default_rng(3), 48)
    again, _ = draw(np.random.default_rng(3), 48)
    np.testing.assert_array_equal(picture, again)
    assert picture.shape == (48, 48, 3) and picture.dtype == np.uint8
    assert matte.shape == (48, 48) and matte.min() >= 0 and matte.max() <= 1 and matte.max() > 0.3
    soft = (matte > 0.1) & (matte < 0.9)
    assert 0.003 < soft.mean() < 0.8 and (matte < 0.05).mean() > 0.1


def test_rays_meet_a_ball_and_a_box_where_they_are():
    eye, rays = np.zeros(3), np.array([[[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]])
    reached, normal = _ball(eye, rays, np.array([0.0, 0.0, 5.0]), 1.0)
    assert reached[0].tolist() == [4.0, np.inf] and normal[0, 0].tolist() == [0, 0, -1]
    halves = np.array([1.0, 2.0, 0.5])  # it stands on y = 0
    reached, normal = _box(np.array([0.0, 1.0, 0.0]), rays, np.array([0.0, 9.0, 5.0]), halves, 0.0)
    assert reached[0].tolist() == [4.5, np.inf] and normal[0, 0].tolist() == [0, 0, -1]
    reached, _ = _box(np.array([0.0, 1.0, 0.0]), rays, np.array([0.0, 9.0, 5.0]), halves, np.pi / 2)
    assert reached[0, 0] == pytest.approx(4.0)


@pytest.mark.parametrize("draw", [rooms, shifted])
def test_scenes_are_nearer_below(draw):
    picture, depth = draw(np.random.default_rng(1), 40)
    assert picture.dtype == np.uint8 and depth.dtype == np.float32
    assert depth.min() > 0.3 and depth.max() <= FARTHEST
    assert depth[-1].mean() < depth[20].mean()


def test_the_user_clicks_inside_the_worst_region_once():
    truth, own = np.zeros((20, 30), np.float32), np.zeros((20, 30), np.float32)
    own[2:9, 2:9], own[12:15, 20:23] = 0.2, -2.0  # larger, but less wrong in sum
    clicked = np.zeros((20, 30), bool)
    first = value_click(truth, own, 0.1, clicked)
    assert (first.x, first.y, first.value) == (21, 13, 0.0)
    clicked[13, 21] = True
    assert value_click(truth, own, 0.1, clicked) != first
    assert value_click(truth, truth, 0.1, clicked) is None


def test_the_user_of_orders_names_what_is_wrong():
    truth = np.repeat(np.linspace(1, 10, 36, dtype=np.float32)[None], 36, 0)
    order = order_click(truth, -truth, set())
    assert truth[order.y, order.x] > truth[order.than_y, order.than_x] + 5
    told = {(order.x, order.y, order.than_x, order.than_y)}
    assert order_click(truth, -truth, told) != order
    assert order_click(truth, 3 * truth + 1, set()) is None


def test_what_refinement_is_compared_with():
    own = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    blobs = Blobs(own, 0.05)
    blobs.add(ValueClick(4, 3, 0.9))
    assert blobs.values[3, 4] == pytest.approx(0.9)
    np.testing.assert_allclose(blobs.values[12:, 15:], own[12:, 15:], atol=1e-6)
    fitted = Fitted(own)
    np.testing.assert_array_equal(fitted.values, own)
    for x, y in ((4, 3), (20, 10)):
        fitted.add(ValueClick(x, y, 2 * float(own[y, x]) + 1))
    np.testing.assert_allclose(fitted.values, 2 * own + 1, rtol=1e-5)


def test_clicks_that_make_a_map_worse_are_counted():
    run = Run("a", [{"mae": each} for each in (1.0, 1.2, 0.6, 0.603)], [2, 4, 6], [0.0, 0.3, 0.0], [True, True, False])
    found = harm([run], "mae")
    assert (found["clicks"], found["worse"], found["worse_by"]) == (3, 0.3333, 0.2)
    assert (found["evaluations_per_click"], found["collateral"], found["satisfied"]) == (4.0, 0.1, 0.6667)
    assert run.after("mae", 10) == 0.603


def test_errors():
    truth, found = np.array([[2.0, 4.0]], np.float32), np.array([[2.0, 6.0]], np.float32)
    assert errors_of("matting", found, truth) == {"mae": 1.0, "sad": 0.002}
    assert errors_of("depth", found, truth) == {"rmse": pytest.approx(np.sqrt(2)), "delta": 0.5}


def test_a_network_is_trained_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(value_networks, "POOL", 3)
    monkeypatch.setattr(value_networks, "SCORED", 1)
    monkeypatch.setattr(values, "RESULTS", tmp_path / "values.json")
    network = replace(NETWORKS["depth"], recipe=Recipe(steps=2, batch=2))
    network.train(tmp_path, None)
    found = values.measure(network, tmp_path, None, count=1, clicks=2)
    values.keep("depth", found)
    stored = json.loads((tmp_path / "values.json").read_text())["depth"]
    assert stored["pictures"] == 2 and set(stored["rows"]) == {
        "refined",
        "gaussian",
        "scale and shift",
        "refined, aligned",
        "orders",
    }
    curves = stored["rows"]["refined"]["pictures"]
    assert set(curves) == {"rooms-01", "shifted-01"} and all(len(each) == 3 for each in curves.values())
    assert stored["rows"]["gaussian"]["rmse_0"] == stored["rows"]["refined"]["rmse_0"]
    assert "| refined |" in values.table(found)
    values.keep("depth", values.measure(network, tmp_path, None, count=1, clicks=1, only=["orders"]))
    merged = json.loads((tmp_path / "values.json").read_text())["depth"]
    assert (
        merged["rows"]["refined"] == stored["rows"]["refined"]
        and merged["sets"]["rooms"].keys() == stored["rows"].keys()
    )
    assert len(merged["rows"]["orders"]["pictures"]["rooms-01"]) <= 2
    values.drawn(network, tmp_path, None, 1, tmp_path / "picture.webp")
    assert (tmp_path / "picture.webp").stat().st_size > 1000
