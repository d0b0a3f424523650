"""What the page keeps through killed servers, full disks and journals that vanish."""

from __future__ import annotations

import io
import os
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")


import interactify
from interactify.app.store import saving
from interactify.app.store.journal import Journal, SessionFiles
from interactify.session.session import Session
from tests.fixtures import networks
from tests.fixtures.served import Killed, Page, served

NEVER = 1e9  # seconds


def test_what_was_not_saved_yet_is_said_again(net, pictures, tmp_path, monkeypatch):
    """As after a kill: the session's file is that of the first click, and the journal has what came after it."""
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).click(55, 30)
    monkeypatch.setattr("interactify.app.store.saving.QUIET", 1e9)
    monkeypatch.setattr("interactify.app.store.saving.PATIENCE", 1e9)
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
                with self.control.superseding():
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
            patched.setattr(
                "interactify.session.control.Control.stop_condition", lambda self, _: lambda: "cancelled", raising=True
            )
            page.click(5, 5, not page.mask[5, 5])
        assert Session.add is answered and page.told["result"]["status"] == "cancelled"
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all()


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
        assert client.get("/api/export?kinds=png").status_code == 200, "of what there is"
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
