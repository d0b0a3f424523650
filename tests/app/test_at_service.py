"""The page with a network at a service: every gesture, and nothing lost whichever of the two processes ends."""

from __future__ import annotations

import io
import json
import shutil
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")

import interactify
from interactify import client
from interactify.app.at_service import AtService
from interactify.app.store import saver
from interactify.app.store.journal import SessionFiles, entries_of
from interactify.interactive import Interactive
from interactify.session.session import Session
from interactify.web.actions import read_action
from tests.app.test_server import GESTURES
from tests.fixtures import networks
from tests.fixtures.served import Killed, Page, served
from tests.fixtures.service import ANA, KEYS, serving

CLICK = GESTURES["click"]


@contextmanager
def page_at(address: str, photos: list[Path], out: Path, key: str | None = None) -> Iterator[httpx.Client]:
    """A page whose network is at a service."""
    there = AtService(client.connect(address, key, patience=inf))
    with served(there, photos, out) as (found, _):
        yield found


@pytest.fixture
def service(net, tmp_path):
    with serving(net, tmp_path / "s.db") as found:
        yield found


def files(out: Path) -> SessionFiles:
    return SessionFiles.of("first", out)


def kept_waiting(out: Path) -> list[dict[str, Any]]:
    """What waits for the service, as it is on disk."""
    path = files(out).waiting
    return list(json.loads(path.read_text())["waiting"]) if path.exists() else []


def test_every_action_gives_what_a_network_here_gives(service, net, pictures, tmp_path):
    def as_it_is(page: Page) -> dict[str, Any]:
        kept = {name: page.state[name] for name in ("objects", "active", "can_undo", "can_redo")}
        kept["interactions"] = [{**each, "ms": 0} for each in page.state["interactions"]]
        return {**kept, "result": {**page.state["result"], "ms": 0}}

    with (
        page_at(service[0], pictures, tmp_path / "there") as there,
        served(net, pictures, tmp_path / "here") as (here, _),
    ):
        pages = Page(here), Page(there)
        every: list[tuple[str, dict[str, Any]]] = [("add", {"interactions": [each]}) for each in GESTURES.values()]
        every += [("undo", {}), ("redo", {}), ("choose", {"choice": "wide"}), ("remove", {"index": 1}),
                  ("move", {"index": 0, "x": 50, "y": 33}), ("add_object", {"name": "second", "target": None}),
                  ("add", {"interactions": [{**CLICK, "x": 10}]}), ("rename", {"name": "object 1", "to": "first"}),
                  ("switch", {"name": "first"}), ("undo", {}), ("delete", {"name": "second"}), ("reset", {}),
                  ("undo", {}), ("redo", {}), ("redo", {}), ("undo", {})]  # fmt: skip
        for name, content in every:
            for page in pages:
                page.do(name, viewport="0,0,100,72,3", **content)
            assert as_it_is(pages[0]) == as_it_is(pages[1]), (name, content)
            assert pages[0].masks.keys() == pages[1].masks.keys()
            assert all((pages[1].masks[each] == mask).all() for each, mask in pages[0].masks.items())
        initial = [each.get("/api/photos/0/initial").content for each in (here, there)]
        assert initial[0] == initial[1]
        for wrong in ({"do": "choose", "choice": "huge"}, {"do": "switch", "name": "nobody"}, {"do": "undo", "x": 1}):
            assert there.post("/api/photos/0/do", json=wrong).status_code == 422
        assert there.post("/api/photos/0/cancel").status_code == 204
        project = there.get("/api/project").json()
        assert (
            project["service"] == service[0]
            and not project["teaches"]
            and here.get("/api/project").json()["service"] is None
        )
        kinds = [each["name"] for each in project["exports"]]
        assert "session" not in kinds and "log" in kinds, "a session's file needs the network"
        names = [sorted(_exported(each, ",".join(kinds), 0)) for each in (here, there)]
        assert names[0] == names[1] and len(names[0]) > 8
    store = service[1].store
    log = [json.loads(line) for line in store.entries(store.records("anyone")[0].id)]
    journal = [each for each in entries_of(files(tmp_path / "there").journal) if "do" in each]
    assert [(each["n"], each["do"]) for each in log] == [(each["n"], each["do"]) for each in journal]
    for name in ("masks/first/1-object-1.png", "labels/first.png"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def _exported(page: httpx.Client, kinds: str, photo: int) -> list[str]:
    response = page.get("/api/export", params={"kinds": kinds, "photo": photo})
    assert response.status_code == 200, response.text
    return zipfile.ZipFile(io.BytesIO(response.content)).namelist()


def test_classes_and_files_of_several_objects(tmp_path, pictures):
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=3)), max_evaluations=3)

    def worked(page: httpx.Client) -> tuple[Any, Any]:
        shown = Page(page).click(55, 30).click(5, 5, label=2)
        shown.do("add_object", name=None, target=1).click(90, 60)
        shown.take(page.get("/api/photos/0/state?classes=1"))
        page.post("/api/photos/0/status", json={"status": "done"})
        assert shown.classes is not None
        return shown.classes.tolist(), [each["class"] for each in shown.state["objects"]]

    with served(net, pictures, tmp_path / "here") as (page, _):
        here = worked(page)
    with (
        serving(net, tmp_path / "s.db", KEYS) as (address, _),
        page_at(address, pictures, tmp_path / "there", ANA) as page,
    ):
        assert worked(page) == here
    for folder in ("labels", "classes"):
        local, other = (np.asarray(Image.open(tmp_path / place / folder / "first.png")) for place in ("here", "there"))
        assert (local == other).all() and local.max() == 2


def test_a_page_that_is_started_again_goes_on(service, pictures, tmp_path):
    address, there = service
    out = tmp_path / "out"
    with page_at(address, pictures, out) as page:
        shown = Page(page).click(55, 30).click(5, 5, False)
        Page(page, 1)  # only looked at
    kept = [each for each in there.store.records("anyone")]
    assert [each.name for each in kept] == ["first.png"], "a session in which nothing was done is removed"
    where = files(out).service
    assert stat.S_IMODE(where.stat().st_mode) == 0o600 and json.loads(where.read_text())["session"] == kept[0].id
    with page_at(address, pictures, out) as page:
        again = Page(page)
        assert (again.mask == shown.mask).all() and again.state["interactions"] == shown.state["interactions"]
        assert len(again.do("undo").state["interactions"]) == 1
    assert len(there.store.records("anyone")) == 1, "it is the same session"
    assert [each["n"] for each in entries_of(files(out).journal) if "do" in each] == [1, 2, 3]


def test_a_session_is_of_its_photo_and_of_its_network(net, pictures, tmp_path):
    out, other = tmp_path / "out", interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)
    with serving({"one": net, "two": other}, tmp_path / "s.db") as (address, _):
        with page_at(address, pictures, out) as page:
            shown = Page(page).click(55, 30)
            kept = pictures[0].read_bytes()
            Image.new("RGB", (100, 72), (200, 90, 20)).save(pictures[0])
            again = Page(page)
            assert "another photo" in again.state["notice"] and not again.state["interactions"]
        pictures[0].write_bytes(kept)
        there = AtService(client.connect(address, patience=inf), "two")
        with served(there, pictures, out) as (page, _):
            again = Page(page)
            assert not again.state["interactions"] and (again.mask == other.session(pictures[0]).result.mask).all()
        with page_at(address, pictures, out) as page:
            assert (Page(page).mask == shown.mask).all() and Page(page).state["notice"] == ""


def test_what_only_one_of_the_two_logs_has(service, pictures, tmp_path):
    address, there = service
    out = tmp_path / "out"
    with page_at(address, pictures, out) as page:
        Page(page).click(55, 30)
        killed = Killed(out)
        expected = Page(page).click(5, 5, False)
    killed.happens()  # the page was killed when the service had the second click, and its own journal had not
    with page_at(address, pictures, out) as page:
        assert (Page(page).mask == expected.mask).all()
    assert [each["n"] for each in entries_of(files(out).journal) if "do" in each] == [1, 2]
    (record,) = there.store.records("anyone")
    there.store.delete(record.id)
    there.memory.drop(record.id)
    with page_at(address, pictures, out) as page:  # the service has lost everything: it is made again
        again = Page(page)
        assert (again.mask == expected.mask).all() and not again.state["notice"]
        assert again.do("undo").state["can_undo"]
        (record,) = there.store.records("anyone")
        there.store.delete(record.id)
        there.memory.drop(record.id)
        frames = page.post("/api/photos/0/do", json={"do": "redo"})
        assert frames.status_code == 422 and "journal" in frames.json()["error"]
        assert Page(page).do("redo").state["interactions"] and (Page(page).mask == expected.mask).all()


def test_the_masks_are_written_where_the_page_was_killed_before(service, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(saver, "QUIET", 1e9)
    monkeypatch.setattr(saver, "MAX_DELAY", 1e9)
    with page_at(service[0], pictures, out) as page:
        shown = Page(page).click(55, 30)
        killed = Killed(out)
    killed.happens()
    assert not list((out / "masks").rglob("*.png"))
    monkeypatch.undo()
    with page_at(service[0], pictures, out) as page:
        assert _exported(page, "png", 0) == ["png/first-1-object-1.png"], "without opening the photo"
    assert (np.asarray(Image.open(out / "masks" / "first" / "1-object-1.png")) == shown.mask * 255).all()
    lines = entries_of(files(out).journal)
    assert lines[-1] == {"n": 1, "masks": True}


def test_without_the_service_the_same_network_goes_on_here_and_another_puts_the_session_aside(
    service, net, pictures, tmp_path
):
    out = tmp_path / "out"
    with page_at(service[0], pictures, out) as page:
        shown = Page(page).click(55, 30).click(5, 5, False)
    other = interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)
    with served(other, pictures, out) as (page, _):
        strange = Page(page)
        assert "stays as it is" in strange.state["notice"] and not strange.state["interactions"]
        assert "was put aside" in strange.click(9, 9).state["notice"]
    with served(net, pictures, out) as (page, _):
        here = Page(page)
        assert (here.mask == shown.mask).all() and "restored" in here.state["notice"]
        here.do("undo")
    with page_at(service[0], pictures, out) as page:  # now there is a session's file, of a network here
        fresh = Page(page)
        assert "on this computer" in fresh.state["notice"] and not fresh.state["interactions"]
        fresh.click(50, 40)
        assert len(files(out).earlier) == 2
    with page_at(service[0], pictures, out) as page:
        assert (Page(page).mask == fresh.mask).all() and not Page(page).state["notice"]


def test_a_click_waits_while_the_service_is_away(net, pictures, tmp_path):
    out, found = tmp_path / "out", []
    with serving(net, tmp_path / "s.db") as (address, _):
        port = int(address.rsplit(":", 1)[1])
        pages = page_at(address, pictures, out)
        page = pages.__enter__()
        shown = Page(page).click(55, 30)
        assert page.get("/api/service").json() == {"trouble": ""}
    try:
        clicking = threading.Thread(target=lambda: found.append(shown.click(5, 5, False)))
        clicking.start()
        deadline = time.monotonic() + 20
        while "127.0.0.1" not in (trouble := page.get("/api/service").json()["trouble"]):
            assert time.monotonic() < deadline, trouble
        assert not found
        with serving(net, tmp_path / "s.db", port=port):
            clicking.join(30)
            assert found and len(shown.state["interactions"]) == 2
            assert page.get("/api/service").json() == {"trouble": ""}
            expected = net.session(pictures[0])
            assert (shown.mask == [expected.click(55, 30), expected.click(5, 5, False)][-1].mask).all()
    finally:
        pages.__exit__(None, None, None)


def test_a_page_that_ends_while_the_service_is_away_keeps_what_waits(net, pictures, tmp_path):
    out = tmp_path / "out"
    with serving(net, tmp_path / "s.db") as (address, _):
        pages = page_at(address, pictures, out)
        page = pages.__enter__()
        shown = Page(page).click(55, 30)
    late = {"do": "add", "interactions": [GESTURES["negative click"]]}
    waiting = threading.Thread(target=_ask, args=(page, late))
    waiting.start()
    deadline = time.monotonic() + 20
    while not (page.get("/api/service").json()["trouble"] and kept_waiting(out)):  # the page has the action
        assert time.monotonic() < deadline
    begun = time.monotonic()
    pages.__exit__(None, None, None)
    waiting.join(10)
    assert time.monotonic() - begun < 15, "it does not wait for a service that is away"
    assert kept_waiting(out)[0]["do"] == late
    with serving(net, tmp_path / "s.db") as (address, _), page_at(address, pictures, out) as page:
        again = Page(page)
        assert len(again.state["interactions"]) == 2 and (again.mask != shown.mask).any()


def test_what_waits_for_a_service_outlives_a_killed_page(net, pictures, tmp_path):
    out = tmp_path / "out"
    gestures = [GESTURES[name] for name in ("negative click", "scribble", "box")]
    with serving(net, tmp_path / "s.db") as (address, there):
        pages = page_at(address, pictures, out)
        page = pages.__enter__()
        Page(page).click(55, 30)
        record = there.store.records("anyone")[0]
    waiting = [threading.Thread(target=_ask, args=(page, {"do": "add", "interactions": [each]})) for each in gestures]
    for count, each in enumerate(waiting, 1):  # one after the other, so that their order is known
        each.start()
        deadline = time.monotonic() + 20
        while len(kept_waiting(out)) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    killed = Killed(out)
    pages.__exit__(None, None, None)
    killed.happens()
    local = net.session(pictures[0])
    for each in (CLICK, *gestures):
        local.add([interactify.interaction_from_json(each)])
    shutil.copytree(out, tmp_path / "copy")
    with served(net, pictures, tmp_path / "copy") as (page, _):  # without the service
        shown = Page(page)
        assert (shown.mask == local.result.mask).all() and not kept_waiting(tmp_path / "copy")
    with serving(net, tmp_path / "s.db") as (address, there):
        # The service has made the first one after all: the page was killed before the answer came.
        first = kept_waiting(out)[0]
        there.act(record, read_action(first["do"]), first["key"]).result(30)
        with page_at(address, pictures, out) as page:
            shown = Page(page)
            assert len(shown.state["interactions"]) == 4 and (shown.mask == local.result.mask).all()
            assert not kept_waiting(out) and shown.state["notice"] == ""
        assert [each["n"] for each in entries_of(files(out).journal) if "do" in each] == [1, 2, 3, 4]


def _ask(page: httpx.Client, action: dict[str, Any]) -> None:
    with suppress(httpx.TransportError):  # the page ends before it answers
        page.post("/api/photos/0/do", json=action)


def test_a_newer_click_ends_the_one_that_runs(tmp_path, pictures, monkeypatch):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8, energy="brs")
    with serving(net, tmp_path / "s.db") as (address, there), page_at(address, pictures, tmp_path / "out") as page:
        shown, add, newer = Page(page), Session.add, []

        def waits(self: Session, interactions: Any) -> Any:  # stands for a slow network
            monkeypatch.setattr(Session, "add", add)
            late = {"do": "add", "interactions": [GESTURES["negative click"]]}
            newer.append(threading.Thread(target=lambda: page.post("/api/photos/0/do", json=late)))
            newer[0].start()
            deadline = time.monotonic() + 20
            while not there.networks["default"].queue.superseded(name):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            return add(self, interactions)

        name = there.store.records("anyone")[0].id
        monkeypatch.setattr(Session, "add", waits)
        shown.click(55, 30, not shown.mask[30, 55])
        newer[0].join(30)
        assert shown.state["result"]["status"] == "superseded"
        assert len(Page(page).state["interactions"]) == 2
    assert [each.get("superseded", False) for each in entries_of(files(tmp_path / "out").journal) if "do" in each] == [
        True,
        False,
    ]


def test_a_network_that_is_another_now_is_told(net, pictures, tmp_path):
    out = tmp_path / "out"
    with serving(net, tmp_path / "s.db") as (address, _), page_at(address, pictures, out) as page:
        Page(page).click(55, 30)
    other: Interactive = interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)
    with serving(other, tmp_path / "s.db") as (address, _), page_at(address, pictures, out) as page:
        shown = Page(page)
        assert "stays as it is" in shown.state["notice"] and not shown.state["interactions"]
        assert (shown.mask == other.session(pictures[0]).result.mask).all()
        shown.click(50, 40)
        assert len(files(out).earlier) == 1 and files(out).earlier[0].service.exists()
    with serving(net, tmp_path / "s.db") as (address, _), page_at(address, pictures, out) as page:
        assert "restored" in Page(page).state["notice"] and len(Page(page).state["interactions"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--server", "http://127.0.0.1:9"], "Is the service running"),
        (["--server", "http://127.0.0.1:9", "--teach"], "need the network on this computer"),
        (["--server", "http://127.0.0.1:9", "--order", "uncertain"], "need the network on this computer"),
        (["--server", "http://127.0.0.1:9", "--model", "clicks"], "options of a network"),
        (["--server", "nowhere"], "Expected addresses"),
        (["--key", "secret-key-of-mine"], "Expected --server"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(tmp_path, pictures, monkeypatch, capsys, words, message):
    from interactify.app import at_service
    from interactify.cli import main

    monkeypatch.setattr(at_service, "FIRST_SECONDS", 0.1)
    given = ["app", str(pictures[0]), "--out", str(tmp_path / "out"), "--no-browser", "--port", "0", *words]
    assert main(given) == 2
    shown = capsys.readouterr().err
    assert message in shown and "secret-key" not in shown
