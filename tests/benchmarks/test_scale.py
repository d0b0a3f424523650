"""How throughput and what an engine loses are counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.scale import Waiting, measured, refining
from interactify.engines import Finished, Local, Work
from interactify.mass.prompts.photo_prompts import PhotoPrompts, check_shapes
from interactify.pictures.image_files import size_of_file


class Known:
    """An engine whose workers had photos at known times."""

    def run(self, work: Work, items: Sequence[str]) -> Iterator[Finished]:
        spans = {"a": [1, 10.0, 11.0], "b": [2, 30.0, 32.0], "c": [1, 11.5, 14.0], "d": [2, 34.0, 36.0]}
        return iter(Finished(k, json.dumps(spans[item])) for k, item in enumerate(items))


def test_what_is_lost_is_the_workers_time_without_a_photo() -> None:
    """The second worker starts late, which is no time of its own."""
    found = measured(Known(), Waiting(), list("abcd"))
    assert found["photos_a_second"] == pytest.approx(2 / 4 + 2 / 6)
    assert found["lost"] == pytest.approx(1 - 7.5 / 10)


def test_times_are_taken_around_each_photo() -> None:
    found = measured(Local(0), Waiting(0.05), ["a", "b"])
    assert 5 < found["photos_a_second"] <= 20 and 0 <= found["lost"] < 0.5 and 0 <= found["start"] < 1


def test_the_photos_are_those_of_a_real_run(tmp_path: Path) -> None:
    work, items = refining(tmp_path, 4)
    assert len(items) == 4 and hasattr(work, "start")
    for prompts in map(PhotoPrompts.from_text, items):
        size = size_of_file(tmp_path / "photos" / prompts.photo, ranged=False)
        for each in prompts.objects:
            check_shapes(each.shapes, size)
