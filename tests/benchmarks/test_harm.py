"""The benchmark of what clicks wreck: halves, networks and photos, a killed run that goes on, and a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import harm, harm_networks
from benchmarks.drawn_text import text_samples
from benchmarks.harm import Settings, comparison, read_result, write_result
from benchmarks.harm_networks import HALVES, NETWORKS, Photo, half_of, network_named, photo_set
from interactify.errors import CheckpointError, OptionError
from interactify.evaluation import Record

OPTION = ["--option", "resolution=64"]  # the embedded network, quick


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four grey photos, each with a brighter square."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / "GrabCut50" / kind).mkdir(parents=True)
    for n in range(4):
        mask = np.zeros((40, 56), np.uint8)
        mask[8 : 24 + n, 10:36] = 255
        photo = np.repeat((60 + mask // 3 + n)[..., None], 3, 2)
        Image.fromarray(photo).save(tmp_path / f"data/GrabCut50/images/p{n}.png")
        Image.fromarray(mask).save(tmp_path / f"data/GrabCut50/masks/p{n}.png")
    return tmp_path / "data"


def call(tmp_path: Path, data: Path, *more: str, out: str = "a") -> dict[str, Any]:
    harm.main(
        [
            *(str(tmp_path), "--data", str(data), "--networks", "zoo", "--photos", "GrabCut50", "--half", "choose"),
            *("--clicks", "1", "--out", str(tmp_path / f"{out}.json"), *OPTION, *more),
        ]
    )
    found: dict[str, Any] = json.loads((tmp_path / f"{out}.json").read_text())
    return found


def test_halves_are_fixed_and_complete() -> None:
    photos = [Photo(f"{n:02d}", ()) for n in range(41)]
    choose, report = (half_of("set", photos, half) for half in HALVES)
    assert len(choose) == 21 and len(report) == 20
    assert sorted(photo.name for photo in (*choose, *report)) == [photo.name for photo in photos]
    assert half_of("set", photos[::-1], "choose") == choose[::-1]  # whatever the order
    assert half_of("other", photos, "choose") != choose


def test_drawn_sets_need_no_folder_and_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harm_networks, "DRAWN", 2)
    for network in NETWORKS.values():
        for name in network.photos:
            if name[0].islower():
                assert len(photo_set(name, None)) == 2
            else:
                with pytest.raises(OptionError, match="--data"):
                    photo_set(name, None)


@pytest.mark.parametrize("name", ["pages", "signs"])
def test_text_is_in_the_middle_of_its_box(name: str) -> None:
    one, other = text_samples(name, 2)
    assert set(np.unique(one.truth)) == {-1, 0, 1} and not np.array_equal(one.truth, other.truth)
    assert np.array_equal(one.photo, text_samples(name, 1)[0].photo)
    rows = np.flatnonzero((one.truth == 1).any(1))
    assert one.truth[rows[0] - 1][one.truth[rows[0]] == 1].max() == -1  # above text, unknown


@pytest.mark.parametrize("name", ["camvid", "kinds", "thin-trees", "one-scale"])
def test_missing_weights_say_how_they_are_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Try python -m\s+benchmarks\."):
        network_named(name).load(tmp_path)


def test_a_killed_run_goes_on_where_it_ended(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clicked, original = [], harm.click_through

    def killed(net: Any, sample: Any, clicks: int, user: Any) -> Any:
        if len(clicked) == 1:
            raise KeyboardInterrupt
        clicked.append(sample.name)
        return original(net, sample, clicks, user)

    monkeypatch.setattr(harm, "click_through", killed)
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path, data)
    assert len(clicked) == 1

    def counted(net: Any, sample: Any, clicks: int, user: Any) -> Any:
        clicked.append(sample.name)
        return original(net, sample, clicks, user)

    monkeypatch.setattr(harm, "click_through", counted)
    result = call(tmp_path, data)
    assert len(clicked) == len(set(clicked)) == 2  # of four photos, half
    records = result["records"]["zoo"]["GrabCut50"]
    assert list(records) == sorted(clicked) and all(len(each[0]["curve"]) == 2 for each in records.values())
    assert result["machine"]["torch"] and result["settings"]["options"] == {"resolution": 64}
    first = np.mean([each[0]["curve"][0] for each in records.values()])
    assert result["figures"]["whole"]["iou_0"][0] == pytest.approx(first, abs=1e-4)
    assert "| losing_clicks |" in capsys.readouterr().out
    same = call(tmp_path, data, "--against", str(tmp_path / "a.json"))
    assert len(clicked) == 2  # all from the file
    assert same["against"]["figures"]["area"] == {
        "whole": [0.0, 0.0, 0.0],
        "networks": {"zoo": [0.0, 0.0, 0.0]},
        "verdict": "no difference shown",
    }


def test_a_photo_set_that_is_for_no_network_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(SystemExit, match="Expected photo sets that zoo is for"):
        call(tmp_path, data, "--photos", "trees")


def made_up(*curves: list[float], half: str = "choose") -> tuple[Any, Settings]:
    photos = {f"{k}": [Record(f"{k}", curve)] for k, curve in enumerate(curves)}
    return {"net": {"set": photos}}, Settings(half, clicks=len(curves[0]) - 1)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs, settings = made_up([0.25, 0.5], [0.125, 0.75])
    write_result(tmp_path / "a.json", runs, settings, {})
    assert read_result(tmp_path / "a.json", settings) == runs
    for other in (Settings("report", settings.clicks), Settings("choose", 7)):
        with pytest.raises(OptionError, match="Expected a result with"):
            read_result(tmp_path / "a.json", other)
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(OptionError, match="none"):
        read_result(tmp_path / "b.json", settings)


def test_a_change_that_helps_every_photo_is_better_and_one_that_wrecks_is_not() -> None:
    before, _ = made_up(*([0.9, 0.9 + k / 100] for k in range(8)))
    after, _ = made_up(*([0.9, 0.92 + k / 100] for k in range(8)))
    worse, _ = made_up(*([0.9, 0.6] for k in range(8)))
    said = comparison(before, after, 1)["figures"]
    assert said["iou_1"]["verdict"] == said["after_good"]["verdict"] == "better"
    assert said["losing_clicks"]["verdict"] == "no difference shown"
    assert said["iou_1"]["whole"] == pytest.approx([0.02] * 3)
    said = comparison(before, worse, 1)["figures"]
    assert said["losing_clicks"]["verdict"] == said["iou_1"]["verdict"] == "worse"
    with pytest.raises(OptionError, match="shares none"):
        comparison(before, {"other": before["net"]}, 1)
