"""Killed at random moments of saving: the file is the old one or the new one, whole, and no rests pile up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

import interactify
from interactify.export import files as whole_file
from interactify.export.files import write_whole
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(40, 56)
NET = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=3)
OF_WHOLE_SESSIONS = 10
fcntl = pytest.importorskip("fcntl", reason="needs processes that fork and are killed, and locks")


def two_sessions() -> tuple[Session, Session]:
    """The old and the new."""
    old = NET.session(PHOTO)
    old.click(20, 20)
    new = NET.session(PHOTO)
    new.add([interactify.Click(10, 30, False), interactify.Scribble([(3, 3), (50, 8)])])
    new.add_object("second")
    new.add([interactify.Box(5, 5, 40, 30)])
    return old, new


def same(one: Session, other: Session) -> bool:
    """Whether two sessions have the same objects, interactions and masks."""
    return (one.objects, one.active) == (other.objects, other.active) and all(
        one.interactions_of(name) == other.interactions_of(name)
        and np.array_equal(one.result_of(name).mask, other.result_of(name).mask)
        and np.array_equal(one.result_of(name).probability, other.result_of(name).probability)
        for name in one.objects
    )


def rests_in(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".unfinished")]


def killed(save: Callable[[int], object], after: float) -> None:
    """A process saves one after the other, 0, 1, 0, …, and is killed that many seconds after the first is there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing here may return into the tests, whatever happens
        try:
            torch.set_num_threads(1)
            which = 0
            while True:
                save(which)
                os.write(writing, b".")
                which = 1 - which
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1), "the process ended by itself: saving failed"
        time.sleep(after)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reading)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it was killed while it was saving"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kills", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills: int, tmp_path: Path) -> None:
    """Most processes write what sessions are saved as, the last ones save whole sessions."""
    random, sessions = Random(0), two_sessions()
    path = tmp_path / "s.npz"
    contents = [session.save(tmp_path / f"{k}.npz").read_bytes() for k, session in enumerate(sessions)]
    found, caught = [0, 0], 0
    for kill in range(kills):
        if kill < kills - OF_WHOLE_SESSIONS:
            killed(lambda which: write_whole(path, contents[which]), random.uniform(0, 0.01))
        else:
            killed(lambda which: sessions[which].save(path), random.uniform(0, 0.05))
        loaded = interactify.load_session(path, NET, PHOTO)
        which = [same(loaded, session) for session in sessions]
        assert sum(which) == 1, f"after kill {kill} the file is neither the old session nor the new one"
        found[which.index(True)] += 1
        left = rests_in(tmp_path)
        assert len(left) <= 1, "each process removes what the one before left"
        caught += len(left)
    assert min(found) > kills // 10, "both the old and the new were found"
    assert caught > kills // 20, "many were killed in the midst of writing"
    assert path.read_bytes() in contents
    sessions[0].save(path)
    assert not rests_in(tmp_path), "a save that is whole leaves nothing of those that were not"
    assert same(interactify.load_session(path, NET, PHOTO), sessions[0])


def test_what_is_left_is_no_session_and_is_cleared(tmp_path: Path) -> None:
    """But not a file that is being written, rests of other files, or files with similar names."""
    path = tmp_path / "a[1].npz"
    (tmp_path / ".a[1].npz.abcdefgh.unfinished").write_bytes(b"half")
    others = [
        ".b.npz.abcdefgh.unfinished",
        ".a[1].npz.unfinished",
        ".a[1].npz.mine.unfinished",
        ".a1.npz.abcdefgh.unfinished",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"half")
    with (tmp_path / ".a[1].npz.h_ld0000.unfinished").open("wb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)  # as a process does that is writing
        write_whole(path, b"whole")
        assert sorted(rests_in(tmp_path)) == sorted([*others, ".a[1].npz.h_ld0000.unfinished"])
    write_whole(path, b"whole")
    assert sorted(rests_in(tmp_path)) == sorted(others)
    for name in others:
        with pytest.raises(interactify.CheckpointError):
            interactify.load_session(tmp_path / name, NET, PHOTO)


def test_many_threads_save_the_same_file_at_once(tmp_path: Path) -> None:
    """None takes another's unfinished file for a rest, and none reads half a file."""
    path, contents = tmp_path / "s.npz", [bytes([k]) * 20_000 for k in range(4)]
    write_whole(path, contents[0])
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(40):
                write_whole(path, content)
                assert path.read_bytes() in contents
        except BaseException as cause:
            failed.append(cause)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not rests_in(tmp_path)


def test_a_file_that_is_removed_before_its_lock_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock a file looks like a rest."""
    path, cleared = tmp_path / "s.npz", []
    lock = fcntl.flock

    def late(handle: int, kind: int) -> None:
        if not cleared:  # here another writer comes first
            cleared.extend(rests_in(tmp_path))
            monkeypatch.setattr(whole_file.fcntl, "flock", lock)
            whole_file._remove_abandoned(path)
            assert not rests_in(tmp_path)
        lock(handle, kind)

    monkeypatch.setattr(whole_file.fcntl, "flock", late)
    assert write_whole(path, b"whole").read_bytes() == b"whole"
    assert len(cleared) == 1 and not rests_in(tmp_path)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A device or a pipe by that name would be gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(interactify.errors.OptionError, match="which is neither"):
            write_whole(path, b"whole")
    assert pipe.is_fifo()
    with pytest.raises(interactify.CheckpointError, match="no file"):
        interactify.load_session(pipe, NET, PHOTO)
