"""Runs over a folder of small photos: what is written, what is checked before, and how a run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interactify
from interactify.engines import Finished, Work
from interactify.errors import InteractionError, OptionError, PhotoError
from interactify.mass import Local, NetworkRecipe, ObjectPrompts, PhotoPrompts, refine_photos
from interactify.mass.manifest import COLUMNS
from interactify.mass.run import MassOutcome
from tests.fixtures.many_photos import MODEL, SIZE, build, write_clicks, write_photos

RECIPE = NetworkRecipe(MODEL, {"mean": 0.4, "std": 0.3, "resolution": 64})
HERE = Local(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = write_photos(tmp_path / "photos", 3)
    write_clicks(tmp_path / "clicks.csv", names[:2])
    return tmp_path


def run(folder: Path, prompts: Any = None, net: Any = RECIPE, out: str = "out", **options: Any) -> MassOutcome:
    given = str(folder / "clicks.csv") if prompts is None else prompts
    options = {"engine": HERE, "progress": False, **options}
    return refine_photos(net, str(folder / "photos"), given, str(folder / out), **options)


def mask(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) > 127


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def timeless(rows: Any) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0, "photo_seconds": 0} for row in rows]


def test_masks_and_manifest_are_those_of_a_session(folder: Path) -> None:
    outcome = run(folder)
    assert str(outcome).startswith("4 objects in 2 photos") and outcome.without_prompts == 1
    net = RECIPE.network()
    for k, name in enumerate(("000", "001")):
        box = interactify.Box(45, 2, 57, 19 + k)
        for number, interaction in enumerate((box, interactify.Click(12 + k, 12)), start=1):
            result = net.session(folder / f"photos/{name}.png").add([interaction])
            assert np.array_equal(mask(folder / f"out/masks/{name}-{number}-mask.png"), result.mask)
            row = next(
                each
                for each in lines(folder / "out")
                if (each["photo"], each["object"]) == (f"{name}.png", str(number))
            )
            assert (row["area"], row["satisfied"]) == (result.mask.sum(), result.satisfied)
            assert row["evaluations"] == result.evaluations and 0 <= row["uncertainty"] <= 1 and row["seconds"] >= 0
            assert set(row) == set(COLUMNS) and row["error"] is None
    assert tuple(lines(folder / "out")) == outcome.rows


def test_every_format_holds_the_same_masks(folder: Path) -> None:
    from interactify.export import mask_of_rle
    from interactify.masks.fill import mask_of_polygons

    click, corners = {"kind": "point", "x": 20, "y": 12}, {"kind": "corners", "sides": [45, 2, 58, 20]}
    prompts = [PhotoPrompts("000", (ObjectPrompts("a", "mug", (click,)), ObjectPrompts("b", "cup", (corners,))))]
    outcome = run(folder, prompts, formats=["png,labels,npy,prob16,coco,rle", "geojson", "yolo"])
    masks = folder / "out/masks"
    a, b = (mask(masks / f"000-{name}-mask.png") for name in "ab")
    assert a.any() and b.any() and not np.array_equal(a, b)
    assert np.array_equal(np.load(masks / "000-a-probability.npy") > 0.5, a)
    assert np.array_equal(np.asarray(Image.open(masks / "000-b-probability.png")) > 32767, b)
    assert np.array_equal(mask_of_rle(json.loads((masks / "000-a-rle.json").read_text())), a)
    labels = np.asarray(Image.open(masks / "000-labels.png"))
    assert np.array_equal(labels == 2, b) and np.array_equal(labels == 1, a & ~b)
    features = json.loads((masks / "000.geojson").read_text())["features"]
    assert [each["properties"] for each in features] == [
        {"photo": "000.png", "object": "a", "category": "mug"}, {"photo": "000.png", "object": "b", "category": "cup"}
    ]  # fmt: skip
    assert {line.split()[0] for line in (masks / "000.txt").read_text().splitlines()} == {"0", "1"}
    for coco in (masks / "000-coco.json", folder / "out/coco.json"):
        stored = json.loads(coco.read_text())
        assert [each["name"] for each in stored["categories"]] == ["cup", "mug"]
        assert [each["category_id"] for each in stored["annotations"]] == [2, 1]
        for annotation, wanted in zip(stored["annotations"], (a, b), strict=True):
            assert np.array_equal(mask_of_polygons(annotation["segmentation"], SIZE), wanted)
    assert "coco.json" in outcome.files


def test_earlier_masks_clicks_and_logs_are_refined_as_in_a_session(folder: Path) -> None:
    net = interactify.wrap(build(), mean=0.4, std=0.3, resolution=64)
    session = net.session(folder / "photos/000.png")
    session.click(12, 12)
    session.add_object("second one")
    session.click(50, 5, positive=False)
    session.click(20, 20)
    prompts = folder / "prompts"
    prompts.mkdir()
    (prompts / "000-log.jsonl").write_text(session.log())
    earlier = np.zeros(SIZE, bool)
    earlier[10:20, 10:30] = True
    interactify.export.write_geojson(prompts / "001.geojson", earlier)
    outcome = run(folder, str(prompts), net)
    for name, file in (("object 1", "000-object-1"), ("second one", "000-second-one")):
        assert np.array_equal(mask(folder / f"out/masks/{file}-mask.png"), session.result_of(name).mask)
    assert np.array_equal(mask(folder / "out/masks/001-1-mask.png"), earlier)
    assert not outcome.errors


def test_a_poisoned_photo_becomes_a_row_and_the_others_go_on(folder: Path) -> None:
    photo = folder / "photos/000.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:300])
    outcome = run(folder, formats=["png", "coco"])
    (error,) = outcome.errors
    assert error["photo"] == "000.png" and error["error"].startswith("PhotoError: ") and error["satisfied"] is None
    assert len(outcome.rows) == 3 and len(json.loads((folder / "out/coco.json").read_text())["images"]) == 1
    photo.write_bytes(whole)
    assert len(run(folder, formats=["png", "coco"]).errors) == 1, "it is done, and stays an error"
    again = run(folder, formats=["png", "coco"], retry_errors=True)
    assert not again.errors and len(again.rows) == 4
    assert again.rows[2:] == outcome.rows[1:], "the other photo was not run again"


class Losing(Local):
    """An engine that gives up the first item."""

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        yield Finished(0, None, "its process ended")
        for finished in HERE.run(work, items[1:]):
            yield finished._replace(number=finished.number + 1)


def test_a_photo_that_is_given_up_is_a_row(folder: Path) -> None:
    outcome = run(folder, engine=Losing())
    assert [row["photo"] for row in outcome.rows] == ["000.png", "001.png", "001.png"]
    assert outcome.rows[0]["error"] == "its process ended" and len(outcome.errors) == 1
    assert not run(folder, retry_errors=True).errors


def test_a_run_goes_on_after_any_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = run(folder, out="whole").rows
    first = "".join(f"{json.dumps(row)}\n" for row in wanted[:2])
    run(folder)
    begun: list[str] = []
    rows = interactify.mass.refining.Refining.rows
    monkeypatch.setattr(
        interactify.mass.refining.Refining,
        "rows",
        lambda self, *given: begun.append(given[1].photo) or rows(self, *given),
    )
    whole = (folder / "whole/manifest.jsonl").read_text()
    cuts = (
        (whole[: len(first)], 1), (whole[: len(first) + 30], 1), (whole[: len(first) - 20], 2), ("", 2), (whole[:30], 2)
    )  # fmt: skip
    for kept, waiting in cuts:
        (folder / "out/manifest.jsonl").write_text(kept)
        begun.clear()
        assert timeless(run(folder).rows) == timeless(wanted)
        assert len(begun) == waiting
    begun.clear()
    run(folder)
    assert begun == []


def test_new_prompts_are_run_and_the_rest_is_kept(folder: Path) -> None:
    before = run(folder).rows
    write_clicks(folder / "clicks.csv", ["000.png", "001.png", "002.png"])
    text = (folder / "clicks.csv").read_text().replace("001.png,13,12", "001.png,14,12")
    (folder / "clicks.csv").write_text(text + "002.png,,,pen,1,1,9,9\n")
    after = run(folder)
    assert after.rows[:2] == before[:2] and after.rows[2:4] != before[2:4] and len(after.rows) == 7
    assert json.loads((folder / "out/run.json").read_text())["categories"] == ["object", "pen"]


def test_another_run_s_folder_is_refused_and_left_alone(folder: Path) -> None:
    run(folder)
    before = (folder / "out/manifest.jsonl").read_bytes()
    for options, message in (
        ({"net": NetworkRecipe(MODEL, {**RECIPE.options, "energy": "brs"})}, "energy"),
        ({"formats": ["rle"]}, r"formats: \['png'\], here \['rle'\]"),
        ({"uses": ["boxes"]}, "uses|no shapes|Expected shapes"),
    ):
        with pytest.raises((OptionError, InteractionError), match=message):
            run(folder, **options)
    (folder / "out/run.json").unlink()
    with pytest.raises(OptionError, match=r"run\.json beside"):
        run(folder)
    (folder / "out/manifest.jsonl").write_text("nonsense\n")
    (folder / "out/run.json").write_text("{")
    with pytest.raises(OptionError, match="settings of a run"):
        run(folder)
    (folder / "out/run.json").unlink()
    (folder / "out/manifest.jsonl").write_bytes(before)


def test_everything_is_checked_before_any_work(folder: Path) -> None:
    table = (folder / "clicks.csv").read_text()
    for text, error, message in (
        (table + "003.png,1,1,1,,,,\n", OptionError, "no 003.png"),
        (table + "002.png,60,1,1,,,,\n", InteractionError, "002.png, object 1: .*x from 0 to 59"),
        (table + "002.png,,,,70,1,90,9\n", InteractionError, "box that lies in the photo"),
    ):
        (folder / "clicks.csv").write_text(text)
        with pytest.raises(error, match=message):
            run(folder)
    (folder / "clicks.csv").write_text(table)
    with pytest.raises(InteractionError, match="Expected shapes of masks"):
        run(folder, uses=["masks"])
    for options, message in (
        ({"formats": ["gif"]}, "gif"),
        ({"threads": 0}, "threads"),
        ({"tolerance": -1}, "tolerance"),
    ):
        with pytest.raises(OptionError, match=message):
            run(folder, **options)
    (folder / "photos/000.jpg").write_bytes((folder / "photos/000.png").read_bytes())
    (folder / "clicks.csv").write_text(table + "000.jpg,1,1,1,,,,\n")
    with pytest.raises(OptionError, match="differ without their endings"):
        run(folder)
    (folder / "empty").mkdir()
    with pytest.raises(PhotoError, match="got none that end in"):
        refine_photos(RECIPE, str(folder / "empty"), str(folder / "clicks.csv"), str(folder / "out"))
    assert not (folder / "out").exists()


def test_masks_inside_of_the_photos_folder_are_no_photos(folder: Path) -> None:
    for _ in range(2):
        assert run(folder, out="photos/out", retry_errors=True).without_prompts == 1


def test_photos_of_another_size_than_stated_are_errors(folder: Path) -> None:
    stated = PhotoPrompts("000.png", (ObjectPrompts("1", None, ({"kind": "point", "x": 2, "y": 2},)),), size=(30, 60))
    (row,) = run(folder, [stated]).rows
    assert "60 wide and 30 high" in row["error"]


def test_labels_choose_among_the_network_s_classes(folder: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = interactify.wrap(nn.Conv2d(3, 3, 1), mean=0.4, std=0.3, resolution=64, class_names=["sky", "cup", "road"])
    click = ({"kind": "point", "x": 20, "y": 12},)
    prompts = [PhotoPrompts("000", tuple(ObjectPrompts(name, name, click) for name in ("cup", "road", "thing")))]
    assert not run(folder, prompts, net).errors
    for name, target in (("cup", "cup"), ("road", "road"), ("thing", None)):
        result = net.session(folder / "photos/000.png", target=target).click(20, 12)
        assert np.array_equal(mask(folder / f"out/masks/000-{name}-mask.png"), result.mask)


def test_the_table_has_the_manifest_s_rows(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, which comes with pip install -e '.[ray]'")
    (folder / "photos/000.png").write_bytes(b"damaged")
    outcome = run(folder)
    table = parquet.read_table(folder / "out/manifest.parquet")
    assert table.to_pylist() == [{name: row[name] for name in COLUMNS} for row in outcome.rows]
    assert "manifest.parquet" in outcome.files


def test_photos_prompts_and_results_elsewhere(folder: Path) -> None:
    """On a file system of fsspec's that is no folder of this machine."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(folder / "photos"), "/elsewhere/photos", recursive=True)
    files.put(str(folder / "clicks.csv"), "/elsewhere/clicks.csv")
    where = [f"memory://elsewhere/{name}" for name in ("photos", "clicks.csv", "out")]
    try:
        there = refine_photos(RECIPE, *where, formats=["png", "coco"], engine=HERE, progress=False)
        here = run(folder, formats=["png", "coco"])
        assert timeless(there.rows) == timeless(here.rows)
        for name in ("masks/000-1-mask.png", "masks/001-coco.json", "coco.json"):
            assert files.cat(f"/elsewhere/out/{name}") == (folder / "out" / name).read_bytes()
        assert not files.exists("/elsewhere/out/manifest-parts")
        # As a killed driver leaves it: parts, and no manifest yet.
        rows = files.cat("/elsewhere/out/manifest.jsonl")
        files.rm("/elsewhere/out/manifest.jsonl")
        files.pipe("/elsewhere/out/manifest-parts/000001.jsonl", b"".join(rows.splitlines(True)[:2]))
        files.rm("/elsewhere/out/masks/000-1-mask.png")
        again = refine_photos(RECIPE, *where, formats=["png", "coco"], engine=HERE, progress=False)
        assert timeless(again.rows) == timeless(here.rows) and again.rows[:2] == there.rows[:2]
        assert not files.exists("/elsewhere/out/masks/000-1-mask.png"), "what was done was not done again"
    finally:
        files.rm("/elsewhere", recursive=True)
    with pytest.raises(OptionError, match="fsspec"):
        refine_photos(RECIPE, "nowhere://x/photos", where[1], where[2])
