"""The load test in a short form: some annotators at a real server, no click lost, memory bounded."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")

from benchmarks import load
from tests.fixtures.service import serving


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")
def test_no_click_is_lost_and_memory_is_bounded():
    with load.server("zoo", "--in-memory", "3") as (address, process):
        found = load.annotate(address, annotators=6, seconds=1.5, every=0.5, finished=2.0)
        assert found.errors == [] and found.lost == 0 and len(found.seconds) == 18
        summary = found.summary()
        assert summary["clicks"] == {"answered": 18, "failed": 0, "lost": 0}
        assert 0 < summary["ms"]["p50"] <= summary["ms"]["p95"] <= summary["ms"]["p99"]
        assert sum(summary["status"].values()) == 18
        memory = load.fill(address, process, sessions=12, step=4)
        assert [count for count, _ in memory] == [0, 4, 8, 12]
        assert memory[-1][1] < memory[0][1] + 150


def test_an_annotator_opens_the_next_photo_where_a_mask_is_finished(net, tmp_path):
    with serving(net, tmp_path / "sessions.db") as (address, _):
        found = load.annotate(address, annotators=2, seconds=0.9, every=0.3, finished=0.0)
        assert len(found.opened) == 4 and found.seconds == [] and found.lost == 0, "a turn each, but for the last ones"
        found = load.annotate(address, annotators=1, seconds=0.6, every=0.3, finished=2.0)
    assert len(found.seconds) == len(found.evaluations) == 2 and found.opened == []
    assert found.summary()["evaluations"]["most"] >= 1 and found.summary()["photo ms"]["p50"] is None


def test_a_click_that_is_in_no_log_is_lost(monkeypatch, net, tmp_path):
    monkeypatch.setattr(load.client.Session, "log", lambda self: "one line\n")
    with serving(net, tmp_path / "sessions.db") as (address, _):
        found = load.annotate(address, annotators=1, seconds=0.4, every=0.2, finished=2.0)
    assert found.lost == len(found.seconds) == 2
