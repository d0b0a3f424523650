"""`interactify batch` as a command: its output, its errors in one line, and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from interactify import cli
from tests.fixtures.many_photos import DEADLY, MODEL, SLOW, write_clicks, write_photos, write_white

NETWORK = ("--mean", "0.4", "--std", "0.3", "--resolution", "64")


def words(folder: Path, out: str, *more: str, model: str = MODEL) -> list[str]:
    where = ["batch", str(folder / "photos"), "--prompts", str(folder / "a.csv"), "--out", str(folder / out)]
    return [*where, "--model", model, *NETWORK, *more]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clicks(tmp_path / "a.csv", write_photos(tmp_path / "photos", 6))
    return tmp_path


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def timeless(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0, "photo_seconds": 0} for row in given]


def test_it_prints_what_it_did_and_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(folder, "out", "--workers", "0", "--format", "png,coco")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("12 objects in 6 photos, ") and str(folder / "out/coco.json") in out.splitlines()
    assert "photos: 100%" in err
    (folder / "photos/000.png").write_bytes(b"damaged")
    assert cli.main(words(folder, "again", "--workers", "0")) == 1
    out, err = capsys.readouterr()
    assert "1 photos with errors" in out and "note: 000.png: PhotoError: " in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--engine", "spark"], "local or ray"),
        (["--address", "auto"], "--engine ray"),
        (["--workers", "-1"], "workers"),
        (["--format", "gif"], "gif"),
        (["--use", "stars"], "stars"),
        (["--prompts", "nowhere.csv"], "nowhere.csv"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert cli.main(words(folder, "out", *more)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("interactify: error: ") and message in error
    assert not (folder / "out/masks").exists()


def test_two_processes_and_a_kill_give_the_rows_of_one_process(folder: Path) -> None:
    """A killed driver's processes end too, and the same command goes on."""
    command = [sys.executable, "-m", "interactify.cli", *words(folder, "out", "--workers", "2", model=SLOW)]
    driver = subprocess.Popen(
        command, env={**os.environ, "INTERACTIFY_TEST_SLOW": "0.2"}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    manifest, limit = folder / "out/manifest.jsonl", time.monotonic() + 120
    while not manifest.exists() or manifest.read_bytes().count(b"\n") < 2:
        assert driver.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = manifest.read_text().splitlines()
    assert 2 <= len(before) < 12, "it was killed in mid-run"
    while _runs(driver.pid):
        assert time.monotonic() < limit, "its workers outlive it"
        time.sleep(0.05)
    assert cli.main(words(folder, "out", "--workers", "0", model=SLOW)) == 0
    found = rows(folder / "out")
    assert len({(row["photo"], row["object"]) for row in found}) == len(found) == 12
    stored = [json.loads(line) for line in before]
    whole = [row for row in stored if sum(each["photo"] == row["photo"] for each in stored) == 2]
    assert [row for row in whole if row not in found] == [], "what was done was not done again"
    assert cli.main(words(folder, "here", "--workers", "0", model=SLOW)) == 0
    assert timeless(found) == timeless(rows(folder / "here"))


def _runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow  # three processes start, one after the other
def test_a_photo_that_ends_its_process_is_a_row(folder: Path) -> None:
    write_white(folder / "photos/0-white.png")
    with (folder / "a.csv").open("a") as table:
        table.write("0-white.png,3,3,1,,,,\n")
    assert cli.main(words(folder, "out", "--workers", "1", model=DEADLY)) == 1
    (error,) = [row for row in rows(folder / "out") if row["error"]]
    assert error["photo"] == "0-white.png" and "exit code 9" in error["error"]
    assert len(rows(folder / "out")) == 13
