"""The client: the methods of a session, without torch, and over replicas that go away."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("httpx", reason="needs httpx: install interactify[client]")
pytest.importorskip("starlette", reason="needs starlette: install interactify[serve]")

import httpx
from PIL import Image

import interactify
from interactify import client
from interactify.client import connection as connection_module
from interactify.client.photos import file_of, png_of
from interactify.errors import (
    ClosedSessionError,
    InteractionError,
    OptionError,
    PhotoError,
    ServiceError,
    SessionChangedError,
    SessionGoneError,
)
from interactify.session.session import Session
from interactify.training.accepted import labels_of_session
from tests.fixtures import networks
from tests.fixtures.service import ANA, BEN, KEYS, serving

# Of a session's methods those that a client has no use for: what runs the network, and what belongs to this process.
LOCAL = {"first", "history", "initial_step", "photo", "refiner", "restart", "restore", "steps", "track", "wrapped"}


@pytest.fixture
def service(net, tmp_path):
    with serving(net, tmp_path / "s.db") as (address, _):
        found = client.connect(address, patience=5)
        yield found
        found.close()


def test_importing_it_needs_neither_torch_nor_scipy_nor_pillow():
    heavy = ("torch", "scipy", "PIL", "timm", "starlette")
    code = f"import sys, interactify.client; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_it_has_the_methods_of_a_session():
    names = {name for name in dir(Session) if not name.startswith("_")}
    missing = {name for name in names if not hasattr(client.Session, name)}
    assert missing - {"size"} == LOCAL, "size is an attribute of its instances"
    for name in ("click", "add", "remove", "move", "choose", "undo", "redo", "reset", "add_object", "switch", "rename",
                 "delete", "result_of", "interactions_of", "category", "label_map", "class_map", "log"):  # fmt: skip
        here, there = (inspect.signature(getattr(cls, name)).parameters for cls in (client.Session, Session))
        assert list(here) == list(there), name
        assert [each.default for each in here.values()] == [each.default for each in there.values()], name


def test_results_are_those_of_a_session(service, net, pictures, tmp_path):
    local = net.session(pictures[0])
    with service.session(pictures[0]) as session:
        assert (
            session.size == (72, 100)
            and session.name == "first.png"
            and (session.result.mask == local.result.mask).all()
        )
        box, mask = interactify.Box(20, 8, 90, 60), np.zeros((72, 100), bool)
        mask[10:50, 20:80] = True
        for method, given in (
            ("click", (55, 30)),
            ("click", (5, 5, False)),
            ("add", ([interactify.Scribble([(40, 30), (60, 34)]), interactify.Paint([(10, 60)], 8.0)],)),
            ("remove", (-1,)),
            ("move", (0, 50.0, 33.0)),
            ("undo", ()),
            ("redo", ()),
            ("choose", ("narrow",)),
            ("add", ([box],)),
            ("add", ([interactify.Mask(mask)],)),
            ("reset", ()),
            ("undo", ()),
        ):
            found, expected = (getattr(each, method)(*given) for each in (session, local))
            assert (found.mask == expected.mask).all() and not found.mask.flags.writeable, method
            for name in ("satisfied", "status", "evaluations", "choice", "size", "interactions", "clicks", "overruled"):
                assert getattr(found, name) == getattr(expected, name), (method, name)
            assert session.interactions == local.interactions and session.result is found
            assert (session.can_undo, session.can_redo) == (local.can_undo, local.can_redo)
        assert (session.result.probability == local.result.probability).all()
        assert session.log() == local.log() and session.save(tmp_path / "log").read_text() == local.log()
        replayed = interactify.replay(session.log(), net, pictures[0])
        assert (replayed.result.mask == session.result.mask).all()
        before, found = session.result.mask, session.click(90, 60, positive=not session.result.mask[60, 90])
        assert (found.changed == (found.mask != before)).all() and found.changed.any()


def test_several_objects(service, net, pictures):
    local, session = net.session(pictures[0]), service.session(pictures[0])
    session.click(55, 30), local.click(55, 30)
    for each in (session, local):
        assert each.add_object("dark") == "dark"
    session.click(5, 5), local.click(5, 5)
    assert session.objects == local.objects == ("object 1", "dark") and session.active == "dark"
    for name in session.objects:
        assert (session.result_of(name).mask == local.result_of(name).mask).all()
        assert session.interactions_of(name) == local.interactions_of(name)
        assert session.category(name) == local.category(name)
    assert (session.label_map() == local.label_map()).all() and session.label_map().dtype == np.int32
    session.rename("object 1", "bright"), local.rename("object 1", "bright")
    assert (session.switch("bright").mask == local.switch("bright").mask).all()
    assert (session.delete("bright").mask == local.delete("bright").mask).all() and session.objects == ("dark",)
    with pytest.raises(InteractionError, match="nobody"):
        session.switch("nobody")
    with pytest.raises(InteractionError):
        session.result_of("nobody")
    with pytest.raises(OptionError):
        session.class_map()
    session.close()


def test_masks_of_other_objects_are_asked_for_once(service, pictures, monkeypatch):
    asked: list[str] = []
    request = client.Connection.request

    def counted(self, method, path, **more):
        asked.append(f"{method} {path.rsplit('/', 1)[-1]}")
        return request(self, method, path, **more)

    with service.session(pictures[0], heartbeat=False) as session:
        first = session.click(55, 30)
        session.add_object("second")
        monkeypatch.setattr(client.Connection, "request", counted)
        session.click(5, 5), session.click(90, 60, False)
        assert session.result_of("object 1").mask is first.mask and session.interactions_of("object 1")
        assert (session.result_of("object 1").probability > 0.5)[first.mask].all(), "it is of now"
        assert asked[:2] == ["POST actions"] * 2 and "GET " not in "".join(asked[:2])
        del asked[:]
        assert len(session.undo().interactions) == 1 and (session.result_of("object 1").mask == first.mask).all()
        assert session.result_of("object 1") and len(asked) == 2, "undo may have changed any"
        other = service.resume(session.id, session.token, heartbeat=False)
        other.switch("object 1"), other.click(5, 5), other.switch("second")
        session.click(7, 7)
        assert len(session.interactions_of("object 1")) == 2, "so may another client"


def test_a_prompt_leaves_the_session_as_it_is(net, service, pictures):
    clicks = [interactify.Click(55, 30), interactify.Click(5, 5, False)]
    with service.session(pictures[0], heartbeat=False) as session:
        initial = session.result.mask
        own = session.prompt()
        assert (own.mask == initial).all() and 0 < own.score <= 1
        mask = session.click(90, 60, not initial[60, 90]).mask
        for box in (None, interactify.Box(20, 8, 90, 60)):
            prompted = session.prompt(clicks, box)
            alone = net.session(pictures[0]).add([*([] if box is None else [box]), *clicks])
            assert (prompted.mask == alone.mask).all()
        assert (session.initial_mask == initial).all()
        assert (service.resume(session.id, session.token, heartbeat=False).result.mask == mask).all()
        assert session.log().count("\n") == 2 and (session.undo().mask == initial).all()
        for wrong in ({"clicks": [interactify.Click(100, 5)]}, {"box": interactify.Box(-9, -9, -5, -5)}):
            with pytest.raises(InteractionError):
                session.prompt(**wrong)
        with pytest.raises(OptionError):
            session.prompt(clicks, target="sky")


def test_a_refinement_that_is_cancelled_ends_early(tmp_path, pictures, monkeypatch):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8, energy="brs")
    with serving(net, tmp_path / "s.db") as (address, served):
        session = client.connect(address).session(pictures[0])
        queue, add, mask = served.networks["default"].queue, Session.add, session.result.mask

        def waits(self, interactions):  # stands for a slow network
            session.cancel()
            assert queue.superseded(session.id)
            return add(self, interactions)

        monkeypatch.setattr(Session, "add", waits)
        ended = session.click(55, 30, not mask[30, 55])
        assert ended.status == "superseded" and session.preview() is ended
        monkeypatch.setattr(Session, "add", add)
        served.memory.drop(session.id)
        again = client.connect(address).resume(session.id, session.token, heartbeat=False)
        assert (again.result.mask == ended.mask).all() and b"interactify_replays_total 1.0" in served.metrics.text()
        assert session.click(5, 5, False).status != "superseded", "the next one runs to its end"
        session.close()


def test_the_actions_of_a_session_give_the_same_masks_in_another(tmp_path, pictures, monkeypatch):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8, energy="brs")
    with serving(net, tmp_path / "s.db") as (address, _):
        service = client.connect(address)
        first, second, third = (service.session(pictures[0], heartbeat=False) for _ in range(3))
        assert first.identity == second.identity != service.session(pictures[1], heartbeat=False).identity
        add = Session.add
        monkeypatch.setattr(Session, "add", lambda *given: (first.cancel(), add(*given))[1])
        superseded = first.click(55, 30, not first.result.mask[30, 55])
        monkeypatch.setattr(Session, "add", add)
        first.add_object("second"), first.click(5, 5), first.undo(), first.switch("object 1")
        assert [each["n"] for each in first.actions(after=1)] == [2, 3, 4, 5]
        entries = first.actions()
        assert entries[0].pop("superseded") and not any("superseded" in each for each in entries)
        masks = [third.repeat(each).mask for each in entries]
        entries[0]["superseded"] = True
        again = [second.repeat(each).mask for each in entries]
        assert (again[0] == superseded.mask).all() and (masks[0] != superseded.mask).any(), "it ends as early again"
        assert second.actions() == entries == first.actions() and second.objects == first.objects
        assert (second.result.mask == first.result.mask).all()


def test_a_copy_is_of_the_session_as_it_was(service, pictures):
    with service.session(pictures[0], heartbeat=False) as session:
        session.click(55, 30), session.add_object("second"), session.click(5, 5)
        at_once, late, kept = (copy.copy(session) for _ in range(3))
        labels, first = at_once.label_map(), at_once.result_of("object 1").mask
        session.rename("object 1", "first"), session.click(90, 60, False)
        assert (kept.result.mask == at_once.result.mask).all() and kept.objects == ("object 1", "second")
        assert (labels[at_once.result.mask] > 0).all() and (session.result_of("first").mask == first).all()
        for ask in (late.label_map, late.accepted_labels, lambda: late.result_of("object 1")):
            late._others = {}
            with pytest.raises(SessionChangedError):
                ask()
        assert session.label_map().any(), "the session itself goes on"


def test_trouble_says_why_a_request_is_tried_again():
    troubles: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        troubles.append(connection.trouble)
        return httpx.Response(200 if len(troubles) == 2 else 503, json={"error": "all places are taken"})

    connection = client.Connection("http://a", transport=httpx.MockTransport(answers), patience=10)
    connection.request("GET", "/v1/x")
    assert troubles == ["", "http://a: all places are taken"] and connection.trouble == ""


def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LOOK_PAUSE", 0.02)
    monkeypatch.setattr(connection_module, "LOOK_SECONDS", 0.2)


def test_a_request_waits_as_long_as_the_service_says_that_it_runs(monkeypatch):
    quick_looks(monkeypatch)
    looks: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/healthz":
            looks.append(request.url.path)
            if len(looks) % 2:  # a busy service misses one now and then
                raise httpx.ReadTimeout("busy")
        deadline = time.monotonic() + 20
        while request.url.path == "/v1/x" and len(looks) < 6 and time.monotonic() < deadline:  # a long refinement
            time.sleep(0.002)
        return httpx.Response(200, json={"n": 1})

    connection = client.Connection("http://a", transport=httpx.MockTransport(answers), patience=0)
    assert connection.request("POST", "/v1/x").json() == {"n": 1}
    assert len(looks) >= 6


def test_a_service_that_hangs_is_left_for_the_next_one(monkeypatch):
    quick_looks(monkeypatch)
    asked: list[str] = []
    woken = threading.Event()

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.host}{request.url.path}")
        if request.url.host == "hangs":
            if request.url.path == "/healthz":
                raise httpx.ReadTimeout("nothing comes")
            woken.wait(20)
        return httpx.Response(200, json={"n": 1})

    addresses = ["http://hangs", "http://runs"]
    connection = client.Connection(addresses, transport=httpx.MockTransport(answers), patience=0)
    assert connection.request("POST", "/v1/x").json() == {"n": 1}
    assert asked == ["hangs/v1/x", "hangs/healthz", "hangs/healthz", "runs/v1/x"]
    woken.set()


def test_classes(tmp_path, pictures):
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(classes=3)), max_evaluations=3, class_names=("sky", "road", "car")
    )
    with serving(net, tmp_path / "s.db") as (address, _):
        service = client.connect(address)
        assert service.networks()[0]["classes"] == ["sky", "road", "car"]
        local, session = net.session(pictures[0], target="road"), service.session(pictures[0], target="road")
        assert (session.click(55, 30).mask == local.click(55, 30).mask).all()
        assert session.category() == local.category() == "road"
        assert (session.click(5, 5, label="car").mask == local.click(5, 5, label="car").mask).all()
        assert (session.class_map() == local.class_map()).all()
        session.add_object("second", "sky"), local.add_object("second", "sky")
        session.click(90, 60), local.click(90, 60)
        assert (session.accepted_labels() == labels_of_session(local)).all() and session.accepted_labels().any()
        prompted = session.prompt([interactify.Click(55, 30)], target="car").mask
        assert (prompted == net.session(pictures[0], target="car").click(55, 30).mask).all()
        session.close()


def test_errors_are_the_librarys_own(service, pictures):
    session = service.session(pictures[0])
    for wrong, kind in (
        (lambda: session.click(100, 5), InteractionError),
        (lambda: session.click("a", 5), InteractionError),
        (lambda: session.add("click"), InteractionError),
        (lambda: session.remove(0), InteractionError),
        (lambda: session.choose("wider"), OptionError),
        (lambda: session.export("exe"), OptionError),
        (lambda: service.session(b"no picture"), PhotoError),
        (lambda: service.session(pictures[0], network="none"), OptionError),
        (lambda: service.session_at("nowhere.png"), PhotoError),
        (lambda: service.resume(session.id, "wrong"), ServiceError),
        (lambda: service.resume("0" * 24, session.token), SessionGoneError),
        (lambda: client.connect("127.0.0.1"), OptionError),
        (lambda: client.connect([]), OptionError),
    ):
        with pytest.raises(kind):
            wrong()
    assert session.result.number == 0
    session.click(55, 30)
    assert session.add([]).number == 1
    old = session.result
    session.click(5, 5, False)
    with pytest.raises(ServiceError, match="older one"):
        _ = old.probability
    session.close()
    for use in (lambda: session.click(5, 5), lambda: session.result, lambda: session.interactions):
        with pytest.raises(ClosedSessionError):
            use()


def test_a_session_is_gone_on_with_and_removed(service, pictures):
    with service.session(pictures[0]) as session:
        mask = session.click(55, 30).mask
    again = service.resume(session.id, session.token)
    assert (again.result.mask == mask).all() and len(again.interactions) == 1
    assert [each["session"] for each in service.sessions()] == [session.id]
    again.close(delete=True)
    assert service.sessions() == []


def test_another_client_changes_the_session_meanwhile(service, pictures):
    first = service.session(pictures[0])
    second = service.resume(first.id, first.token)
    first.click(55, 30), first.click(5, 5, False)
    found = second.click(90, 60, False)  # its change builds on a mask that is not here
    assert found.number == 3 and (found.mask == service.resume(first.id, first.token).result.mask).all()
    assert (second.undo().mask == first._masks[2]).all() and first.interactions == second.interactions
    first.close(), second.close()


def test_clicks_of_several_threads_at_a_time(service, net, pictures):
    session = service.session(pictures[0])
    found: list[client.Result] = []
    threads = [
        threading.Thread(target=lambda k=k: found.append(session.click(9 * k + 5, 30, bool(k % 2)))) for k in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(each.number for each in found) == list(range(1, 9)) and session.result.number == 8
    assert (interactify.replay(session.log(), net, pictures[0]).result.mask == session.result.mask).all()
    session.close()


def test_keys_are_sent(net, tmp_path, pictures):
    with serving(net, tmp_path / "s.db", KEYS) as (address, _):
        session = client.connect(address, ANA).session(pictures[0])
        assert session.click(55, 30).number == 1
        for key in (BEN, "no key of theirs", None):
            with pytest.raises(ServiceError):
                client.connect(address, key, patience=0.1).resume(session.id, session.token)
        session.close()


def test_the_heartbeat_keeps_the_place(net, tmp_path, pictures):
    with serving(net, tmp_path / "s.db", liveness=1.0) as (address, service):
        alive, silent = (client.connect(address).session(pictures[0], heartbeat=each) for each in (True, False))
        time.sleep(2.0)
        assert service.store.leases(time.time()) == 1
        assert alive.id in service.memory and silent.id not in service.memory
        alive.close()


def test_a_replica_that_is_away_is_passed_over(net, tmp_path, pictures):
    with serving(net, tmp_path / "s.db") as (address, _):
        session = client.connect(["http://127.0.0.1:9", address], patience=10).session(pictures[0])
        assert session.click(55, 30).number == 1
        session.close()
    closed = client.connect("http://127.0.0.1:9")
    closed.close()
    with pytest.raises(ServiceError, match="got one that was closed"):
        closed.sessions()
    with pytest.raises(ServiceError, match=r"within 0\.3 seconds"):
        client.connect(["http://127.0.0.1:9"], patience=0.3).session(pictures[0])


def test_what_is_busy_is_asked_again_with_the_same_key():
    asked: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 3:
            raise httpx.ReadError("the replica was killed")
        status = {1: 503, 2: 429, 4: 502}.get(len(asked), 200)
        return httpx.Response(status, json={"n": 1} if status == 200 else {"error": "later"})

    connection = client.Connection("http://a", "key", transport=httpx.MockTransport(answers), patience=10)
    headers = {"Idempotency-Key": "one-of-mine"}
    assert connection.request("POST", "/v1/x", headers=headers, json={}).json() == {"n": 1}
    assert len(asked) == 5 and {each.headers["idempotency-key"] for each in asked} == {"one-of-mine"}
    assert {each.headers["authorization"] for each in asked} == {"Bearer key"}


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays_are_sent_as_png(shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    content, name = file_of(array)
    (tmp_path / name).write_bytes(content)
    assert (np.asarray(Image.open(tmp_path / name)).reshape(shape) == array).all()
    assert content == png_of(array.reshape(5, 7, -1))


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        3,
        "nowhere.png",
        object(),
        np.zeros((5, 5), int),
        *(np.zeros(each, np.uint8) for each in [(5, 5, 2), (0, 5)]),
    ],
)
def test_what_is_no_photo_is_refused(wrong):
    with pytest.raises(PhotoError):
        file_of(wrong)
