"""Sessions of a service: the same masks as a session's own, replayed to the bit, stored before they are answered."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")

import interactify
from interactify.engines.work import cores
from interactify.errors import (
    CheckpointError,
    InteractionError,
    OptionError,
    PhotoError,
    SessionGoneError,
    StoreError,
)
from interactify.serve.limits import Limits
from interactify.serve.service import Full, Opened, Service
from interactify.serve.store.sqlite import SqliteStore
from interactify.session.session import Session
from interactify.web.actions import read_action
from tests.fixtures import networks

SIZE = (72, 100)
CLICK = {"kind": "click", "x": 55, "y": 30, "positive": True}
ACTIONS: list[dict[str, Any]] = [
    {"do": "add", "interactions": [CLICK]},
    {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": False}]},
    {"do": "add", "interactions": [{"kind": "scribble", "points": [[40, 30], [60, 34]], "positive": True}]},
    {"do": "undo"},
    {"do": "redo"},
    {"do": "choose", "choice": "wide"},
    {"do": "move", "index": 0, "x": 50, "y": 33},
    {"do": "add", "interactions": [{"kind": "box", "left": 20, "top": 8, "right": 90, "bottom": 60}]},
    {"do": "remove", "index": 1},
    {"do": "add_object", "name": "second", "target": None},
    {"do": "add", "interactions": [{**CLICK, "x": 10}, {"kind": "paint", "points": [[10, 60]], "width": 8.0}]},
    {"do": "rename", "name": "object 1", "to": "first"},
    {"do": "switch", "name": "first"},
    {"do": "delete", "name": "second"},
    {"do": "reset"},
    {"do": "undo"},
]


def read(content: dict[str, Any]):
    return read_action(content, SIZE)


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "sessions.db")
    yield opened
    opened.close()


@pytest.fixture
def services(net, store):
    """Makes services over one store, and closes them."""
    made: list[Service] = []

    def make(nets: Any = None, **limits: Any) -> Service:
        made.append(Service(nets or {"default": net}, store, Limits(**{"workers": 2, **limits})))
        return made[-1]

    yield make
    for each in made:
        each.close(1)


@pytest.fixture
def picture(pictures) -> bytes:
    return pictures[0].read_bytes()


def opened(service: Service, picture: bytes, owner: str = "ana", **more: Any) -> Opened:
    return service.open(owner, picture, "first.png", **more).result(30)


def do(service: Service, session: Opened, content: dict[str, Any], key: str = ""):
    return service.act(session.record, read(content), key or f"{time.monotonic_ns()}").result(30)


def test_masks_are_those_of_a_session_and_replays_give_them_again(net, services, picture, pictures):
    service, local = services(), net.session(pictures[0])
    session = opened(service, picture)
    assert (session.answer.mask == local.result.mask).all()
    masks = []
    for number, content in enumerate(ACTIONS, 1):
        answer = do(service, session, content)
        read(content).run(local)
        assert answer.number == number and (answer.mask == local.result.mask).all(), content
        masks.append(answer.mask)
    assert answer.state["objects"][0]["name"] == "first" and answer.state["can_redo"]
    assert len({mask.tobytes() for mask in masks}) > 5, "the actions do something"
    replica = services()
    again = replica.read(session.record, lambda live: live.answer()).result(60)
    assert again.number == len(ACTIONS) and (again.mask == masks[-1]).all() and again.mask.any()
    assert b"interactify_replays_total 1.0" in replica.metrics.text()
    log = replica.read(session.record, lambda live: live.session.log()).result(30)
    assert log == service.read(session.record, lambda live: live.session.log()).result(30) == local.log()
    for content in (ACTIONS[1], {"do": "undo"}, {"do": "undo"}):
        assert (do(replica, session, content).mask == _after(local, content)).all(), "and both go on alike"


def _after(local: Session, content: dict[str, Any]):
    read(content).run(local)
    return local.result.mask


def test_an_action_is_in_the_store_before_it_is_answered(services, store, picture, monkeypatch):
    service = services()
    session = opened(service, picture)
    seen: list[bool] = []
    append = SqliteStore.append
    pending: list[Any] = []

    def watched(self, *given):
        seen.append(pending[0].done() if pending else False)
        return append(self, *given)

    monkeypatch.setattr(SqliteStore, "append", watched)
    pending.append(service.act(session.record, read(ACTIONS[0]), "key-0001"))
    pending[0].result(30)
    assert seen == [False]
    (entry,) = map(json.loads, store.entries(session.record.id))
    assert entry == {"n": 1, "key": "key-0001", "do": ACTIONS[0]}


def test_a_request_that_comes_twice_is_made_once_also_at_another_replica(services, store, picture):
    service, replica = services(), services()
    session = opened(service, picture)
    first = do(service, session, ACTIONS[0], "key-0001")
    again, elsewhere = (do(each, session, ACTIONS[0], "key-0001") for each in (service, replica))
    assert first.number == again.number == elsewhere.number == 1 and len(store.entries(session.record.id)) == 1
    assert (first.mask == again.mask).all() and (first.mask == elsewhere.mask).all()
    assert again.base is None and elsewhere.base is None, "the whole mask is sent"


def test_two_replicas_on_one_session_outrun_each_other_and_agree(services, store, picture):
    service, replica = services(), services()
    session = opened(service, picture)
    for number, content in enumerate((*ACTIONS[:3], ACTIONS[1], ACTIONS[0]), 1):
        assert do((service, replica)[number % 2], session, content).number == number
    # What is in memory here lacks what was just added there, between the look into the log and the addition to it.
    entries = SqliteStore.entries
    late: list[str] = []

    def outrun(self, id, after=0):
        found = entries(self, id, after)
        if threading.current_thread() in service._queues[0]._threads and not late:
            late.append(id)
            do(replica, session, ACTIONS[2])
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SqliteStore, "entries", outrun)
        answer = do(service, session, {"do": "undo"})
    assert answer.number == 7 and late and b"interactify_conflicts_total 1.0" in service.metrics.text()
    other = replica.read(session.record, lambda live: live.answer()).result(30)
    assert other.number == 7 and (other.mask == answer.mask).all()


def test_a_newer_click_ends_the_older_one_and_the_replay_too(pictures, picture, services):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8, energy="brs")
    service = services({"default": net})
    session = opened(service, picture)
    entered, add = threading.Event(), Session.add

    def waits(self, interactions):  # stands for a slow network
        if not entered.is_set():
            entered.set()
            deadline = time.monotonic() + 10
            while not service._queues[0].superseded(session.record.id) and time.monotonic() < deadline:
                time.sleep(0.001)
        return add(self, interactions)

    mask = session.answer.mask
    wrong = {"kind": "click", "x": 55, "y": 30, "positive": not bool(mask[30, 55])}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "add", waits)
        first = service.act(session.record, read({"do": "add", "interactions": [wrong]}), "key-0001")
        assert entered.wait(10)
        second = service.act(session.record, read(ACTIONS[1]), "key-0002")
        assert first.result(30).state["result"]["status"] == "superseded"
        newest = second.result(30)
    assert b"interactify_superseded_total 1.0" in service.metrics.text()
    assert json.loads(service.store.entries(session.record.id)[0])["superseded"] is True
    again = services({"default": net}).read(session.record, lambda live: live.answer()).result(30)
    assert [again.number, again.state["can_undo"]] == [2, True] and (again.mask == newest.mask).all()
    assert (do(service, session, {"do": "undo"}).mask == first.result().mask).all()


def test_an_action_that_comes_again_while_it_runs_does_not_end_itself_early(services, store, picture):
    service = services()
    session, entered, go, add = opened(service, picture), threading.Event(), threading.Event(), Session.add

    def waits(self, interactions):
        entered.set()
        assert go.wait(10)
        return add(self, interactions)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "add", waits)
        first = service.act(session.record, read(ACTIONS[0]), "key-0001")
        assert entered.wait(10)
        again = service.act(session.record, read(ACTIONS[0]), "key-0001")
        assert not service._queues[0].superseded(session.record.id)
        go.set()
        assert again.result(30).number == first.result(30).number == 1
    assert service.act(session.record, read(ACTIONS[0]), "key-0001").result(30).number == 1
    assert len(store.entries(session.record.id)) == 1 and service._asked == {}


def test_two_sessions_are_worked_for_at_one_time_with_the_masks_that_each_has_alone(net, services, picture):
    service, meet, add = services(), threading.Barrier(2), Session.add
    sessions = [opened(service, picture) for _ in range(2)]
    contents = [
        [ACTIONS[0], ACTIONS[1], ACTIONS[2]],
        [{"do": "add", "interactions": [{**CLICK, "x": 20}]}, *ACTIONS[1:3]],
    ]
    threads = []

    def meets(self, interactions):
        meet.wait(20)  # breaks where the other session has no turn meanwhile
        threads.append(torch.get_num_threads())
        return add(self, interactions)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "add", meets)
        found = []
        for pair in zip(*contents, strict=True):
            asked = [
                service.act(session.record, read(content), f"key-{number}-{len(found)}")
                for number, (session, content) in enumerate(zip(sessions, pair, strict=True))
            ]
            found.append([future.result(30).mask for future in asked])
    assert threads == [1] * 6
    assert services(threads=2).read(sessions[0].record, lambda _: torch.get_num_threads()).result(30) == 2
    for which in range(2):
        local = net.session(np.asarray(Image.open(io.BytesIO(picture))))
        for content, masks in zip(contents[which], found, strict=True):
            assert (_after(local, content) == masks[which]).all()


def test_a_network_that_keeps_something_of_a_pass_has_one_pass_at_a_time(net, services):
    keeps = interactify.wrap(networks.seeded(networks.Stateful))
    assert services({"default": net}).at_once == 2
    assert services({"default": net, "keeps": keeps}).at_once == 1
    assert services({"default": net}, workers=None).at_once == cores()
    assert services({"default": net}, workers=None, threads=1000).at_once == 1


def test_memory_holds_a_limited_number_and_the_others_come_back(services, picture):
    service = services(in_memory=2)
    sessions = [opened(service, picture) for _ in range(5)]
    masks = [do(service, each, ACTIONS[k % 2]).mask for k, each in enumerate(sessions)]
    _wait(lambda: len(service.memory) == 2)
    for each, mask in zip(sessions, masks, strict=True):
        assert (service.read(each.record, lambda live: live.answer()).result(30).mask == mask).all()
    _wait(lambda: len(service.memory) == 2)


def _wait(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_places_are_limited_and_end_with_the_heartbeat(services, picture):
    service = services(sessions=2, liveness=1.0, idle=3600.0)
    first, second = opened(service, picture), opened(service, picture)
    with pytest.raises(Full, match="got 2 sessions"):
        service.open("ana", picture, "third.png")
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert 0 < service.beat(second.record) <= 1.0
        time.sleep(0.05)
    third = opened(service, picture)  # in the place of the first, of which nothing was heard
    service.beat(second.record)
    with pytest.raises(Full):
        service.act(first.record, read(ACTIONS[0]), "key-0001")
    _wait(lambda: first.record.id not in service.memory)
    service.store.release(third.record.id)
    assert do(service, first, ACTIONS[0]).number == 1, "its place is taken again by its next action"


def test_a_session_without_actions_loses_its_place_whatever_its_heartbeat(services, picture):
    service = services(liveness=0.4, idle=2.0)
    session = opened(service, picture)
    assert 0 < service.beat(session.record) <= 0.4
    _wait(lambda: service.beat(session.record) == 0)
    assert service.store.leases(time.time()) == 0
    assert do(service, session, ACTIONS[0]).number == 1 and service.beat(session.record) > 0


def test_what_was_kept_for_long_enough_is_removed(services, picture):
    service = services(liveness=0.1, keep=0.3)
    session = opened(service, picture)
    _wait(lambda: service.store.record(session.record.id) is None)
    with pytest.raises(SessionGoneError):
        do(service, session, ACTIONS[0])


def test_a_deleted_session_is_gone_everywhere(services, picture):
    service, replica = services(), services()
    session = opened(service, picture)
    do(replica, session, ACTIONS[0])
    service.delete(session.record)
    for each in (service, replica):
        with pytest.raises(SessionGoneError):
            do(each, session, ACTIONS[0])


def test_other_weights_are_not_continued_with(services, picture):
    session = opened(services(), picture)
    other = interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)
    with pytest.raises(CheckpointError, match="other weights or options"):
        do(services({"default": other}), session, ACTIONS[0])
    options = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=6)
    with pytest.raises(CheckpointError):
        do(services({"default": options}), session, ACTIONS[0])
    with pytest.raises(OptionError, match="networks another"):
        do(services({"another": options}), session, ACTIONS[0])


def test_a_store_that_fails_loses_nothing(services, store, picture, monkeypatch):
    service = services()
    session = opened(service, picture)
    before = do(service, session, ACTIONS[0])
    with pytest.MonkeyPatch.context() as patched:

        def fails(*given):
            raise StoreError("the disk is full")

        patched.setattr(SqliteStore, "append", fails)
        with pytest.raises(StoreError):
            do(service, session, ACTIONS[1], "key-0002")
        assert (service.read(session.record, lambda live: live.answer()).result(30).mask == before.mask).all()
    assert do(service, session, ACTIONS[1], "key-0002").number == 2


def test_an_action_that_fails_leaves_the_session_as_it_was(services, picture):
    service = services()
    session = opened(service, picture)
    for wrong in ({"do": "add", "interactions": [{**CLICK, "x": 100}]}, {"do": "switch", "name": "nobody"}):
        with pytest.raises(InteractionError):
            do(service, session, wrong)
    assert do(service, session, {"do": "undo"}).number == 0, "nothing to undo is no action"
    assert do(service, session, ACTIONS[0]).number == 1


def test_masks_are_taken_at_the_photos_size_only(services, picture):
    service = services()
    session = opened(service, picture)
    mask = np.zeros(SIZE, bool)
    mask[10:40, 20:70] = True
    given = {"do": "add", "interactions": [interactify.Mask(mask).to_json()]}
    assert (do(service, session, given).mask == mask).all()
    for size in ([10**6, 10**6], [72, 101], "72", None):
        wrong = {"kind": "mask", "rle": {"size": size, "counts": [10**12]}}
        with pytest.raises(InteractionError, match="photo's size"):
            read({"do": "add", "interactions": [wrong]})
    with pytest.raises(InteractionError, match="at most 256 classes"):
        read({"do": "add", "interactions": [{"kind": "labels", "classes": dict.fromkeys(map(str, range(300)))}]})
    with pytest.raises(InteractionError, match="of the kinds click"):
        read_action(given)


def test_photos_are_refused_before_they_are_decoded(services, picture):
    service = services(pixels=7199, file_bytes=len(picture))
    with pytest.raises(PhotoError, match="at most 7199 pixels"):
        service.open("ana", picture, "first.png")
    with pytest.raises(PhotoError, match=f"1 to {len(picture)} bytes"):
        service.open("ana", picture + b" ", "first.png")
    with pytest.raises(PhotoError, match="Expected a picture"):
        service.open("ana", b"GIF89a" + bytes(40), "first.gif")
    assert service.store.leases(time.time()) == 0


def test_a_damaged_photo_is_no_path_of_the_server(services, picture):
    with pytest.raises(PhotoError) as error:
        services().open("ana", picture[: len(picture) // 2], "first.png")
    assert "first.png" in str(error.value) and "interactify-" not in str(error.value)


def test_networks_whose_clicks_depend_on_time_are_not_served(store):
    timed = interactify.wrap(networks.seeded(networks.Plain), max_seconds=1.0)
    with pytest.raises(OptionError, match="without max_seconds"):
        Service({"default": timed}, store)
    with pytest.raises(OptionError, match="at least one network"):
        Service({}, store)


def test_services_of_one_process_count_for_themselves_and_leave_out_what_they_cannot_read(services, picture):
    first, second = services(), services()
    do(first, opened(first, picture), ACTIONS[0])
    assert b'interactify_actions_total{do="add"} 1.0' in first.metrics.text()
    assert (
        b"interactify_actions_total{" not in second.metrics.text()
        and b"interactify_sessions 1.0" in second.metrics.text()
    )
    first.metrics.gauge("unknown", "Fails.", lambda: 1 / 0)
    assert b"interactify_unknown" not in first.metrics.text() and b"interactify_sessions 1.0" in first.metrics.text()
