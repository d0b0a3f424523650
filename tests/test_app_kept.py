"""What the page keeps: photos that come and go, killed servers, full disks, other networks, names of any kind."""

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
from interactify.app import saving
from interactify.app.alone import alone_in
from interactify.app.history import History
from interactify.app.journal import Journal, SessionFiles
from interactify.app.project import Project
from interactify.errors import OptionError
from interactify.session import Session
from tests import networks
from tests.served import Page, served

NEVER = 1e9  # seconds


@pytest.fixture
def net():
    return interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5)


@pytest.fixture
def other():
    """Another network."""
    return interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)


@pytest.fixture
def pictures(tmp_path: Path, photo) -> list[Path]:
    """Two photos, 100 wide and 72 high."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "first.png")
    Image.fromarray(photo[::-1].copy()).save(folder / "second.png")
    return sorted(folder.iterdir())


class Killed:
    """What is on the disk at a moment, brought back after the server has ended: as if it had been killed then."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.content = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def happens(self) -> None:
        for path in self.out.rglob("*"):
            if path.is_file() and path not in self.content:
                path.unlink()
        for path, content in self.content.items():
            path.write_bytes(content)


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


def test_what_was_not_saved_yet_is_said_again(net, pictures, tmp_path, monkeypatch):
    """As after a kill: the session's file is that of the first click, and the journal has what came after it."""
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).click(55, 30)
    monkeypatch.setattr("interactify.app.saving.QUIET", 1e9)
    monkeypatch.setattr("interactify.app.saving.PATIENCE", 1e9)
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(5, 5, False).do("add_object", name="other", target=None).click(90, 60)
        page.do("undo").do("switch", name="object 1")
        kept = {path: path.read_bytes() for path in (out / "sessions").iterdir()}
        journal = (out / "sessions" / "first.journal").read_text()
        assert journal.count('"do"') >= 5
    for path, content in kept.items():
        path.write_bytes(content)
    with open(out / "sessions" / "first.journal", "a") as file:
        file.write('{"n":99,"do":{"do":"und')  # cut short
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert again.objects == page.objects and again.told["active"] == "object 1"
        assert (again.mask == page.mask).all() and again.told["can_redo"]
        again.click(60, 60, False)  # the journal goes on behind the line that was cut short
    with served(net, pictures, out) as (client, _):
        assert len(Page(client).told["interactions"]) == 3


def test_done_without_a_word_keeps_the_networks_own_mask(net, pictures, tmp_path):
    with served(net, pictures, tmp_path / "out") as (client, _):
        page = Page(client)
        assert client.post("/api/photos/0/status", json={"status": "done"}).json()["status"] == "done"
    (path,) = (tmp_path / "out" / "masks" / "first").iterdir()
    assert (np.asarray(Image.open(path)) == page.mask * 255).all()


def test_photos_that_share_a_name_have_files_of_their_own(tmp_path, pictures):
    twin = pictures[0].with_suffix(".bmp")
    Image.open(pictures[0]).save(twin)
    project = Project.opened([*pictures, twin], tmp_path / "out")
    assert [photo.key for photo in project.photos] == ["first", "second", "first-bmp"]
    project.mark(2, status="done")
    again = Project.opened([twin, *pictures], tmp_path / "out")
    assert [(photo.key, photo.status) for photo in again.photos] == [
        ("first-bmp", "done"), ("first", "open"), ("second", "open")]  # fmt: skip


def test_a_project_file_of_someone_else_is_not_written_over(tmp_path, pictures):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "project.json").write_text("[1, 2]")
    with pytest.raises(OptionError, match=r"project\.json"):
        Project.opened(pictures, tmp_path / "out")
    assert (tmp_path / "out" / "project.json").read_text() == "[1, 2]"


def test_what_only_the_journal_has_is_in_all_files_before_its_photo_is_opened(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saving, "QUIET", NEVER)
        patched.setattr(saving, "PATIENCE", NEVER)
        with served(net, pictures, out) as (client, _):
            mask = Page(client, 1).click(55, 30).mask
            killed = Killed(out)
    killed.happens()
    assert not list((out / "labels").iterdir())
    with served(net, pictures, out) as (client, _):
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/export?kinds=png").content))
        with Image.open(archive.open("png/second-1-object-1.png")) as kept:
            assert (np.asarray(kept) == mask * 255).all()
        assert [each["said"] for each in client.get("/api/project").json()["photos"]] == [0, 1]


def test_killed_between_the_masks_and_the_session(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_session", lambda *_: None)  # it comes after the masks, and is not come to
        with served(net, pictures, out) as (client, _):
            page = Page(client).click(55, 30)
            client.get("/api/export?kinds=png")
            killed = Killed(out)
    killed.happens()
    assert (out / "masks" / "first" / "1-object-1.png").exists() and not (out / "sessions" / "first.npz").exists()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all()
        client.get("/api/export?kinds=png")
        assert (out / "sessions" / "first.npz").exists()


def test_what_was_ended_by_a_newer_click_comes_back_as_it_was(pictures, tmp_path, monkeypatch):
    """After a kill it is ended again, and not refined to its end: the clicks after it go on from there."""
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=30, energy="brs")
    monkeypatch.setattr(saving, "QUIET", NEVER)
    monkeypatch.setattr(saving, "PATIENCE", NEVER)
    answered = Session.add
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        with monkeypatch.context() as patched:

            def hurried(self: Session, said):
                with self.under_way.ending_at_once():
                    return answered(self, said)

            patched.setattr(Session, "add", hurried)
            page.click(5, 5, not page.mask[5, 5])
        page.click(90, 60, not page.mask[60, 90])
        assert '"superseded":true' in (out / "sessions" / "first.journal").read_text()
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert (again.mask == page.mask).all() and len(again.told["interactions"]) == 2


def test_what_was_cancelled_is_saved_before_it_is_shown(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "QUIET", NEVER)
    monkeypatch.setattr(saving, "PATIENCE", NEVER)
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        answered, page = Session.add, Page(client)
        with monkeypatch.context() as patched:
            patched.setattr("interactify.under_way.UnderWay.begins", lambda self, _: lambda: "cancelled", raising=True)
            page.click(5, 5, not page.mask[5, 5])
        assert Session.add is answered and page.told["result"]["status"] == "cancelled"
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all()


def test_a_photo_that_comes_takes_nothing_of_another(net, pictures, tmp_path):
    out, twin = tmp_path / "out", pictures[0].with_suffix(".bmp")  # sorted before first.png
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30).click(5, 5, False)
        client.post("/api/photos?name=third.png", content=pictures[1].read_bytes())
        Page(client, 2).click(50, 40)
        client.post("/api/photos/2/status", json={"status": "done"})
    Image.open(pictures[0]).save(twin)
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


def test_another_photo_of_the_same_name_is_not_answered_for_by_the_journal(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "QUIET", NEVER)
    monkeypatch.setattr(saving, "PATIENCE", NEVER)
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).click(55, 30)
        killed = Killed(out)
    killed.happens()
    pictures[0].write_bytes(pictures[1].read_bytes())
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        assert not page.told["interactions"] and "another photo" in page.told["notice"]
        assert not (out / "sessions" / "aside").exists(), "looking at it changes nothing"
        assert "put aside" in page.click(5, 5, not page.mask[5, 5]).told["notice"]
    assert '"x":55' in (out / "sessions" / "aside" / "first.1.journal").read_text()


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


def test_whatever_goes_wrong_in_writing_is_told_and_tried_again(net, pictures, tmp_path, monkeypatch):
    save_masks, out = saving.save_masks, tmp_path / "out"
    failing = [MemoryError(), OSError(28, "No space left on device")]

    def sometimes(*given):
        if failing:
            raise failing.pop(0)
        save_masks(*given)

    monkeypatch.setattr(saving, "save_masks", sometimes)
    monkeypatch.setattr(saving, "FIRST_REST", 0.05)
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        deadline, told = time.monotonic() + 20, set()
        while not (out / "sessions" / "first.npz").exists():
            told.add(page.do("switch", name="object 1").told["trouble"])
            assert time.monotonic() < deadline
        assert [each for each in told if "MemoryError" in each] and [each for each in told if "No space" in each]
        assert all("tried again" in each for each in told if each)
        client.get("/api/export?kinds=png")
        assert page.do("switch", name="object 1").told["trouble"] == ""
        assert client.get("/api/project").json()["trouble"] == []


def test_a_click_that_the_journal_can_not_take_holds_all_the_same(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_append", _full)
            page.click(5, 5, False)
            assert "No space left" in page.told["trouble"] and len(page.told["interactions"]) == 2
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert len(again.told["interactions"]) == 2 and (again.mask == page.mask).all()


def test_on_a_full_disk_no_photo_is_put_away(net, photo, tmp_path, monkeypatch):
    paths = []
    for k in range(9):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(photo).save(paths[-1])
    out = tmp_path / "out"
    with served(net, paths, out) as (client, _):
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_append", _full)
            patched.setattr(saving, "save_session", _full)
            for x in (55, 60, 65):
                page = Page(client).click(x, 30)
            for number in range(1, 9):
                Page(client, number)
            os.utime(paths[0], (1, 1))
            assert len(Page(client).told["interactions"]) == 3
            answer = client.get("/api/export?kinds=png")
            assert answer.status_code == 422 and "No space" in answer.json()["error"], "and not what is old"
        assert len(Page(client).told["interactions"]) == 3
    with served(net, paths, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).told["interactions"]) == 3


def test_a_journal_that_someone_takes_away_is_begun_again(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        client.get("/api/export?kinds=png")
        monkeypatch.setattr(saving, "QUIET", NEVER)
        monkeypatch.setattr(saving, "PATIENCE", NEVER)
        page.click(5, 5, False)
        (out / "sessions" / "first.journal").unlink()
        page.click(90, 60, False)
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        assert [each["x"] for each in Page(client).told["interactions"]] == [55, 5, 90]


def test_one_photo_that_can_not_be_read_keeps_no_other_back(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saving, "QUIET", NEVER)
        patched.setattr(saving, "PATIENCE", NEVER)
        with served(net, pictures, out) as (client, _):
            Page(client, 1).click(55, 30)
            killed = Killed(out)
    killed.happens()
    (out / "sessions" / "first.journal").mkdir()
    with served(net, pictures, out) as (client, _):
        client.get("/api/export?kinds=png")
        assert (out / "masks" / "second" / "1-object-1.png").exists()
        assert [each for each in client.get("/api/project").json()["trouble"] if "first.png" in each]


def _full(*_):
    raise OSError(28, "No space left on device")


def test_a_line_that_was_half_written_is_written_again_in_its_place(tmp_path):
    class Half:
        """A file on a disk that is full for once."""

        def __init__(self, file):
            self.file, self.full = file, True

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            content, self.full = (content[: len(content) // 2], False) if self.full else (content, False)
            return self.file.write(content)

    files = SessionFiles.of("a", tmp_path)
    files.journal.parent.mkdir()
    journal = Journal(files, "digest")
    assert journal.waiting() == []
    journal.add({"do": "a"})
    journal._file = Half(journal._file)
    with pytest.raises(OSError, match="No space"):
        journal.add({"do": "b"})
    for name in "cd":
        journal.add({"do": name})
    assert [each["do"]["do"] for each in Journal(files, "digest").waiting()] == list("abcd")


def test_a_session_that_the_journal_has_not_heard_of_is_gone_on_from(tmp_path):
    files = SessionFiles.of("a", tmp_path)
    files.journal.parent.mkdir()
    journal = Journal(files, "digest")
    journal.waiting()
    journal.add({"do": "of an earlier time"})
    files.session.write_bytes(b"saved elsewhere")
    journal = Journal(files, "digest")
    assert journal.waiting() == [] and len(files.earlier) == 1
    journal.add({"do": "now"})
    assert [each["do"]["do"] for each in Journal(files, "digest").waiting()] == ["now"]


def test_looking_with_another_network_changes_nothing(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    kept = (out / "sessions" / "first.npz").read_bytes()
    with served(other, pictures, out) as (client, _):
        looks = Page(client)
        assert "stays as it is" in looks.told["notice"] and not looks.told["interactions"]
    assert (out / "sessions" / "first.npz").read_bytes() == kept
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and not Page(client).told["notice"]


def test_done_with_another_network_puts_aside_what_was_said_with_the_first(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    with served(other, pictures, out) as (client, _):
        client.post("/api/photos/0/status", json={"status": "done"})
        own = Page(client).mask
    (path,) = (out / "masks" / "first").iterdir()
    assert (np.asarray(Image.open(path)) == own * 255).all()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).told["interactions"]) == 1


def test_what_fails_or_changes_nothing_puts_nothing_aside(net, other, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    with served(other, pictures, out) as (client, _):
        looks = Page(client).do("undo").do("redo").do("reset")
        with monkeypatch.context() as patched:
            patched.setattr(Session, "add", _fails)
            said = {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": True}]}
            assert client.post("/api/photos/0/do", json=said).status_code == 500
        assert not looks.told["interactions"] and not (out / "sessions" / "aside").exists()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).told["interactions"]) == 1


def _fails(*_):
    raise RuntimeError("the network's own trouble")


def test_another_networks_click_that_was_not_saved_is_not_said_to_the_first(
    net, other, pictures, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30).click(5, 5, False)
    monkeypatch.setattr(saving, "QUIET", NEVER)
    monkeypatch.setattr(saving, "PATIENCE", NEVER)
    with served(other, pictures, out) as (client, _):
        Page(client).click(90, 60)
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert len(again.told["interactions"]) == 2 and (again.mask == page.mask).all()


def test_what_another_network_answers_is_put_aside_and_found_again(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    pages = {}
    for round in range(2):
        for which, network in (("net", net), ("other", other)):
            with served(network, pictures, out) as (client, _):
                page = Page(client)
                assert len(page.told["interactions"]) == round, (which, round)
                assert round == 0 or (page.mask == pages[which].mask).all()
                pages[which] = page.click(55 - 20 * round, 30)
                assert round == 0 or "was found" in Page(client).told["notice"]
    assert len(SessionFiles.of("first", out).earlier) == 1


def test_what_is_put_aside_takes_no_other_photos_name(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    pictures[1].rename(pictures[0].with_name("first.1.png"))
    both = sorted(pictures[0].parent.iterdir())
    with served(net, both, out) as (client, _):
        assert [each["key"] for each in client.get("/api/project").json()["photos"]] == ["first.1", "first"]
        Page(client, 0).click(50, 40), Page(client, 1).click(55, 30)
    with served(other, both, out) as (client, _):
        Page(client, 1).click(55, 30)
    with served(net, both, out) as (client, _):
        assert [len(Page(client, number).told["interactions"]) for number in (0, 1)] == [1, 1]


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
        with self.under_way.turn():
            entered.set()
            assert self.under_way._cancelled.wait(30)
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
