"""The rows of the table on memory: what is kept counts as cached, and history grows with each click."""

from __future__ import annotations

import sys
from collections.abc import Iterator

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
    assert 0.3 < row["cached"] < 2, "the pass of 96 × 96 pixels, and the filter"
    assert row["least"] < 10 and row["peak"] >= 0
