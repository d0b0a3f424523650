"""Both stores do the same: a log grows by one line at a time, places are counted, photos go with their last session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")

from interactify.errors import OptionError, StoreError
from interactify.serve.store.opening import open_store
from interactify.serve.store.records import Record, Store
from tests.fixtures.service import redis_server

FIRST = Record("a", "ana", "t", "p1", "cat.jpg", "default", None, "i", 60, 80, 100.0)


@pytest.fixture(params=["sqlite", "redis"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "folder" / "sessions.db")
    else:
        with redis_server(tmp_path) as found:
            yield found


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = open_store(address)
    yield opened
    opened.close()


def test_a_log_grows_by_the_next_line_only(store: Store, address: str):
    store.create(FIRST, b"photo")
    assert store.append("a", 1, "one", 101.0)
    assert not store.append("a", 1, "another", 102.0) and not store.append("a", 3, "three", 102.0)
    assert store.append("a", 2, "two", 103.0)
    assert store.entries("a") == ["one", "two"] and store.entries("a", 1) == ["two"] and store.entries("a", 2) == []
    assert store.used("a") == 103.0 and store.used("b") == 0.0
    assert not store.append("b", 1, "one", 101.0), "there is no such session"
    other = open_store(address)
    assert other.record("a") == FIRST and other.entries("a") == ["one", "two"] and other.photo("p1") == b"photo"
    assert other.record("b") is None
    other.close()


def test_of_many_who_add_the_same_line_one_does(store: Store, address: str):
    store.create(FIRST, b"photo")
    added: list[tuple[int, int]] = []

    def add(who: int) -> None:
        own = open_store(address)
        for number in range(1, 11):
            if own.append("a", number, f"{who}", 101.0):
                added.append((number, who))
        own.close()

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(number for number, _ in added) == list(range(1, 11))
    assert store.entries("a") == [str(who) for _, who in sorted(added)]


def test_places_are_limited_renewed_and_given_up(store: Store):
    assert store.lease("a", 110.0, 100.0, 2) and store.lease("b", 120.0, 100.0, 2)
    assert not store.lease("c", 110.0, 100.0, 2), "both places are taken"
    assert store.lease("a", 130.0, 105.0, 2), "one's own place is not another's"
    assert store.leases(105.0) == 2 and store.leases(125.0) == 1
    assert store.lease("c", 140.0, 121.0, 2), "the place of b has ended"
    store.release("c")
    assert store.lease("d", 140.0, 121.0, 2)


def test_a_photo_goes_with_its_last_session(store: Store):
    store.create(FIRST, b"photo")
    store.create(replace(FIRST, id="b", owner="ben", created=90.0), b"photo")
    store.create(replace(FIRST, id="c", created=50.0), b"photo")
    assert [each.id for each in store.records("ana")] == ["c", "a"] and [each.id for each in store.records("ben")] == [
        "b"
    ]
    store.lease("a", 1e9, 0.0, 9)
    for id in ("a", "c"):
        store.append(id, 1, "one", 101.0)
        store.delete(id)
    assert store.photo("p1") == b"photo" and store.records("ana") == [] and store.entries("a") == []
    assert store.leases(0.0) == 0 and not store.append("a", 2, "two", 101.0)
    store.delete("b")
    store.delete("b")
    with pytest.raises(StoreError, match="Expected the photo"):
        store.photo("p1")


def test_what_is_old_and_has_no_place_is_found(store: Store):
    for id, created in (("a", 100.0), ("b", 200.0), ("c", 100.0)):
        store.create(replace(FIRST, id=id, created=created), b"photo")
    store.append("a", 1, "one", 300.0)
    store.lease("c", 1000.0, 0.0, 9)
    assert store.older_than(250.0) == ["b"]
    assert store.older_than(50.0) == []
    store.check()


def test_an_address_that_is_none_is_refused(tmp_path: Path):
    for wrong in ("mongodb://host", "http://host", "sqlite://x"):
        with pytest.raises(OptionError, match="Expected a store"):
            open_store(wrong)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="Expected a store of sessions"):
        open_store(tmp_path / "file" / "sessions.db")
    (tmp_path / "junk.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="Expected a store of sessions"):
        open_store(tmp_path / "junk.db")


def test_a_redis_that_is_away_is_an_error_of_ours(tmp_path: Path):
    with redis_server(tmp_path) as address:
        store = open_store(address)
    with pytest.raises(StoreError, match="Expected a Redis server"):
        store.entries("a")
    with pytest.raises(StoreError, match="Expected a Redis server"):
        open_store(address)
