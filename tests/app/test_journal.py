"""The page's results survive killed servers, full disks and deleted journals."""

from __future__ import annotations

import io
import os
import time
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")


import interactify
from interactify.app.store import saver
from interactify.app.store.journal import Journal, SessionFiles
from interactify.session.session import Session
from interactify.web.log import entry_of
from tests.fixtures import networks
from tests.fixtures.served import Killed, Page, served

NEVER = 1e9  # seconds


def test_unsaved_actions_are_run_again(net, pictures, tmp_path, monkeypatch):
    """As after a kill: the session's file is that of the first click, and the journal has what came after it."""
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).click(55, 30)
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(5, 5, False).do("add_object", name="other", target=None).click(90, 60)
        page.do("undo").do("switch", name="object 1")
        stored = {path: path.read_bytes() for path in (out / "sessions").iterdir()}
        journal = (out / "sessions" / "first.journal").read_text()
        assert journal.count('"do"') >= 5
    for path, content in stored.items():
        path.write_bytes(content)
    with open(out / "sessions" / "first.journal", "a") as file:
        file.write('{"n":99,"do":{"do":"und')  # cut short
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert again.objects == page.objects and again.state["active"] == "object 1"
        assert (again.mask == page.mask).all() and again.state["can_redo"]
        again.click(60, 60, False)  # the journal continues after the line that was cut short
    with served(net, pictures, out) as (client, _):
        assert len(Page(client).state["interactions"]) == 3


def test_unsaved_actions_are_written_to_all_files_before_their_photo_is_opened(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saver, "QUIET", NEVER)
        patched.setattr(saver, "MAX_DELAY", NEVER)
        with served(net, pictures, out) as (client, _):
            mask = Page(client, 1).click(55, 30).mask
            killed = Killed(out)
    killed.happens()
    assert not list((out / "labels").iterdir())
    with served(net, pictures, out) as (client, _):
        archive = zipfile.ZipFile(io.BytesIO(client.get("/api/export?kinds=png").content))
        with Image.open(archive.open("png/second-1-object-1.png")) as stored:
            assert (np.asarray(stored) == mask * 255).all()
        assert [each["interactions"] for each in client.get("/api/project").json()["photos"]] == [0, 1]


def test_killed_between_the_masks_and_the_session(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saver, "save_session", lambda *_: None)  # it comes after the masks, and is not reached
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


def test_a_superseded_click_is_restored_as_it_was(pictures, tmp_path, monkeypatch):
    """After a kill its refinement ends early again, since the clicks after it build on that."""
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=30, energy="brs")
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    add = Session.add
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        with monkeypatch.context() as patched:

            def superseded(self: Session, interactions):
                with self.control.superseding():
                    return add(self, interactions)

            patched.setattr(Session, "add", superseded)
            page.click(5, 5, not page.mask[5, 5])
        page.click(90, 60, not page.mask[60, 90])
        assert '"superseded":true' in (out / "sessions" / "first.journal").read_text()
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert (again.mask == page.mask).all() and len(again.state["interactions"]) == 2


def test_a_choice_is_restored_with_its_click(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        page.click(5, 5, not page.mask[5, 5]).do("choose", choice="wide").do("choose", choice="narrow")
        page.click(90, 60, not page.mask[60, 90])
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert (again.mask == page.mask).all()
        assert again.do("undo").state["result"]["choice"] == "narrow"


def test_a_cancelled_refinement_is_saved_before_it_is_displayed(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        with monkeypatch.context() as patched:
            patched.setattr(
                "interactify.session.control.Control.stop_condition", lambda self, _: lambda: "cancelled", raising=True
            )
            page.click(5, 5, not page.mask[5, 5])
        assert page.state["result"]["status"] == "cancelled"
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all()


def test_a_journal_is_not_used_for_another_photo_of_the_same_name(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        Page(client).click(55, 30)
        killed = Killed(out)
    killed.happens()
    pictures[0].write_bytes(pictures[1].read_bytes())
    with served(net, pictures, out) as (client, _):
        page = Page(client)
        assert not page.state["interactions"] and "another photo" in page.state["notice"]
        assert not (out / "sessions" / "aside").exists(), "opening it changes nothing"
        assert "put aside" in page.click(5, 5, not page.mask[5, 5]).state["notice"]
    assert '"x":55' in (out / "sessions" / "aside" / "first.1.journal").read_text()


def test_write_errors_are_reported_and_writing_is_tried_again(net, pictures, tmp_path, monkeypatch):
    save_masks, out = saver.save_masks, tmp_path / "out"
    failing = [MemoryError(), OSError(28, "No space left on device")]

    def sometimes(*given):
        if failing:
            raise failing.pop(0)
        save_masks(*given)

    monkeypatch.setattr(saver, "save_masks", sometimes)
    monkeypatch.setattr(saver, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(saver, "MAX_DELAY", 0.5)  # else each attempt waits longer, since the page keeps asking
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        deadline, errors = time.monotonic() + 20, set()
        while not (out / "sessions" / "first.npz").exists():
            errors.add(page.do("switch", name="object 1").state["write_error"])
            assert time.monotonic() < deadline
        assert [each for each in errors if "MemoryError" in each] and [each for each in errors if "No space" in each]
        assert all("tried again" in each for each in errors if each)
        client.get("/api/export?kinds=png")
        assert page.do("switch", name="object 1").state["write_error"] == ""
        assert client.get("/api/project").json()["write_errors"] == []


def test_a_click_that_can_not_be_written_to_the_journal_is_valid(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_append", _full)
            page.click(5, 5, False)
            assert "No space left" in page.state["write_error"] and len(page.state["interactions"]) == 2
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert len(again.state["interactions"]) == 2 and (again.mask == page.mask).all()


def test_on_a_full_disk_no_photo_is_closed(net, photo, tmp_path, monkeypatch):
    paths = []
    for k in range(9):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(photo).save(paths[-1])
    out = tmp_path / "out"
    with served(net, paths, out) as (client, _):
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_append", _full)
            patched.setattr(saver, "save_session", _full)
            for x in (55, 60, 65):
                page = Page(client).click(x, 30)
            for number in range(1, 9):
                Page(client, number)
            os.utime(paths[0], (1, 1))
            assert len(Page(client).state["interactions"]) == 3
            response = client.get("/api/export?kinds=png")
            assert response.status_code == 422 and "No space" in response.json()["error"], "no outdated files"
        assert len(Page(client).state["interactions"]) == 3
    with served(net, paths, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).state["interactions"]) == 3


def test_a_deleted_journal_is_started_again(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
        client.get("/api/export?kinds=png")
        monkeypatch.setattr(saver, "QUIET", NEVER)
        monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
        page.click(5, 5, False)
        (out / "sessions" / "first.journal").unlink()
        page.click(90, 60, False)
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        assert [each["x"] for each in Page(client).state["interactions"]] == [55, 5, 90]


def test_an_unreadable_photo_does_not_stop_the_others(net, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(saver, "QUIET", NEVER)
        patched.setattr(saver, "MAX_DELAY", NEVER)
        with served(net, pictures, out) as (client, _):
            Page(client, 1).click(55, 30)
            killed = Killed(out)
    killed.happens()
    (out / "sessions" / "first.journal").mkdir()
    with served(net, pictures, out) as (client, _):
        assert client.get("/api/export?kinds=png").status_code == 200, "with the files there are"
        assert (out / "masks" / "second" / "1-object-1.png").exists()
        assert [each for each in client.get("/api/project").json()["write_errors"] if "first.png" in each]


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
    journal.open()
    assert journal.entries_after(0) == []
    add(journal, {"do": "a"})
    journal._file = Half(journal._file)
    with pytest.raises(OSError, match="No space"):
        add(journal, {"do": "b"})
    for name in "cd":
        add(journal, {"do": name})
    assert written(files) == list("abcd")


def test_a_session_that_the_journal_does_not_know_is_continued(tmp_path):
    files = SessionFiles.of("a", tmp_path)
    files.journal.parent.mkdir()
    journal = Journal(files, "digest")
    journal.open()
    add(journal, {"do": "of an earlier time"})
    files.session.write_bytes(b"saved elsewhere")
    journal = Journal(files, "digest")
    journal.open()
    assert journal.entries_after(0) == [] and len(files.earlier) == 1
    add(journal, {"do": "now"})
    assert written(files) == ["now"]


def add(journal: Journal, content: dict[str, Any]) -> None:
    journal.append(entry_of(journal.last + 1, content))


def written(files: SessionFiles) -> list[str]:
    """The actions that a server finds which begins."""
    journal = Journal(files, "digest")
    journal.open()
    return [each["do"]["do"] for each in journal.entries_after(0)]
