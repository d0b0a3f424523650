"""Recorded sessions: what is recorded compares equal when it is played again, and whatever was altered is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.recorded_photos import CASES
from benchmarks.recorded_sessions import difference, file_of, main, without_times

SESSION = "small input, brs, lbfgs"


def altered(path: Path, ending: str, change: Callable[[NDArray[Any]], NDArray[Any] | None]) -> str:
    """Change the first value of a recorded session whose name ends so, or leave it out; returns its name."""
    with np.load(path) as file:
        values = {name: file[name] for name in file.files}
    name = next(name for name in values if name.endswith(ending))
    changed = change(values.pop(name))
    if changed is not None:
        values[name] = changed
    with path.open("wb") as file:
        np.savez(file, **values)
    return name


def flipped(array: NDArray[Any]) -> NDArray[Any]:
    """The same with the last bit of one number changed."""
    bits = array.copy()
    bits.view(np.uint8).reshape(-1)[0] ^= 1
    return bits


def test_a_session_is_recorded_compared_and_differs_where_it_was_altered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads, options = torch.get_num_threads(), ["--only", SESSION, "--quiet"]
    assert main(["record", str(tmp_path), *options]) == 0
    path = file_of(tmp_path, SESSION)
    capsys.readouterr()
    assert main(["compare", str(tmp_path), *options]) == 0
    with np.load(path) as file:
        assert f"1 sessions, {len(file.files)} values equal" in capsys.readouterr().out
    assert torch.get_num_threads() == threads

    names = [altered(path, ending, flipped) for ending in ("/probability", "/mask")]
    names += [altered(path, "/status", lambda _: np.array("another")), altered(path, "/evaluations", lambda _: None)]
    assert main(["compare", str(tmp_path), *options]) == 1
    out = capsys.readouterr().out
    for name, what in zip(names, ("1 of ", "1 of ", "'another' was recorded", "is new"), strict=True):
        assert f"{SESSION}: {name}: {what}" in out
    assert "4 different in 1 sessions" in out

    path.unlink()
    assert main(["compare", str(tmp_path), *options]) == 1
    assert f"{SESSION}: is not in the recording" in capsys.readouterr().out


def test_a_session_that_fails_is_reported_and_the_others_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(kept: Any) -> None:
        raise AttributeError("no such name")

    monkeypatch.setitem(CASES, "test one", lambda kept: kept.keep("step", value=1))
    monkeypatch.setitem(CASES, "test two", lambda kept: kept.keep("step", value=2.5))
    options = [str(tmp_path), "--only", "test ", "--quiet"]
    assert main(["record", *options]) == 0
    monkeypatch.setitem(CASES, "test one", fails)
    assert main(["compare", *options]) == 1
    out = capsys.readouterr().out
    assert "test one: raised AttributeError: no such name" in out and "1 values equal" in out
    assert main(["compare", *options, "--without", "one"]) == 0


def test_no_recording_and_no_session_are_refused(tmp_path: Path) -> None:
    for arguments in (["compare", str(tmp_path)], ["record", str(tmp_path), "--only", "no such session"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--quiet"])


def test_values_are_compared_to_the_last_bit() -> None:
    zero = np.zeros(3, np.float32)
    assert not difference(zero, zero.copy())
    assert difference(zero, -zero) and difference(zero, zero.astype(np.float64)) and difference(zero, zero[:2])
    nothing = np.full(2, np.nan)
    assert not difference(nothing, nothing.copy())
    assert difference(np.array([np.nan, 1.0]), np.array([np.nan, 2.0])).startswith("1 of 2 numbers differ, by 1 ")
    assert difference(np.array("one"), np.array("once")) == "'one' was recorded, 'once' came (from character 0 on)"


def test_wall_times_are_left_out() -> None:
    assert without_times({"steps": [{"seconds": 1.5, "status": "done"}], "now": 1}) == {
        "steps": [{"status": "done"}], "now": 1,
    }  # fmt: skip
