"""What the page keeps: files beside the photos, which may come, go, be replaced, and be called anything."""

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
from interactify.app.store.alone import alone_in
from interactify.app.store.history import History
from interactify.app.store.project import Project
from interactify.errors import OptionError
from interactify.session.session import Session
from tests.fixtures.served import Page, served

NEVER = 1e9  # seconds


def test_what_is_kept_is_what_is_shown(net, pictures, tmp_path):
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
    told = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in told["images"]] == ["first.png"]
    areas = [each["area"] for each in told["annotations"]]
    assert areas == [int(page.masks[name].sum()) for name in page.objects if page.masks[name].any()]


def test_reopening_brings_everything_back_and_undo_with_it(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        first, second = Page(client, 0).click(55, 30).click(5, 5, False), Page(client, 1).click(50, 40)
        client.post("/api/photos/1/status", json={"status": "skipped"})
    with served(net, pictures, tmp_path / "out") as (client, _):
        assert [(p["status"], p["said"]) for p in client.get("/api/project").json()["photos"]] == [
            ("open", 2),
            ("skipped", 1),
        ]
        for number, before in enumerate((first, second)):
            page = Page(client, number)
            assert (page.mask == before.mask).all() and page.told["interactions"] == before.told["interactions"]
        assert len(Page(client, 0).do("undo").told["interactions"]) == 1


def test_done_without_a_word_keeps_the_networks_own_mask(net, pictures, tmp_path):
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


def test_a_project_file_of_someone_else_is_not_written_over(tmp_path, pictures):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "project.json").write_text("[1, 2]")
    with pytest.raises(OptionError, match=r"project\.json"):
        Project.opened(pictures, tmp_path / "out")
    assert (tmp_path / "out" / "project.json").read_text() == "[1, 2]"


def test_a_photo_that_comes_takes_nothing_of_another(net, pictures, tmp_path):
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
        told = client.get("/api/project").json()["photos"]
        assert [(each["name"], each["key"], each["status"], each["said"]) for each in told] == [
            ("first.bmp", "first-bmp", "open", 0), ("first.png", "first", "open", 2),
            ("second.png", "second", "open", 0),
            ("third.png", "third-png", "open", 0), ("third.png", "third", "done", 1),
        ]  # fmt: skip
        assert (Page(client, 1).mask == page.mask).all()
        assert [len(Page(client, k).told["interactions"]) for k in range(5)] == [0, 2, 0, 0, 1]
    files = [image["file_name"] for image in json.loads((out / "annotations.json").read_text())["images"]]
    assert files == ["first.png", "photos/third.png"]


def test_photos_that_are_absent_for_a_while_are_not_forgotten(net, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client, 1).click(50, 40)
        for number in (0, 1):
            client.post(f"/api/photos/{number}/status", json={"status": "done"})
    with served(net, pictures[:1], out) as (client, _):
        Page(client).click(55, 30)
    with served(net, pictures, out) as (client, _):
        told = client.get("/api/project").json()["photos"]
        assert [(each["status"], each["said"]) for each in told] == [("done", 1), ("done", 1)]
        assert len(Page(client, 1).told["interactions"]) == 1


def test_a_photo_that_is_replaced_while_it_is_open_is_opened_anew(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        before = Page(client).click(55, 30).mask
        pictures[0].write_bytes(pictures[1].read_bytes())
        os.utime(pictures[0], (1, 1))
        page = Page(client)
        assert "photo" in page.told["notice"] and not page.told["interactions"]
        assert not (page.mask == before).all()


def test_a_folder_with_something_else_in_it_is_left_alone(net, pictures, tmp_path):
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


def test_one_server_works_in_a_folder(tmp_path):
    refused = pytest.raises(OptionError, match=r"127\.0\.0\.1:8347")
    with alone_in(tmp_path, "http://127.0.0.1:8347/"), refused, alone_in(tmp_path, "http://127.0.0.1:8348/"):
        pass
    with alone_in(tmp_path, "http://127.0.0.1:8348/"):
        pass


def test_done_before_it_was_ever_opened(net, pictures, tmp_path):
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
    from interactify.app.pictures import pictures_in

    found = pictures_in(folder)
    assert len(found) == len(paths) >= 5
    out = tmp_path / "out"
    with served(net, found, out) as (client, _):
        assert len(client.get("/api/project").json()["photos"]) == len(paths)
        for number in range(len(paths)):
            Page(client, number).click(55, 30)
            told = client.get(f"/api/export?kinds=png,session&photo={number}")
            assert len(zipfile.ZipFile(io.BytesIO(told.content)).namelist()) == 2
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/export?kinds=png,labels,session,coco").content))
        assert len(archive.namelist()) == 3 * len(paths) + 1
        assert client.get("/api/project").json()["trouble"] == []
    with served(net, found, out) as (client, _):
        assert [len(Page(client, number).told["interactions"]) for number in range(len(paths))] == [1] * len(paths)


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_broken_photo_whose_name_is_no_text_is_told_of(net, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(b"\x89PNG, and then nothing")
    with served(net, [path], tmp_path / "out") as (client, _):
        for what in ("state", "image", "thumb"):
            answer = client.get(f"/api/photos/0/{what}")
            assert answer.status_code == 415 and "caf" in answer.json()["error"]


def test_a_page_of_another_time_does_not_click_on_another_photo(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        undo = {"do": "undo"}
        assert client.post("/api/photos/0/do?of=first", json=undo).status_code == 200
        for what, said in (("do", undo), ("cancel", {}), ("status", {"status": "done"})):
            answer = client.post(f"/api/photos/1/{what}?of=first", json=said)
            assert answer.status_code == 409 and "Load it again" in answer.json()["error"]
        assert client.get("/api/project").json()["photos"][1]["status"] == "open"


def test_a_photo_that_can_not_be_opened_leaves_no_thread(net, pictures, tmp_path):
    pictures[0].write_bytes(pictures[0].read_bytes()[:900])
    with served(net, pictures, tmp_path / "out") as (client, _):
        Page(client, 1)
        before = threading.active_count()
        for _ in range(12):
            answer = client.get("/api/photos/0/state")
            assert answer.status_code == 415 and "first.png" in answer.json()["error"]
        pictures[0].unlink()
        assert "moved" in client.get("/api/photos/0/state").json()["error"]
        time.sleep(0.2)
        assert threading.active_count() <= before + 2


def test_a_photo_that_takes_for_ever_keeps_no_other_waiting(net, pictures, tmp_path, monkeypatch):
    go, opened = threading.Event(), History.opened

    def hangs(self: History):
        if self.photo.number == 0:
            go.wait(60)
        return opened(self)

    monkeypatch.setattr(History, "opened", hangs)
    with served(net, pictures, tmp_path / "out") as (client, door):
        click = {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": True}]}

        threads = [threading.Thread(target=_posted, args=(door, click)) for _ in range(45)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        try:
            assert len(Page(client, 1).click(50, 40).told["interactions"]) == 1
        finally:
            go.set()
            for thread in threads:
                thread.join()


def _posted(door, said) -> None:
    base = f"http://127.0.0.1:{door.port}"
    with suppress(httpx.TransportError):  # the server may end before it has answered
        httpx.post(f"{base}/api/photos/0/do", json=said, headers={"Origin": base}, timeout=60)


def test_ending_the_server_waits_for_no_refinement_and_loses_no_click(net, pictures, tmp_path, monkeypatch):
    out, entered, answered = tmp_path / "out", threading.Event(), Session.add

    def until_cancelled(self: Session, said):
        with self.control.turn():
            entered.set()
            assert self.control._cancelled.wait(30)
        return answered(self, said)

    click = [{"kind": "click", "x": x, "y": 30, "positive": True} for x in (55, 60)]
    with monkeypatch.context() as patched:
        patched.setattr(Session, "add", until_cancelled)
        patched.setattr(Session, "make_way", lambda self: None)
        with served(net, pictures, out) as (client, door):
            Page(client)
            threads = []
            for each in click:
                threads.append(threading.Thread(target=_posted, args=(door, {"do": "add", "interactions": [each]})))
                threads[-1].start()
                assert entered.wait(10)
            time.sleep(0.2)
            began = time.monotonic()
        assert time.monotonic() - began < 12
        for thread in threads:
            thread.join()
    with served(net, pictures, out) as (client, _):
        assert [each["x"] for each in Page(client).told["interactions"]] == [55, 60]
