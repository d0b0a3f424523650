"""The page and the service whose network it uses, as processes: each is killed in mid-click."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from math import inf

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")

import interactify
from interactify.app.at_service import AtService
from interactify.app.store.journal import SessionFiles, entries_of
from interactify.client import connect, connection
from tests.app.test_server import GESTURES
from tests.fixtures import networks
from tests.fixtures.served import Command, Page, served, wait_until_listening
from tests.fixtures.service import Replica, serving

SLOW = ("--max-evaluations", "5", "--resolution", "256")  # so that a click takes long enough to be in its middle


def opened(address: str) -> Page:
    wait_until_listening(address)
    base = address.rstrip("/")
    return Page(httpx.Client(base_url=base, headers={"Origin": base}, timeout=60))


def begun(page: Page, gesture: str, service: str) -> threading.Thread:
    """A thread that sends a gesture; the service refines it now, or has just done so on a very busy machine."""

    def sends() -> None:
        with suppress(httpx.TransportError):  # the page is killed
            page.do("add", interactions=[GESTURES[gesture]])

    thread = threading.Thread(target=sends, daemon=True)
    thread.start()
    while thread.is_alive() and "interactify_waiting 0.0" in httpx.get(f"{service}/metrics", trust_env=False).text:
        time.sleep(0.001)
    return thread


def test_both_processes_are_killed_in_mid_click(pictures, tmp_path):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=5, resolution=256)
    out, store = tmp_path / "out", tmp_path / "sessions.db"
    with Replica(tmp_path, str(store), *SLOW) as service:
        port = int(service.address.rsplit(":", 1)[1])
        with Command(pictures[0], "--out", out, "--server", service.address, folder=tmp_path) as command:
            page = opened(command.address)
            masks = [page.click(55, 30).mask.copy()]
            clicking = begun(page, "negative click", service.address)
            service.kill()
            while not page.client.get("/api/service").json()["trouble"]:
                time.sleep(0.01)
            with serving(net, store, port=port) as (address, _):  # the next one is here, which takes less time
                clicking.join(60)
                masks.append(page.mask.copy())
                begun(page, "box", address)
                command.kill()
                with served(AtService(connect(address, patience=inf)), pictures[:1], out) as (client, _):
                    page = Page(client)
                    assert len(page.state["interactions"]) == 3
    local = net.session(pictures[0])
    gestures = [GESTURES[name] for name in ("click", "negative click", "box")]
    expected = [local.add([interactify.interaction_from_json(each)]).mask for each in gestures]
    assert all((one == other).all() for one, other in zip([*masks, page.mask], expected, strict=True))
    assert (np.asarray(Image.open(out / "masks" / "first" / "1-object-1.png")) == expected[-1] * 255).all()


def test_a_service_that_hangs_in_mid_click_is_told_and_goes_on(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "LOOK_PAUSE", 0.1)
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.5)
    out = tmp_path / "out"
    with Replica(tmp_path, str(tmp_path / "sessions.db"), *SLOW) as service:
        there = AtService(connect(service.address, patience=inf))
        with served(there, pictures[:1], out) as (client, _):
            page = Page(client)
            page.click(55, 30)
            clicking = begun(page, "negative click", service.address)
            service.process.send_signal(signal.SIGSTOP)
            try:
                deadline = time.monotonic() + 30
                while clicking.is_alive() and not there.waits:  # a request is being tried again
                    assert time.monotonic() < deadline, "the page waits for a service that hangs"
                    time.sleep(0.01)
            finally:
                service.process.send_signal(signal.SIGCONT)
            clicking.join(60)
            assert len(Page(client).state["interactions"]) == 2
    journal = [each for each in entries_of(SessionFiles.of("first", out).journal) if "do" in each]
    assert [each["n"] for each in journal] == [1, 2], "what was sent twice is made once"
