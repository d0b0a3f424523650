"""Jobs of one device: in order within a session, in turn between sessions, and none is lost when it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")

from interactify.serve.device_queue import Closing, DeviceQueue, Job, Steps
from interactify.web.failures import Busy


@pytest.fixture
def held():
    """A queue whose thread waits in a job of session "first" until `go` is set."""
    queue, entered, go = DeviceQueue("test", most=5), threading.Event(), threading.Event()

    def waits() -> Steps[None]:
        entered.set()
        assert go.wait(10)
        return
        yield

    queue.submit("first", Job(waits()))
    assert entered.wait(10)
    yield queue, go
    go.set()
    queue.close(5)
    assert not queue.alive


def noting(notes: list[str], name: str, steps: int = 1) -> Job[str]:
    def work() -> Steps[str]:
        for step in range(steps):
            notes.append(f"{name}{step}" if steps > 1 else name)
            if step < steps - 1:
                yield
        return name

    return Job(work(), supersedes=True)


def test_sessions_take_turns(held: tuple[DeviceQueue, threading.Event]):
    queue, go = held
    notes: list[str] = []
    futures = [queue.submit("a", noting(notes, f"a{k}")) for k in range(3)]
    futures += [queue.submit("b", noting(notes, f"b{k}")) for k in range(2)]
    futures += [queue.submit("c", noting(notes, "c"))]
    assert len(queue) == 7
    go.set()
    assert [future.result(10) for future in futures] == ["a0", "a1", "a2", "b0", "b1", "c"]
    assert notes == ["a0", "b0", "c", "a1", "b1", "a2"]
    assert len(queue) == 0


def test_a_long_job_lets_others_have_their_turn(held: tuple[DeviceQueue, threading.Event]):
    queue, go = held
    notes: list[str] = []
    long, after = queue.submit("a", noting(notes, "a", 4)), queue.submit("a", noting(notes, "after"))
    others = [queue.submit("b", noting(notes, f"b{k}")) for k in range(2)]
    go.set()
    for each in (long, after, *others):
        each.result(10)
    assert notes == ["a0", "b0", "a1", "b1", "a2", "a3", "after"], "within a session the order stays"


def test_a_waiting_job_supersedes_the_running_one(held: tuple[DeviceQueue, threading.Event]):
    queue, _ = held
    assert not queue.superseded("first")
    notes: list[str] = []
    queue.submit("a", noting(notes, "of another session"))
    assert not queue.superseded("first")
    queue.submit("first", noting(notes, "newer"))
    assert queue.superseded("first")


def test_several_sessions_have_their_turn_at_one_time_but_one_session_has_one():
    threads = torch.get_num_threads()
    queue = DeviceQueue("test", at_once=3, threads=2)
    meet, running, most, lock = threading.Barrier(3), {}, {}, threading.Lock()

    def meets(session: str) -> Steps[int]:
        for _ in range(3):
            with lock:
                running[session] = running.get(session, 0) + 1
                most[session] = max(most.get(session, 0), running[session])
            meet.wait(10)  # for two other sessions
            with lock:
                running[session] -= 1
            yield
        return torch.get_num_threads()

    # The jobs of a session that came first do not take the turns of the others.
    futures = [queue.submit(session, Job(meets(session))) for session in "aabbcc"]
    assert [future.result(30) for future in futures] == [2] * 6
    assert most == {"a": 1, "b": 1, "c": 1}
    queue.close(5)
    assert not queue.alive and torch.get_num_threads() == threads


def test_it_is_closed_while_several_run():
    queue, entered, go = DeviceQueue("test", at_once=2), threading.Semaphore(0), threading.Event()

    def waits() -> Steps[str]:
        entered.release()
        assert go.wait(10)
        return "made"
        yield

    running = [queue.submit(session, Job(waits())) for session in "ab"]
    for _ in running:
        assert entered.acquire(timeout=10)
    left = [queue.submit(session, Job(waits())) for session in "abc"]
    closing = threading.Thread(target=queue.close, args=(0.05,))
    closing.start()
    for each in left:
        with pytest.raises(Closing):
            each.result(10)
    go.set()
    closing.join(10)
    assert [each.result(10) for each in running] == ["made", "made"] and not queue.alive


def test_one_session_has_a_limit(held: tuple[DeviceQueue, threading.Event]):
    queue, _ = held
    notes: list[str] = []
    for k in range(6):
        queue.submit("a", noting(notes, f"{k}"))
    with pytest.raises(Busy, match="5 actions of this session wait"):
        queue.submit("a", noting(notes, "too many"))
    queue.submit("b", noting(notes, "others may"))


def test_an_error_is_its_own_jobs_alone(held: tuple[DeviceQueue, threading.Event]):
    queue, go = held

    def fails() -> Steps[None]:
        raise ZeroDivisionError
        yield

    failing, notes = queue.submit("a", Job(fails())), []
    fine: Callable[..., object] = queue.submit("a", noting(notes, "fine")).result
    go.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert fine(10) == "fine"


def test_what_waits_is_done_when_it_is_closed(held: tuple[DeviceQueue, threading.Event]):
    queue, go = held
    notes: list[str] = []
    future = queue.submit("a", noting(notes, "a", 3))
    closing = threading.Thread(target=queue.close, args=(10,))
    closing.start()
    go.set()
    assert future.result(10) == "a"
    closing.join(10)
    with pytest.raises(Closing):
        queue.submit("a", noting(notes, "late"))


def test_what_can_not_be_done_in_time_is_refused(held: tuple[DeviceQueue, threading.Event]):
    queue, go = held
    notes: list[str] = []
    future = queue.submit("a", noting(notes, "a"))
    closing = threading.Thread(target=queue.close, args=(0.05,))
    closing.start()
    with pytest.raises(Closing, match="shutting down"):
        future.result(10)
    go.set()
    closing.join(10)
    assert notes == []
