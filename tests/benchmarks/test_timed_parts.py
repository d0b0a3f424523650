"""A measurement in parts keeps each part at once, survives parts that fail, hang or die, and ends in time."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.timed_parts import DONE, FAILED, OUT_OF_TIME, Clock, Part, Worker, run_parts


def part(name: str, seconds: float = 1.0, **found: Any) -> Part:
    return Part(name, seconds, partial(dict, in_short="fine", **found))


class Here:
    """Runs parts in this process, and keeps their names."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.stopped = False

    def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
        self.ran.append(part.name)
        return DONE, part.measure()

    def stop(self) -> None:
        self.stopped = True


class TimeLeft(Clock):
    """A clock that is read off a list."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)

    def left(self) -> float:
        return self._seconds.pop(0)


def test_a_worker_outlives_its_parts() -> None:
    worker = Worker()
    try:
        assert worker(part("first", x=1), 30) == (DONE, {"in_short": "fine", "x": 1})
        failed, reason = worker(Part("fails", 1, partial(operator.truediv, 1, 0)), 30)
        assert failed == FAILED and reason.startswith("ZeroDivisionError: division by zero")
        died, reason = worker(Part("dies", 1, partial(os._exit, 3)), 30)
        assert died == FAILED and "exit code 3" in reason
        assert worker(part("after it"), 30) == (DONE, {"in_short": "fine"})
    finally:
        worker.stop()


def test_a_part_that_hangs_ends_with_all_it_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(60)"
    worker = Worker()
    hanging = Part("hangs", 1, partial(subprocess.run, [sys.executable, "-c", code]))  # type: ignore[arg-type]
    for limit in (1.0, 5.0, 30.0):  # on a busy machine it takes some time until there is something to end
        assert worker(hanging, limit) == (OUT_OF_TIME, None)
        if started.exists() and started.read_text():
            break
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(int(started.read_text())):
        time.sleep(0.02)
    assert not _runs(int(started.read_text()))


def _runs(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(found) and not found.startswith("Z")


def test_each_part_is_in_the_file_before_the_next_one_starts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "parts.json"
    seen: list[list[str]] = []

    def look() -> dict[str, Any]:
        seen.append(list(json.loads(path.read_text())["parts"]) if path.exists() else [])
        return {"in_short": "looked"}

    lines: list[str] = []
    run = Here()
    run_parts([Part(name, 1, look) for name in "abc"], {"machine": "this"}, path, Clock(60), run, lines.append)
    assert seen == [[], ["a"], ["a", "b"]] and run.stopped
    stored = json.loads(path.read_text())
    assert stored["machine"] == "this" and stored["left_out"] == {}
    assert stored["parts"]["c"]["outcome"] == DONE and stored["parts"]["c"]["found"] == {"in_short": "looked"}
    assert lines[0].startswith("a: looked (") and [each.name for each in path.parent.iterdir()] == ["parts.json"]


def test_a_second_run_goes_on_with_what_is_missing_or_failed(tmp_path: Path) -> None:
    earlier = {"parts": {"a": {"outcome": DONE, "found": {}}, "b": {"outcome": FAILED, "reason": "no memory"}}}
    run = Here()
    results = run_parts([part("a"), part("b"), part("c")], earlier, tmp_path / "x.json", Clock(60), run, print)
    assert run.ran == ["b", "c"] and results["parts"]["b"]["outcome"] == DONE


def test_what_the_time_does_not_allow_is_left_out_and_named(tmp_path: Path) -> None:
    run, lines = Here(), list[str]()
    parts = [part("a", 5), part("long", 20), part("short", 2)]
    results = run_parts(parts, {}, tmp_path / "x.json", TimeLeft(10, 8, 8), run, lines.append)
    assert run.ran == ["a", "short"]
    assert results["left_out"] == {"long": "takes about 20 s, and 8 s were left"}
    assert lines[1] == "long: left out, takes about 20 s, and 8 s were left"


def test_a_part_over_its_own_limit_failed_and_one_over_the_end_is_left_out(tmp_path: Path) -> None:
    class Slow(Here):
        def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
            limits.append(limit)
            return OUT_OF_TIME, None

    limits: list[float] = []
    results = run_parts([part("a", 2), part("b", 2)], {}, tmp_path / "x.json", TimeLeft(100, 9), Slow(), print)
    assert limits == [36, 9]
    assert results["parts"] == {"a": {"outcome": FAILED, "seconds": 0.0, "reason": "took longer than 36 s"}}
    assert results["left_out"] == {"b": "time was over after its first 0 s"}


def test_what_does_not_hold_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    run_parts([part("a", holds=False)], {}, tmp_path / "x.json", Clock(60), Here(), lines.append)
    assert lines[0].startswith("a: DOES NOT HOLD, fine")


def test_an_interruption_ends_the_worker_and_keeps_the_file(tmp_path: Path) -> None:
    class Interrupted(Here):
        def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
            if part.name == "b":
                raise KeyboardInterrupt
            return super().__call__(part, limit)

    run = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run_parts([part("a"), part("b")], {}, tmp_path / "x.json", Clock(60), run, print)
    assert run.stopped
    stored = json.loads((tmp_path / "x.json").read_text())
    assert list(stored["parts"]) == ["a"] and stored["left_out"] == {"b": "not reached"}
