"""The page's server: every gesture, several objects, files on disk, and errors."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")

import interactify
from interactify import export
from interactify.app.store.project import photos_of
from interactify.errors import PhotoError
from interactify.session.session import Session
from tests.fixtures import networks
from tests.fixtures.served import Page, served

GESTURES = {
    "click": {"kind": "click", "x": 55, "y": 30, "positive": True},
    "negative click": {"kind": "click", "x": 5, "y": 5, "positive": False},
    "scribble": {"kind": "scribble", "points": [[40, 30], [60, 34], [70, 30]], "positive": True, "width": 2.0},
    "box": {"kind": "box", "left": 20, "top": 8, "right": 90, "bottom": 60},
    "lasso": {"kind": "lasso", "points": [[20, 8], [90, 8], [90, 60], [20, 60]]},
    "erase": {"kind": "paint", "points": [[50, 30], [60, 30]], "width": 8.0, "positive": False},
    "restore": {"kind": "paint", "points": [[10, 60], [20, 60]], "width": 8.0, "positive": True},
}


@pytest.mark.parametrize("gesture", GESTURES)
def test_a_gesture_gives_what_the_library_gives(net, pictures, tmp_path, gesture):
    session = net.session(pictures[0])
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        assert (page.mask == session.result.mask).all()
        page.do("add", interactions=[GESTURES["click"]]).do("add", interactions=[GESTURES[gesture]])
    session.add([interactify.interaction_from_json(GESTURES["click"])])
    result = session.add([interactify.interaction_from_json(GESTURES[gesture])])
    assert page.kinds[-1] == "done" and (page.mask == result.mask).all()
    reported = page.state["interactions"]
    assert [each["kind"] for each in reported] == ["click", GESTURES[gesture]["kind"]]
    assert all(each["ms"] >= 0 for each in reported)
    assert page.state["result"]["satisfied"] == result.satisfied
    assert page.state["result"]["area"] == pytest.approx(result.mask.mean())


def test_the_viewport_comes_first(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        for k, (viewport, window, step) in enumerate(
            [
                ("0,0,100,72,3", np.s_[:, :], 3),
                ("20,10,40,31,1", np.s_[10:41, 20:60], 1),
                ("99,71,1,1,4096", np.s_[71:, 99:], 4096),
            ]
        ):
            click = {**GESTURES["click"], "x": 10 * k, "positive": not page.mask[30, 10 * k]}
            page.do("add", viewport=viewport, interactions=[click])
            assert page.kinds[-2:] == ["first", "done"], "and previews, if any, before"
            assert (page.viewport_mask == page.mask[window][::step, ::step]).all()
        page.do("add", viewport="0,0,100,72,1", interactions=[GESTURES["negative click"]])
        assert "first" not in page.kinds, "a viewport of the whole mask is not sent twice"
        page.do("undo", viewport="0,0,100,72,3")
        assert page.kinds == ["done"]
        for wrong in (
            "0,0,101,72,1",
            "0,0,100,72,0",
            "0,0,0,72,1",
            "-1,0,5,5,1",
            "0,0,5,5",
            "a,0,5,5,1",
            "",
            "9" * 99,
        ):
            response = client.post("/api/photos/0/do", json={"do": "undo"}, params={"viewport": wrong})
            assert response.status_code == 422 and "left,top,width,height,step" in response.json()["error"], wrong


def test_undo_redo_reset_remove_and_move(net, pictures, tmp_path):
    session = net.session(pictures[0])
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        assert not page.state["can_undo"] and not page.state["can_redo"]
        page.click(55, 30).click(5, 5, False).click(90, 60, False)
        session.click(55, 30), session.click(5, 5, False), session.click(90, 60, False)
        for action, result in (
            (("undo", {}), session.undo()),
            (("redo", {}), session.redo()),
            (("remove", {"index": 0}), session.remove(0)),
            (("move", {"index": 0, "x": 8, "y": 60}), session.move(0, 8, 60)),
            (("reset", {}), session.reset()),
            (("undo", {}), session.undo()),
        ):
            page.do(action[0], **action[1])
            assert (page.mask == result.mask).all(), action
        assert len(page.state["interactions"]) == 2 and page.state["can_redo"]


def test_objects_are_added_named_switched_and_deleted(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client).click(55, 30)
        first = page.mask.copy()
        page.do("add_object", name="dark", target=None).click(5, 5)
        assert page.objects == ["object 1", "dark"] and page.state["active"] == "dark"
        assert (page.masks["object 1"] == first).all()
        page.do("rename", name="object 1", to="bright").do("switch", name="bright")
        assert page.state["active"] == "bright" and (page.mask == first).all()
        page.do("delete", name="dark")
        assert page.objects == ["bright"]
        page.do("undo")
        assert page.objects == ["bright", "dark"]


def test_a_newer_click_supersedes_the_one_that_is_refined(pictures, tmp_path):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5)
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        entered, go = threading.Event(), threading.Event()
        add = Session.add

        def waits(self, interactions):  # stands for a slow network: it ends when it is superseded
            if not entered.is_set():
                entered.set()
                with self.control.turn():
                    assert go.wait(10)
                    while not self.control.turns.should_yield:
                        time.sleep(0.001)
            return add(self, interactions)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Session, "add", waits)
            first = threading.Thread(target=lambda: client.post("/api/photos/0/do", json=_click(55, 30)))
            first.start()
            assert entered.wait(10)
            go.set()
            second = client.post("/api/photos/0/do", json=_click(5, 5))
            first.join(10)
        assert second.status_code == 200 and not first.is_alive()
        page.take(client.get("/api/photos/0/state"))
        assert [(each["x"], each["y"]) for each in page.state["interactions"]] == [(55, 30), (5, 5)]


def test_a_choice_waits_for_the_click_that_it_is_about(net, pictures, tmp_path, monkeypatch):
    session = net.session(pictures[0])
    usual = session.click(5, 5, positive=not session.result.mask[5, 5])
    entered, go, add, endings = threading.Event(), threading.Event(), Session.add, []

    def waits(self, interactions):  # a slow network: the choice comes while it runs
        with self.control.turn():
            entered.set()
            assert go.wait(10)
            endings.append(self.control.turns.should_yield)
        return add(self, interactions)

    monkeypatch.setattr(Session, "add", waits)
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        ask = [_click(5, 5) | {"interactions": [usual.clicks[0].to_json()]}, {"do": "choose", "choice": "narrow"}]
        first, second = (
            threading.Thread(target=client.post, args=("/api/photos/0/do",), kwargs={"json": each}) for each in ask
        )
        first.start()
        assert entered.wait(10)
        second.start()
        time.sleep(0.1)
        go.set()
        first.join(10), second.join(10)
        page.take(client.get("/api/photos/0/state"))
        assert endings == [False] and page.state["result"]["status"] == usual.status
        assert page.state["result"]["choice"] == "narrow" and (page.mask == usual.alternatives.narrow.mask).all()


def test_a_click_behind_a_choice_waits_with_it(net, pictures, tmp_path, monkeypatch):
    """Else the choice would be among the readings of a click that was not answered."""
    session = net.session(pictures[0])
    usual = session.click(5, 5, positive=not session.result.mask[5, 5])
    session.choose("narrow")
    session.click(55, 30, positive=not session.result.mask[30, 55])
    clicks = [each.to_json() for each in session.interactions]
    entered, go, add = threading.Event(), threading.Event(), Session.add

    def waits(self, interactions):  # a slow network: choice and click come while it runs
        if not entered.is_set():
            entered.set()
            assert go.wait(10)
        return add(self, interactions)

    monkeypatch.setattr(Session, "add", waits)
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        ask = [{"do": "add", "interactions": [clicks[0]]}, {"do": "choose", "choice": "narrow"}]
        ask += [{"do": "add", "interactions": [clicks[1]]}]
        threads = []
        for each in ask:
            thread = threading.Thread(target=client.post, args=("/api/photos/0/do",), kwargs={"json": each})
            thread.start()
            threads.append(thread)
            assert entered.wait(10)
            time.sleep(0.1)
        go.set()
        for thread in threads:
            thread.join(10)
        page.take(client.get("/api/photos/0/state"))
        assert len(page.state["interactions"]) == 2 and (page.mask == session.result.mask).all()
        assert page.do("undo").state["result"]["status"] == usual.status
        assert (page.mask == usual.alternatives.narrow.mask).all()


def test_narrower_and_wider(net, pictures, tmp_path):
    session = net.session(pictures[0])
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        refused = client.post("/api/photos/0/do", json={"do": "choose", "choice": "narrow"})
        assert "Try a click" in refused.text, "there is nothing to choose for yet"
        page.click(55, 30)
        session.click(55, 30)
        for choice in ("narrow", "usual", "wide"):
            page.do("choose", choice=choice)
            assert (page.mask == session.choose(choice).mask).all() and page.state["result"]["choice"] == choice
        assert page.do("undo").state["interactions"] == []
        wrong = client.post("/api/photos/0/do", json={"do": "choose", "choice": "huge"})
        assert wrong.status_code == 422 and "'narrow', 'usual', 'wide'" in wrong.json()["error"]


def _click(x: int, y: int) -> dict[str, object]:
    return {"do": "add", "interactions": [{"kind": "click", "x": x, "y": y, "positive": True}]}


def test_previews_are_sent_during_a_refinement(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("interactify.app.open_photo.FIRST_PREVIEW", 0.0)
    monkeypatch.setattr("interactify.app.open_photo.NEXT_PREVIEW", 0.0)
    session = interactify.Session
    add = session.add
    monkeypatch.setattr(session, "preview", lambda self: _as_preview(self.result))
    monkeypatch.setattr(session, "add", lambda self, interactions: (time.sleep(0.1), add(self, interactions))[1])
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client).click(55, 30)
        assert page.kinds[0] == "preview" and page.kinds[-1] == "done"
        page.do("add", viewport="0,0,100,72,2", interactions=[GESTURES["negative click"]])
        assert page.kinds[0] == "preview" and page.kinds[-2:] == ["first", "done"]
        assert (page.viewport_mask == page.mask[::2, ::2]).all()


def _as_preview(result):
    return replace(result, status="preview")


def test_a_network_that_fails_is_reported_and_the_server_lives(pictures, tmp_path):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5)
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client).click(55, 30)
        session = interactify.Session
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(session, "add", _raises(RuntimeError("the network's own trouble")))
            response = client.post("/api/photos/0/do", json=_click(5, 5))
            assert response.status_code == 500 and "the network's own trouble" in response.json()["error"]
            patched.setattr(session, "add", _raises(MemoryError()))
            assert "memory" in client.post("/api/photos/0/do", json=_click(5, 5)).json()["error"]
        assert len(page.click(5, 5, False).state["interactions"]) == 2


def _raises(error: Exception):
    def raises(*_):
        raise error

    return raises


def test_several_classes_have_a_palette_and_a_map(tmp_path, pictures):
    net = interactify.wrap(
        networks.seeded(lambda: networks.Plain(classes=4)), class_names=["background", "sky", "road", "car"]
    )
    session = net.session(pictures[0])
    with served(net, pictures, tmp_path / "out") as (client, _):
        classes = client.get("/api/project").json()["classes"]
        assert [each["name"] for each in classes] == ["background", "sky", "road", "car"]
        assert classes[0]["background"] and len({each["colour"] for each in classes}) == 4
        page = Page(client)
        page.take(client.post("/api/photos/0/do?classes=1", json={"do": "add", "interactions": [
            {"kind": "click", "x": 55, "y": 30, "positive": True, "label": 2}]}))  # fmt: skip
    session.click(55, 30, label="road")
    assert (page.classes == session.class_map()).all()
    assert page.state["objects"][0]["class"] == "road" and page.state["interactions"][0]["label"] == 2
    assert json.loads((tmp_path / "out" / "annotations.json").read_text())["categories"][0]["name"] == "road"


@pytest.mark.parametrize("photo_only", [True, False])
def test_an_export_holds_the_requested_kinds(net, pictures, tmp_path, photo_only):
    kinds = "png,labels,coco,rle,geojson,yolo,session" + (",npy,prob16,log" if photo_only else "")
    with served(net, pictures, tmp_path / "out") as (client, _):
        page, other = Page(client, 0).click(55, 30), Page(client, 1).click(50, 40)
        response = client.get(f"/api/export?kinds={kinds}{'&photo=0' if photo_only else ''}")
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert {name.split("/")[0] for name in archive.namelist()} == {
        "annotations.json" if kind == "coco" else kind for kind in kinds.split(",")
    }
    with Image.open(archive.open("png/first-1-object-1.png")) as mask:
        assert (np.asarray(mask) == page.mask * 255).all()
    rle = json.loads(archive.read("rle/first-1-object-1-rle.json"))
    assert (export.mask_of_rle(rle) == page.mask).all()
    photos = [image["file_name"] for image in json.loads(archive.read("annotations.json"))["images"]]
    assert photos == (["first.png"] if photo_only else ["first.png", "second.png"])
    if photo_only:
        assert np.load(archive.open("npy/first-object-1-probability.npy")).shape == page.size
        assert '"kind": "click"' in archive.read("log/first-log.jsonl").decode()
    else:
        with Image.open(archive.open("png/second-1-object-1.png")) as mask:
            assert (np.asarray(mask) == other.mask * 255).all()


def test_an_uploaded_picture_is_segmented_and_stays(net, pictures, tmp_path):
    content = pictures[0].read_bytes()
    with served(net, pictures, tmp_path / "out") as (client, _):
        uploaded = client.post("/api/photos?name=../../first.exe", content=content)
        assert uploaded.status_code == 201 and uploaded.json()["name"] == "first-2.png"
        assert Page(client, 2).click(55, 30).state["result"]["satisfied"]
    with served(net, pictures, tmp_path / "out") as (client, _):
        assert [p["name"] for p in client.get("/api/project").json()["photos"]][-1] == "first-2.png"
        assert len(Page(client, 2).state["interactions"]) == 1


def test_two_pages_on_two_photos_at_once_give_what_the_library_gives(net, pictures, tmp_path):
    """Fifteen interactions each."""
    interactions_of = {number: _random_interactions(number) for number in (0, 1)}
    masks: dict[int, list[np.ndarray]] = {0: [], 1: []}
    with served(net, pictures, tmp_path / "out") as (client, _):

        def works(number: int) -> None:
            page = Page(client, number)
            for each in interactions_of[number]:
                page.do("add", interactions=[each])
                masks[number].append(page.mask.copy())

        threads = [threading.Thread(target=works, args=(number,)) for number in interactions_of]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, interactions in interactions_of.items():
        session = net.session(pictures[number])
        assert len(masks[number]) == 15
        for each, mask in zip(interactions, masks[number], strict=True):
            assert (session.add([interactify.interaction_from_json(each)]).mask == mask).all()


def _random_interactions(seed: int) -> list[dict[str, object]]:
    random = np.random.default_rng(seed)
    found: list[dict[str, object]] = []
    for k in range(15):
        x, y, positive = int(random.integers(100)), int(random.integers(72)), bool(random.integers(2))
        if k % 5 == 4:
            points = [[x, y], [int(random.integers(100)), int(random.integers(72))]]
            found.append({"kind": "scribble", "points": points, "positive": positive})
        else:
            found.append({"kind": "click", "x": x, "y": y, "positive": positive})
    return found


def test_more_photos_than_fit_in_memory(net, photo, tmp_path):
    paths = []
    for k in range(8):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(photo).save(paths[-1])
    with served(net, paths, tmp_path / "out") as (client, _):
        masks = [Page(client, k).click(10 + k, 30).mask for k in range(8)]
        for k in range(8):
            page = Page(client, k)
            assert len(page.state["interactions"]) == 1 and (page.mask == masks[k]).all()


def test_the_photos_of_a_command_line(tmp_path, pictures):
    assert photos_of(pictures[0].parent, None) == (pictures, pictures[0].parent / "interactify-out")
    assert photos_of(pictures[0], tmp_path) == ([pictures[0]], tmp_path)
    assert len(photos_of(None, None)[0]) == 3
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(PhotoError):
            photos_of(wrong, None)
    outside = tmp_path / "outside.png"
    outside.write_bytes(pictures[0].read_bytes())
    (pictures[0].parent / "link.png").symlink_to(outside)
    assert photos_of(pictures[0].parent, None)[0] == pictures
