"""One log in three places, a journal, SQLite and Redis: written, read back and run again by the same code."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")

from interactify.app.store.journal import Journal, SessionFiles
from interactify.errors import InteractionError, StoreError
from interactify.serve.store.log import StoreLog
from interactify.serve.store.opening import open_store
from interactify.serve.store.records import Record
from interactify.web.actions import read_action
from interactify.web.log import Log, entry_of, replay, write
from tests.fixtures.service import redis_server

CLICKS = [{"kind": "click", "x": x, "y": y, "positive": yes} for x, y, yes in ((55, 30, True), (5, 5, False))]
ACTIONS = [{"do": "add", "interactions": [each]} for each in CLICKS] + [{"do": "undo"}, {"do": "redo"}]


@contextlib.contextmanager
def opened(place: str, folder: Path) -> Iterator[Log]:
    """A log as a server finds it that begins: empty, or as it was left."""
    if place == "journal":
        files = SessionFiles.of("a", folder)
        files.journal.parent.mkdir(exist_ok=True)
        journal = Journal(files, "an identity")
        journal.open()
        yield journal
        journal.close_file()
        return
    address = f"unix://{folder / 'redis.sock'}" if place == "redis" else folder / "sessions.db"
    store = open_store(address)
    if store.record("a") is None:
        store.create(Record("a", "me", "", "digest", "cat.jpg", "zoo", None, "", 60, 80, 0.0), b"a file")
    yield StoreLog(store, "a")
    store.close()


@pytest.mark.parametrize("place", ["journal", "sqlite", "redis"])
def test_a_log_gives_the_same_session_wherever_it_is(place, net, pictures, tmp_path):
    with redis_server(tmp_path) if place == "redis" else contextlib.nullcontext():
        session = net.session(pictures[0])
        with opened(place, tmp_path) as log:
            for number, content in enumerate(ACTIONS, 1):
                action = read_action(content)
                with session.control.superseding() if number == 2 else contextlib.nullcontext():
                    action.run(session)
                status = session.result.status
                assert write(log, number, action, status) == entry_of(number, content, superseded=number == 2)
                assert write(log, number, action, status) is None, "the number is taken"
        assert session.result.status == "superseded"
        with opened(place, tmp_path) as log:
            again = net.session(pictures[0])
            assert [each["do"] for each in replay(log, 0, again)] == ACTIONS
            assert (again.result.mask == session.result.mask).all() and again.result.status == "superseded"
            assert (again.result.probability == session.result.probability).all()
            assert [each["n"] for each in log.entries_after(3)] == [4]


def test_an_action_that_fails_ends_a_replay_or_is_told(net, pictures, tmp_path):
    with opened("journal", tmp_path) as log:
        for number, content in enumerate(({"do": "delete", "name": "nobody"}, ACTIONS[0]), 1):
            log.append(entry_of(number, content))
        with pytest.raises(InteractionError):
            list(replay(log, 0, net.session(pictures[0])))
        session, told = net.session(pictures[0]), []
        assert len(list(replay(log, 0, session, refused=told.append))) == 2
        assert len(told) == 1 and len(session.interactions) == 1


def test_a_line_that_was_cut_short(tmp_path):
    with opened("journal", tmp_path) as log:
        for number in (1, 2):
            log.append(entry_of(number, {"do": "undo"}))
    path = SessionFiles.of("a", tmp_path).journal
    path.write_bytes(path.read_bytes()[:-5])  # the machine lost its power
    with opened("journal", tmp_path) as log:
        assert [each["n"] for each in log.entries_after(0)] == [1]
    with opened("sqlite", tmp_path) as log:
        for number in (1, 2):
            log.append(entry_of(number, {"do": "undo"}))
    database = sqlite3.connect(tmp_path / "sessions.db")
    database.execute("UPDATE entries SET entry = substr(entry, 1, 9) WHERE number = 2")
    database.commit()
    database.close()
    with opened("sqlite", tmp_path) as log, pytest.raises(StoreError, match="action 2"):
        log.entries_after(0)
