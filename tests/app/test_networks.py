"""Sessions of one network, when another one opens the same photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")


import interactify
from interactify.app.store import saver
from interactify.app.store.journal import SessionFiles
from interactify.session.session import Session
from tests.fixtures import networks
from tests.fixtures.served import Killed, Page, served

NEVER = 1e9  # seconds


@pytest.fixture
def other():
    """Another network."""
    return interactify.wrap(networks.seeded(networks.Plain, seed=1), max_evaluations=5)


def test_opening_with_another_network_changes_nothing(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    stored = (out / "sessions" / "first.npz").read_bytes()
    with served(other, pictures, out) as (client, _):
        opened = Page(client)
        assert "stays as it is" in opened.state["notice"] and not opened.state["interactions"]
    assert (out / "sessions" / "first.npz").read_bytes() == stored
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and not Page(client).state["notice"]


def test_done_with_another_network_puts_the_first_ones_session_aside(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    with served(other, pictures, out) as (client, _):
        client.post("/api/photos/0/status", json={"status": "done"})
        own = Page(client).mask
    (path,) = (out / "masks" / "first").iterdir()
    assert (np.asarray(Image.open(path)) == own * 255).all()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).state["interactions"]) == 1


def test_an_action_that_fails_or_changes_nothing_puts_nothing_aside(net, other, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30)
    with served(other, pictures, out) as (client, _):
        opened = Page(client).do("undo").do("redo").do("reset")
        with monkeypatch.context() as patched:
            patched.setattr(Session, "add", _fails)
            click = {"do": "add", "interactions": [{"kind": "click", "x": 5, "y": 5, "positive": True}]}
            assert client.post("/api/photos/0/do", json=click).status_code == 500
        assert not opened.state["interactions"] and not (out / "sessions" / "aside").exists()
    with served(net, pictures, out) as (client, _):
        assert (Page(client).mask == page.mask).all() and len(Page(client).state["interactions"]) == 1


def _fails(*_):
    raise RuntimeError("the network's own trouble")


def test_another_networks_unsaved_click_is_not_run_with_the_first(net, other, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with served(net, pictures, out) as (client, _):
        page = Page(client).click(55, 30).click(5, 5, False)
    monkeypatch.setattr(saver, "QUIET", NEVER)
    monkeypatch.setattr(saver, "MAX_DELAY", NEVER)
    with served(other, pictures, out) as (client, _):
        Page(client).click(90, 60)
        killed = Killed(out)
    killed.happens()
    with served(net, pictures, out) as (client, _):
        again = Page(client)
        assert len(again.state["interactions"]) == 2 and (again.mask == page.mask).all()


def test_another_networks_session_is_put_aside_and_found_again(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    pages = {}
    for round in range(2):
        for which, network in (("net", net), ("other", other)):
            with served(network, pictures, out) as (client, _):
                page = Page(client)
                assert len(page.state["interactions"]) == round, (which, round)
                assert round == 0 or (page.mask == pages[which].mask).all()
                pages[which] = page.click(55 - 20 * round, 30)
                assert round == 0 or "was found" in Page(client).state["notice"]
    assert len(SessionFiles.of("first", out).earlier) == 1


def test_sessions_that_are_put_aside_take_no_other_photos_name(net, other, pictures, tmp_path):
    out = tmp_path / "out"
    pictures[1].rename(pictures[0].with_name("first.1.png"))
    both = sorted(pictures[0].parent.iterdir())
    with served(net, both, out) as (client, _):
        assert [each["key"] for each in client.get("/api/project").json()["photos"]] == ["first.1", "first"]
        Page(client, 0).click(50, 40), Page(client, 1).click(55, 30)
    with served(other, both, out) as (client, _):
        Page(client, 1).click(55, 30)
    with served(net, both, out) as (client, _):
        assert [len(Page(client, number).state["interactions"]) for number in (0, 1)] == [1, 1]
