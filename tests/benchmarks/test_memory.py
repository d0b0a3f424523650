"""The rows of the table on memory: what is kept counts as cached, and history grows with each click."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import interactify
from benchmarks import memory


@pytest.fixture(autouse=True)
def own_limit() -> Iterator[None]:
    before = interactify.cache_limit()
    yield
    interactify.set_cache_limit(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of the process from /proc")
def test_a_row() -> None:
    row = memory.measured("embedded", 96, "input")
    assert (row["network"], row["side"]) == ("embedded", 96)
    assert 8 < row["cached"] < 24, "the pass of 96 × 96 pixels, and the filter"
    assert row["least"] < 10 and row["peak"] >= 0


def test_rows_of_this_machine_are_kept_and_others_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "RESULTS", tmp_path / "memory.json")
    assert memory.kept_rows() == {}
    row, here = {"network": "embedded", "side": 96, "variables": "input", "peak": 3.0}, memory.machine()
    for machine, expected in (
        (here | {"date": "2026-01-01"}, {("embedded", 96, "input"): row}),
        (here | {"processor": "another"}, {}),
        (here | {"torch": "2.5.0"}, {}),
    ):
        memory.RESULTS.write_text(json.dumps({"machine": machine, "rows": [row]}))
        assert memory.kept_rows() == expected
