"""The page's files, while photos are added, removed or replaced, with file names of any kind."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")

import httpx

import interactify
from interactify.app.pictures import pictures_in
from interactify.app.store.folder_lock import folder_lock
from interactify.app.store.project import Project
from interactify.app.store.stored_session import StoredSession
from interactify.errors import OptionError
from interactify.session.session import Session
from tests.fixtures.served import Page, served

NEVER = 1e9  # seconds


def test_files_hold_what_the_page_displays(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30).click(5, 5, False)
        page.do("add_object", name="dark/../corner", target=None).click(5, 5)
    masks = sorted((out / "masks" / "first").iterdir())
    assert [path.name for path in masks] == ["1-object-1.png", "2-dark----corner.png"]
    for path, name in zip(masks, page.objects, strict=True):
        assert (np.asarray(Image.open(path)) == page.masks[name] * 255).all()
    labels = np.asarray(Image.open(out / "labels" / "first.png"))
    session = interactify.load_session(out / "sessions" / "first.npz", net, pictures[0])
    assert (labels == session.label_map()).all() and session.objects == ("object 1", "dark/../corner")
    coco = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["first.png"]
    areas = [each["area"] for each in coco["annotations"]]
    assert areas == [int(page.masks[name].sum()) for name in page.objects if page.masks[name].any()]


def test_reopening_brings_everything_back_and_undo_with_it(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        first, second = Page(client, 0).click(55, 30).click(5, 5, False), Page(client, 1).click(50, 40)
        client.post("/api/photos/1/status", json={"status": "skipped"})
    with served(net, pictures, tmp_path / "out") as (client, _):
        assert [(p["status"], p["interactions"]) for p in client.get("/api/project").json()["photos"]] == [
            ("open", 2),
            ("skipped", 1),
        ]
        for number, before in enumerate((first, second)):
            page = Page(client, number)
            assert (page.mask == before.mask).all() and page.state["interactions"] == before.state["interactions"]
        assert len(Page(client, 0).do("undo").state["interactions"]) == 1


def test_done_without_interactions_saves_the_initial_mask(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        assert client.post("/api/photos/0/status", json={"status": "done"}).json()["status"] == "done"
    (path,) = (tmp_path / "out" / "masks" / "first").iterdir()
    assert (np.asarray(Image.open(path)) == page.mask * 255).all()


def test_photos_that_share_a_name_have_files_of_their_own(tmp_path, pictures):
    replica = pictures[0].with_suffix(".bmp")
    Image.open(pictures[0]).save(replica)
    project = Project.opened([*pictures, replica], tmp_path / "out")
    assert [photo.key for photo in project.photos] == ["first", "second", "first-bmp"]
    project.mark(2, status="done")
    again = Project.opened([replica, *pictures], tmp_path / "out")
    assert [(photo.key, photo.status) for photo in again.photos] == [
        ("first-bmp", "done"), ("first", "open"), ("second", "open")]  # fmt: skip


def test_a_project_file_of_something_else_is_not_overwritten(tmp_path, pictures):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "project.json").write_text("[1, 2]")
    with pytest.raises(OptionError, match=r"project\.json"):
        Project.opened(pictures, tmp_path / "out")
    assert (tmp_path / "out" / "project.json").read_text() == "[1, 2]"


def test_an_added_photo_takes_over_no_files_of_another(net, pictures, tmp_path):
    out, replica = tmp_path / "out", pictures[0].with_suffix(".bmp")  # sorted before first.png
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30).click(5, 5, False)
        client.post("/api/photos?name=third.png", content=pictures[1].read_bytes())
        Page(client, 2).click(50, 40)
        client.post("/api/photos/2/status", json={"status": "done"})
    Image.open(pictures[0]).save(replica)
    Image.open(pictures[0]).save(pictures[0].with_name("third.png"))
    found = sorted(pictures[0].parent.iterdir())
    with served(net, found, out) as (client, _):
        photos = client.get("/api/project").json()["photos"]
        assert [(each["name"], each["key"], each["status"], each["interactions"]) for each in photos] == [
            ("first.bmp", "first-bmp", "open", 0), ("first.png", "first", "open", 2),
            ("second.png", "second", "open", 0),
            ("third.png", "third-png", "open", 0), ("third.png", "third", "done", 1),
        ]  # fmt: skip
        assert (Page(client, 1).mask == page.mask).all()
        assert [len(Page(client, k).state["interactions"]) for k in range(5)] == [0, 2, 0, 0, 1]
    files = [image["file_name"] for image in json.loads((out / "annotations.json").read_text())["images"]]
    assert files == ["first.png", "photos/third.png"]


def test_results_of_absent_photos_are_kept(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client, 1).click(50, 40)
        for number in (0, 1):
            client.post(f"/api/photos/{number}/status", json={"status": "done"})
    with served(net, pictures[:1], out) as (client, _):
        Page(client).click(55, 30)
    with served(net, pictures, out) as (client, _):
        photos = client.get("/api/project").json()["photos"]
        assert [(each["status"], each["interactions"]) for each in photos] == [("done", 1), ("done", 1)]
        assert len(Page(client, 1).state["interactions"]) == 1


def test_a_photo_that_is_replaced_while_open_is_opened_again(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        before = Page(client).click(55, 30).mask
        pictures[0].write_bytes(pictures[1].read_bytes())
        os.utime(pictures[0], (1, 1))
        page = Page(client)
        assert "photo" in page.state["notice"] and not page.state["interactions"]
        assert not (page.mask == before).all()


def test_a_folder_with_other_files_is_refused(net, pictures, tmp_path):
    for name in ("masks/first/truth.png", "labels/first.png", "annotations.json"):
        out = tmp_path / name.split("/")[0]
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        with pytest.raises(OptionError, match=f"holds {name.split('/')[0]}"):
            Project.opened(pictures, out)
        assert (out / name).read_text() == "mine"
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        (out / "masks" / "first").mkdir()
        (out / "masks" / "first" / "notes.png").write_text("mine")
        Page(client).click(55, 30)
        assert client.get("/api/export?kinds=png").status_code == 200
    assert (out / "masks" / "first" / "notes.png").read_text() == "mine"


def test_one_server_per_folder(tmp_path):
    refused = pytest.raises(OptionError, match=r"127\.0\.0\.1:8347")
    with folder_lock(tmp_path, "http://127.0.0.1:8347/"), refused, folder_lock(tmp_path, "http://127.0.0.1:8348/"):
        pass
    with folder_lock(tmp_path, "http://127.0.0.1:8348/"):
        pass


def test_a_photo_can_be_done_before_it_was_opened(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        client.post("/api/photos/1/status", json={"status": "done"})
        client.get("/api/photos/1/state")
    (path,) = (out / "masks" / "second").iterdir()
    assert (np.asarray(Image.open(path)) == net.session(pictures[1]).result.mask * 255).all()


def test_a_mask_is_numbered_as_it_is_in_the_map_of_labels(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).do("add_object", name="dark", target=None).click(5, 5)
    (path,) = (out / "masks" / "first").iterdir()
    assert path.name == "2-dark.png"
    assert set(np.unique(np.asarray(Image.open(out / "labels" / "first.png")))) <= {0, 2}


NAMES = ["a\nb.png", 'q"uote.png', "ü" * 120 + ".png", "²1.png", "x" * 251 + ".png"]


def test_names_of_any_kind(net, pictures, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    paths = [folder / name for name in NAMES if len(os.fsencode(name)) < 256]
    if os.name == "posix":
        paths.append(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")))
    for path in paths:
        path.write_bytes(pictures[0].read_bytes())
    found = pictures_in(folder)
    assert len(found) == len(paths) >= 5
    out = tmp_path / "out"
    with served(net, found, out) as (client, _):
        assert len(client.get("/api/project").json()["photos"]) == len(paths)
        for number in range(len(paths)):
            Page(client, number).click(55, 30)
            response = client.get(f"/api/export?kinds=png,session&photo={number}")
            assert len(zipfile.ZipFile(io.BytesIO(response.content)).namelist()) == 2
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/export?kinds=png,labels,session,coco").content))
        assert len(archive.namelist()) == 3 * len(paths) + 1
        assert client.get("/api/project").json()["write_errors"] == []
    with served(net, found, out) as (client, _):
        assert [len(Page(client, number).state["interactions"]) for number in range(len(paths))] == [1] * len(paths)


@pytest.mark.skipif(os.name != "posix", reason="file names are always text there")
def test_a_broken_photo_whose_name_is_no_text_is_reported(net, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(b"\x89PNG, and then nothing")
    with served(net, [path], tmp_path / "out") as (client, _):
        for what in ("state", "image", "thumb"):
            response = client.get(f"/api/photos/0/{what}")
            assert response.status_code == 415 and "caf" in response.json()["error"]


def test_an_outdated_page_does_not_change_another_photo(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        undo = {"do": "undo"}
        assert client.post("/api/photos/0/do?key=first", json=undo).status_code == 200
        for what, content in (("do", undo), ("cancel", {}), ("status", {"status": "done"})):
            response = client.post(f"/api/photos/1/{what}?key=first", json=content)
            assert response.status_code == 409 and "Load it again" in response.json()["error"]
        assert client.get("/api/project").json()["photos"][1]["status"] == "open"


def test_a_photo_that_can_not_be_opened_leaves_no_thread(net, pictures, tmp_path):
    pictures[0].write_bytes(pictures[0].read_bytes()[:900])
    with served(net, pictures, tmp_path / "out") as (client, _):
        Page(client, 1)
        before = threading.active_count()
        for _ in range(12):
            response = client.get("/api/photos/0/state")
            assert response.status_code == 415 and "first.png" in response.json()["error"]
        pictures[0].unlink()
        assert "moved" in client.get("/api/photos/0/state").json()["error"]
        time.sleep(0.2)
        assert threading.active_count() <= before + 2


def test_a_photo_that_hangs_does_not_block_the_others(net, pictures, tmp_path, monkeypatch):
    go, restore = threading.Event(), StoredSession.restore

    def hangs(self: StoredSession):
        if self.photo.number == 0:
            go.wait(60)
        return restore(self)

    monkeypatch.setattr(StoredSession, "restore", hangs)
    with served(net, pictures, tmp_path / "out") as (client, access):
        click = {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": True}]}

        threads = [threading.Thread(target=_post, args=(access, click)) for _ in range(45)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        try:
            assert len(Page(client, 1).click(50, 40).state["interactions"]) == 1
        finally:
            go.set()
            for thread in threads:
                thread.join()


def _post(access, content) -> None:
    base = f"http://127.0.0.1:{access.port}"
    with suppress(httpx.TransportError):  # the server may end before it has responded
        httpx.post(f"{base}/api/photos/0/do", json=content, headers={"Origin": base}, timeout=60)


def test_the_server_ends_without_waiting_for_refinements_and_loses_no_click(net, pictures, tmp_path, monkeypatch):
    out, entered, add = tmp_path / "out", threading.Event(), Session.add

    def until_cancelled(self: Session, interactions):
        with self.control.turn():
            entered.set()
            assert self.control._cancelled.wait(30)
        return add(self, interactions)

    click = [{"kind": "click", "x": x, "y": 30, "positive": True} for x in (55, 60)]
    with monkeypatch.context() as patched:
        patched.setattr(Session, "add", until_cancelled)
        patched.setattr(Session, "make_way", lambda self: None)
        with served(net, pictures, out) as (client, access):
            Page(client)
            threads = []
            for each in click:
                threads.append(threading.Thread(target=_post, args=(access, {"do": "add", "interactions": [each]})))
                threads[-1].start()
                assert entered.wait(10)
            time.sleep(0.2)
            start = time.monotonic()
        assert time.monotonic() - start < 12
        for thread in threads:
            thread.join()
    with served(net, pictures, out) as (client, _):
        assert [each["x"] for each in Page(client).state["interactions"]] == [55, 60]
