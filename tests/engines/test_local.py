"""Work in processes of this machine: what ends, what is tried again, and what is given up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from interactify.engines import Finished, Local
from interactify.errors import InteractifyError, OptionError
from tests.fixtures.works import CountedWork


@pytest.fixture
def work(tmp_path: Path) -> CountedWork:
    return CountedWork(tmp_path / "calls")


def test_all_items_end_once_and_a_slow_one_holds_up_none(work: CountedWork) -> None:
    items = ["sleep", *"abcdef"]
    found = list(Local(2).run(work, items))
    assert sorted(each.number for each in found) == list(range(7))
    assert all(each.answer is not None and each.answer.startswith(items[each.number]) for each in found)
    assert found[-1].number == 0, "the others did not wait for the slow one"
    processes = {str(each.answer).split()[2] for each in found}
    assert len(processes) == 2 and str(os.getpid()) not in processes


def test_an_item_whose_process_ends_is_tried_again_and_then_given_up(work: CountedWork) -> None:
    found = {each.number: each for each in Local(2).run(work, ["a", "die", "die once", "b", "c"])}
    assert [k for k in range(5) if found[k].answer is None] == [1]
    assert "exit code 9" in str(found[1].lost)
    assert [work.counted(item) for item in ("a", "die", "die once", "b", "c")] == [1, 2, 2, 1, 1]


def test_none_of_several_processes_outlives_the_run(work: CountedWork) -> None:
    results = Local(2).run(work, list("abcdefgh"))
    process = int(str(next(results).answer).split()[2])
    results.close()  # type: ignore[attr-defined]
    assert len(work.calls.read_text().split()) < 8
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_process_that_ends_while_it_has_nothing_to_do_is_no_error(work: CountedWork) -> None:
    results = Local(2).run(work, ["sleep", "a"])
    first = next(results)
    assert first.number == 1
    os.kill(int(str(first.answer).split()[2]), signal.SIGKILL)
    assert [each.number for each in results] == [0]


def test_errors_of_the_work_come_back_as_they_are(work: CountedWork) -> None:
    with pytest.raises(OptionError, match=r"^Expected something else\.$"):
        list(Local(1).run(work, ["raise"]))
    with pytest.raises(InteractifyError, match="_Unpicklable: no way"):
        list(Local(1).run(work, ["raise other"]))
    with pytest.raises(OptionError, match="something else"):
        list(Local(0).run(work, ["raise"]))


def test_workers_that_do_not_start_are_an_error_and_no_loop(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(InteractifyError, match="exit code 7"):
        list(Local(2).run(CountedWork(tmp_path / "calls", dies_at_start=True), ["a", "b"]))
    assert time.monotonic() - begun < 60


def test_nothing_starts_for_nothing_or_with_an_invalid_number(work: CountedWork) -> None:
    assert list(Local(3).run(work, [])) == []
    for workers in (-1, 1.5, True):
        with pytest.raises(OptionError, match="number of workers"):
            Local(workers).run(work, ["a"])  # type: ignore[arg-type]
    assert list(Local(0).run(work, ["a"])) == [Finished(0, f"a by {os.getpid()} as 0")]
