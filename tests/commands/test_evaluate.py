"""`interactify evaluate`, with the embedded network on two tiny photos: runs, interruptions, workers and the report."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import interactify
from interactify import OptionError, cli
from interactify.evaluation import Record
from interactify.evaluation.campaign import Campaign, run
from interactify.evaluation.reports.curves import Line, svg
from interactify.evaluation.reports.report import write_report
from interactify.evaluation.results_file import ResultsFile

SMALL = ("--resolution", "96")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos: a disc on grey, and one with two objects."""
    root = tmp_path_factory.mktemp("data")
    for name in ("images", "masks"):
        (root / name).mkdir()
    y, x = np.mgrid[:48, :64]
    noise = np.random.default_rng(0).normal(0, 8, (48, 64, 3))
    for name, discs in {"one": [(24, 20, 12)], "two": [(16, 16, 9), (30, 48, 10)]}.items():
        labels = np.zeros((48, 64), np.uint8)
        for number, (row, column, radius) in enumerate(discs, start=1):
            labels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
        photo = np.where(labels[..., None] > 0, (220, 120, 40), (110, 115, 120)) + noise
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray(labels).save(root / f"masks/{name}.png")
    return root


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from the command line, in this process."""
    out = tmp_path_factory.mktemp("report") / "new"
    words = ["evaluate", "--root", str(data), "--report", str(out), "--clicks", "3", "--workers", "1", *SMALL]
    assert cli.main(words) == 0
    return out


def campaign(data: Path, out: Path, **options) -> Campaign:
    return Campaign("folder", data, out, **{"clicks": 3, "options": {"resolution": 96}, **options})


def untimed(records) -> list[dict]:
    return [{**record.to_json(), "seconds": []} for record in records]


def stored(out: Path) -> list[Record]:
    return [Record.from_json(record) for record in json.loads((out / "report.json").read_text())["records"]]


def test_the_report_has_the_measured_figures(finished):
    report = json.loads((finished / "report.json").read_text())
    assert [record["name"] for record in report["records"]] == ["one#1", "two#1", "two#2"]
    assert report["summary"]["objects"] == 3 and report["summary"]["satisfied"] == 1.0
    assert report["configuration"]["user"] == "Centre()" and report["configuration"]["clicks"] == 3
    rows = list(csv.DictReader((finished / "objects.csv").open()))
    assert [row["object"] for row in rows] == ["one#1", "two#1", "two#2"]
    for row, record in zip(rows, report["records"], strict=True):
        assert float(row["iou_3"]) == pytest.approx(record["curve"][-1], abs=1e-5)
        assert int(row["evaluations"]) == sum(record["evaluations"])
    noc = report["summary"]["noc_85"]
    for page in ("report.md", "report.html"):
        text = (finished / page).read_text()
        assert f"{noc:.2f}" in text and "two#1" in text and str(report["configuration"]["weights"]) in text
    for linked in re.findall(r"\]\((.+?)\)", (finished / "report.md").read_text()):
        assert (finished / linked).is_file()
    html = (finished / "report.html").read_text()
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", html)
    assert html.count("data:image/jpeg;base64,") == 3 and "<svg" in html
    for kind in ("best", "median", "worst"):
        with Image.open(finished / f"sheets/{kind}.jpg") as sheet:
            assert sheet.width > 400
    for record in report["records"]:
        mask = np.array(Image.open(finished / f"masks/{record['name']}.png")) > 127
        assert mask.shape == (48, 64)
        assert all(mask[y, x] == positive for gesture in record["clicks"] for x, y, positive in gesture)


def test_a_run_equals_evaluate(finished, data):
    net = interactify.wrap(interactify.zoo.load(), resolution=96)
    alone = interactify.evaluate(net, interactify.evaluation.folder(data), clicks=3, progress=False)
    for record, other in zip(stored(finished), alone.records, strict=True):
        assert record.clicks == other.clicks
        assert record.curve == pytest.approx(other.curve, abs=0.01)  # rounding differs with the number of threads


class Killed(BaseException):
    """An exception that the library never catches."""


def test_an_interrupted_run_resumes_to_the_same_report(finished, data, tmp_path, monkeypatch):
    add = ResultsFile.add

    def killed_after(self, photo, records):
        add(self, photo, records)
        raise Killed

    monkeypatch.setattr(ResultsFile, "add", killed_after)
    with pytest.raises(Killed):
        run(campaign(data, tmp_path), progress=False)
    monkeypatch.undo()
    results = tmp_path / "results.jsonl"
    first = results.read_text()
    assert first.count("\n") == 2 and '"photo": "one"' in first
    results.write_text(first + '{"photo": "two", "records": [{"na')  # as after a kill while writing
    ran = []
    monkeypatch.setattr("interactify.evaluation.campaign.click_through", counting(ran))
    outcome = run(campaign(data, tmp_path), progress=False)
    assert ran == ["two#1", "two#2"] and results.read_text().startswith(first)
    assert untimed(outcome.evaluation.records) == untimed(stored(finished))
    again = run(campaign(data, tmp_path), progress=False)
    assert again.evaluation == outcome.evaluation and len(ran) == 2
    write_report(outcome)
    for name in ("curves.svg", "sheets/best.jpg", "sheets/worst.jpg"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


def counting(ran: list[str]):
    from interactify.evaluation.run import click_through

    def counted(net, sample, *rest):
        ran.append(sample.name)
        return click_through(net, sample, *rest)

    return counted


def test_another_configuration_is_refused(finished, data):
    before = (finished / "results.jsonl").read_bytes()
    for options, message in (
        ({"clicks": 4}, "clicks: 3, here 4"),
        ({"user": "pairs"}, r"user: 'Centre\(\)', here 'Pairs\(\)'"),
        ({"options": {"resolution": 96, "energy": "brs"}}, "energy"),
        ({"every": 2}, "every: 1, here 2"),
    ):
        with pytest.raises(OptionError, match=message):
            run(campaign(data, finished, **options), progress=False)
    assert (finished / "results.jsonl").read_bytes() == before


def test_damaged_results_are_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    ResultsFile(path, {"a": 1}).add("one", [Record("one", [0.5])])
    assert ResultsFile(path, {"a": 1}).done == {"one": (Record("one", [0.5]),)}
    whole = path.read_text()
    path.write_text(whole + "nonsense\n")
    with pytest.raises(OptionError, match="line 3"):
        ResultsFile(path, {"a": 1})
    path.write_text("nonsense\n")
    with pytest.raises(OptionError, match="no results"):
        ResultsFile(path, {"a": 1})
    path.write_text(whole.replace('"format": 1', '"format": 9'))
    with pytest.raises(OptionError, match="format 9"):
        ResultsFile(path, {"a": 1})
    path.write_text('{"format"')  # killed while writing the header
    assert ResultsFile(path, {"a": 1}).done == {} and path.read_text().count("\n") == 1


def test_two_processes_give_the_results_of_one(finished, data, tmp_path):
    """From a real command line, since a spawned process imports the main module again."""
    words = ["evaluate", "--root", str(data), "--report", str(tmp_path), "--clicks", "3", *SMALL, "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "interactify.cli", *words], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "NoC@85" in done.stdout and done.stdout.splitlines()[-1] == str(tmp_path / "report.html")
    assert untimed(stored(tmp_path)) == untimed(stored(finished))
    for name in ("one#1", "two#2"):
        assert (tmp_path / f"masks/{name}.png").read_bytes() == (finished / f"masks/{name}.png").read_bytes()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes(finished, data, tmp_path):
    words = ["evaluate", "--root", str(data), "--report", str(tmp_path), "--clicks", "3", *SMALL, "--workers", "2"]
    for moment in (0.5, 3.0, 5.0):
        process = subprocess.Popen([sys.executable, "-m", "interactify.cli", *words], stderr=subprocess.DEVNULL)
        time.sleep(moment)
        process.kill()
        process.wait()
    assert cli.main([*words[:-1], "1"]) == 0
    assert untimed(stored(tmp_path)) == untimed(stored(finished))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "grabcat"], "grabcut"),
        (["--dataset", "sbd"], "val.txt"),
        (["--root", "nowhere"], "nowhere"),
        (["--user", "nobody"], "centre, jitter, pairs"),
        (["--clicks", "-1"], "from 0 up"),
        (["--workers", "0"], "workers"),
        (["--threads", "0"], "threads"),
        (["--every", "0"], "from 1 up"),
        (["--device", "abacus"], "abacus"),
        (["--energy", "nuclear"], "nuclear"),
        (["--strokes", "nowhere"], "no folder nowhere"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(data, tmp_path, capsys, words, message):
    out = tmp_path / "out"
    assert cli.main(["evaluate", "--root", str(data), "--report", str(out), "--clicks", "1", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("interactify: error: ") and message in error
    assert not (out / "report.json").exists()


def test_the_curves_are_well_formed_and_inside_their_frame():
    drawn = svg([Line("a & b", [[0.0, 1.0], [0.1]], "#000", band=True), Line("c", [[0.99]], "#111")], 20)
    root = ElementTree.fromstring(drawn)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for shape in root.iter():
        for pair in shape.attrib.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width and 0 <= y <= height
